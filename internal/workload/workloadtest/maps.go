// SPDX-License-Identifier: Apache-2.0

// Package workloadtest makes maps for tests of workload mode's writer and of what uses it.
package workloadtest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/aquasecurity/libbpfgo"
)

// Maps makes the maps of workload mode as the loader does, for one test alone. fd returns
// the descriptor of one, -1 where there is none of that name. Without root, the build's
// object or a kernel that makes such maps it skips the test. It is for packages that are
// two folders below the top.
func Maps(t testing.TB) (fd func(name string) int) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("BPF maps need root")
	}
	object := filepath.Join("..", "..", "build", "bpf", "wmaps.bpf.o")
	if _, err := os.Stat(object); err != nil {
		t.Skipf("make builds it: %v", err)
	}
	libbpfgo.SetLoggerCbs(libbpfgo.Callbacks{Log: func(int, string) {}})
	m, err := libbpfgo.NewModuleFromFileArgs(libbpfgo.NewModuleArgs{BPFObjPath: object, SkipMemlockBump: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	if err := m.BPFLoadObject(); err != nil {
		t.Skipf("this kernel makes no maps for us: %v", err)
	}
	return func(name string) int {
		b, err := m.GetMap(name)
		if err != nil {
			return -1
		}
		return b.FileDescriptor()
	}
}
