// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/aquasecurity/libbpfgo"
	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
	"github.com/kmesh-net/kmesh-node/internal/xds"
	wapi "github.com/kmesh-net/kmesh-node/proto/workload"
)

// kernel is a set of real maps, as the loader makes them.
type kernel struct {
	t   testing.TB
	fds map[string]int
}

// newKernel makes the maps; it skips where the kernel does not let it.
func newKernel(t testing.TB) *kernel {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("BPF maps need root")
	}
	object := filepath.Join("..", "..", "build", "bpf", "wmaps.bpf.o")
	if _, err := os.Stat(object); err != nil {
		t.Skipf("make builds it: %v", err)
	}
	libbpfgo.SetLoggerCbs(libbpfgo.Callbacks{Log: func(int, string) {}})
	mod, err := libbpfgo.NewModuleFromFileArgs(libbpfgo.NewModuleArgs{BPFObjPath: object, SkipMemlockBump: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(mod.Close)
	if err := mod.BPFLoadObject(); err != nil {
		t.Skipf("this kernel makes no maps for us: %v", err)
	}
	k := &kernel{t, map[string]int{}}
	for _, name := range mapNames {
		m, err := mod.GetMap(name)
		if err != nil {
			t.Fatal(err)
		}
		k.fds[name] = m.FileDescriptor()
	}
	return k
}

func (k *kernel) open(o Options) *Store {
	k.t.Helper()
	s, err := Open(k.fd, o)
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			k.t.Error(err)
		}
	})
	return s
}

func (k *kernel) fd(name string) int {
	if fd, ok := k.fds[name]; ok {
		return fd
	}
	return -1
}

// settle writes km_node.
func (k *kernel) settle(n nodeSettings) {
	k.t.Helper()
	var c nodeC
	c.waypoint_port = netOrder(n.waypointPort)
	copy(raw(&c.name), n.name)
	copy(raw(&c.region), n.region)
	copy(raw(&c.zone), n.zone)
	copy(raw(&c.subzone), n.subzone)
	var zero [4]byte
	if err := bpfmap.Update(k.fds["km_node"], zero[:], raw(&c)); err != nil {
		k.t.Fatal(err)
	}
}

func load(t testing.TB, paths ...string) []xds.Document {
	t.Helper()
	docs, err := xds.Load(paths, nil)
	if err != nil {
		t.Fatal(err)
	}
	return docs
}

// message is that of a workload, from the maps.
func (k *kernel) message(s *Store, r *resource) *wapi.Workload {
	k.t.Helper()
	w := new(wapi.Workload)
	wire, err := s.maps.readMessage(r.id, r.size)
	if err == nil {
		err = proto.Unmarshal(wire, w)
	}
	if err != nil {
		k.t.Fatal(err)
	}
	return w
}
