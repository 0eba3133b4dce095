// SPDX-License-Identifier: Apache-2.0

package store

import "C"

import (
	"fmt"
	"os"

	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/fault"
)

// storeStep is called between the stores of a publication. Nothing can fail there, so
// an error ends the process, as a kill does.
//
//export storeStep
func storeStep() {
	if err := fault.At("publish"); err != nil {
		fmt.Fprintln(os.Stderr, "kmesh-node:", err)
		os.Exit(exit.Unexpected)
	}
}
