// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
	"github.com/kmesh-net/kmesh-node/internal/workload/workloadtest"
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
	fd := workloadtest.Maps(t)
	k := &kernel{t, map[string]int{}}
	for _, name := range mapNames {
		if k.fds[name] = fd(name); k.fds[name] < 0 {
			t.Fatalf("there is no map %s", name)
		}
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
