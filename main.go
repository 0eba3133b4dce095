// SPDX-License-Identifier: Apache-2.0

// kmesh-node brings the Kmesh eBPF data plane up on a Linux host.
package main

import (
	"embed"
	"fmt"
	"io/fs"
	"os"

	"github.com/kmesh-net/kmesh-node/internal/cli"
	"github.com/kmesh-net/kmesh-node/internal/cni"
	"github.com/kmesh-net/kmesh-node/internal/exit"
)

//go:embed build/bpf/*.bpf.o
var objects embed.FS

func main() {
	bpf, err := fs.Sub(objects, "build/bpf")
	if err != nil {
		fmt.Fprintln(os.Stderr, "kmesh-node:", err)
		os.Exit(exit.Unexpected)
	}
	if cni.Invoked(os.Args[0]) {
		os.Exit(cli.Plugin(bpf))
	}
	os.Exit(cli.Execute(cli.NewCommand(bpf), os.Args))
}
