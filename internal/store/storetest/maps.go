// SPDX-License-Identifier: Apache-2.0

// Package storetest makes maps for tests of what uses the store.
package storetest

import (
	"errors"
	"fmt"
	"os"
	"testing"

	bpf "github.com/aquasecurity/libbpfgo"
	"golang.org/x/sys/unix"
)

// The maps of the hand-off as bpf/abi.h has them.
var maps = []struct {
	name       string
	kind       bpf.MapType
	key, value int
	entries    int
	flags      uint32
}{
	{"Listener", bpf.MapTypeHash, 20, 4, 10240, 1},
	{"KMESH_LISTENER_ROOT", bpf.MapTypeArray, 4, 24, 10240, mmapable},
	{"Cluster", bpf.MapTypeArray, 4, 24, 20480, mmapable},
	{"RouteConfiguration", bpf.MapTypeArray, 4, 24, 4096, mmapable},
	{"INNER_MAP_ID", bpf.MapTypeArray, 4, 64, 4096, mmapable},
	{"OUTTER_MAP_ID", bpf.MapTypeArrayOfMaps, 4, 4, 4096, 0},
	{"KMESH_META", bpf.MapTypeArray, 4, 64, 1, mmapable},
	{"KMESH_PORTS", bpf.MapTypeArray, 4, 16, 1024, mmapable},
}

const mmapable = 1 << 10

// Maps makes the maps of a store, which the test's environment names until it ends.
// Without root it skips the test.
func Maps(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes BPF maps")
	}
	inner := 0
	for _, m := range maps {
		opts := &bpf.BPFMapCreateOpts{MapFlags: m.flags}
		if m.kind == bpf.MapTypeArrayOfMaps {
			opts.InnerMapFD = uint32(inner)
		}
		made, err := bpf.CreateMap(m.kind, "test", m.key, m.value, m.entries, opts)
		if err != nil {
			t.Fatalf("create map %s: %v", m.name, err)
		}
		t.Cleanup(func() {
			if err := unix.Close(made.FileDescriptor()); err != nil {
				t.Error(err)
			}
		})
		if m.name == "INNER_MAP_ID" {
			inner = made.FileDescriptor()
		}
		info, err := bpf.GetMapInfoByFD(made.FileDescriptor())
		if err != nil {
			t.Fatalf("ask for map %s: %v", m.name, err)
		}
		if m.name == "KMESH_META" {
			t.Cleanup(func() { removeLock(t, info.ID) })
		}
		t.Setenv(m.name, fmt.Sprint(info.ID))
		t.Setenv(m.name+"_FD", fmt.Sprint(made.FileDescriptor()))
	}
}

// removeLock takes away what a store whose maps are gone left.
func removeLock(t testing.TB, meta uint32) {
	const dir = "/run/kmesh-node"
	if err := os.Remove(fmt.Sprintf("%s/store-%d.lock", dir, meta)); err != nil {
		t.Error(err)
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, unix.ENOTEMPTY) {
		t.Error(err)
	}
}
