// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"io/fs"

	"github.com/kmesh-net/kmesh-node/internal/cni"
)

// Plugin serves one call of a container runtime, to whom kmesh-node is the plugin
// kmesh-cni, and returns the exit code. objects is as NewCommand's.
func Plugin(objects fs.FS) int {
	collectLate()
	return cni.Main(objects, version)
}
