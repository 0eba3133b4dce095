// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
	wapi "github.com/kmesh-net/kmesh-node/proto/workload"
)

// Thousands of changes leave nothing behind, in maps or in the writer.
func TestChurn(t *testing.T) {
	k := newKernel(t)
	s := k.open(Options{})
	s.Later()
	messages := append(mesh(20, 4), policy(`name: "p" namespace: "ns" scope: NAMESPACE action: DENY groups { rules { matches { principals { suffix: "/sa" } } } }`))
	apply(t, s, response(t, messages))
	r := rand.New(rand.NewPCG(3, 3))
	size := func() string {
		l := s.live
		m := l.model
		sizes := map[string]int{
			"res": len(m.res[Workload]) + len(m.res[Service]) + len(m.res[Policy]), "nums": len(m.nums), "members": len(m.members), "vips": len(m.vips),
			"addrs": len(m.addrs), "nodes": len(m.nodes), "named": len(m.named), "claims": len(m.claims),
			"frontends": len(l.frontends), "sets": len(l.sets), "blocks": len(l.blocks), "peers": len(l.peers), "denied": len(l.denied),
			"served": len(l.served), "touched": len(l.touched), "orphans": len(l.orphans), "garbage": len(l.garbage.messages) + len(l.garbage.tombstones),
			"chunks": l.chunks, "block count": l.blockCount, "counters": l.counters.free,
		}
		for _, name := range []string{"km_res", "km_frontend", "km_block", "km_peer", "km_denied", "km_served"} {
			sizes[name] = k.count(name)
		}
		return fmt.Sprint(sizes)
	}
	change := func(pushes int) {
		for i := range pushes {
			n := 1 + r.IntN(len(messages)-2)
			switch m := proto.Clone(messages[n]).(type) {
			case *wapi.Workload:
				switch i % 3 {
				case 0:
					m.Status = wapi.WorkloadStatus(r.IntN(2))
					apply(t, s, response(t, list(m)))
				case 1:
					apply(t, s, response(t, nil, m.GetUid()))
				case 2:
					m.ServiceAccount = fmt.Sprintf("sa%d", i%50)
					apply(t, s, response(t, list(m)))
				}
			case *wapi.Service:
				apply(t, s, response(t, nil, NameOf(m)))
			}
			if i%100 == 0 {
				retire(t, s)
			}
		}
		apply(t, s, response(t, messages))
		retire(t, s)
	}
	change(300)
	was, slots, free := size(), len(s.live.identities.slots), cap(s.live.identities.free)
	change(3000)
	if now := size(); now != was {
		t.Errorf("after 3000 pushes\n%s\nwere\n%s", now, was)
	}
	// Indexes are given out again; how many are held at a time is a matter of luck.
	if n := len(s.live.identities.slots); n > slots+200 || cap(s.live.identities.free) > free+400 {
		t.Errorf("%d indexes, were %d; %d free, were %d", n, slots, cap(s.live.identities.free), free)
	}
	k.checkWhole(s)
}

// count is how many entries a HASH has.
func (k *kernel) count(name string) (n int) {
	k.t.Helper()
	sizes := map[string][2]int{"km_res": {size[chunkKeyC](), size[chunkC]()}, "km_frontend": {size[frontendKeyC](), size[frontendC]()},
		"km_block": {size[blockKeyC](), size[blockC]()}, "km_peer": {16, size[peerC]()}, "km_denied": {4, 8}, "km_served": {4, size[servedC]()}}[name]
	if err := bpfmap.Each(k.fds[name], sizes[0], sizes[1], func(_, _ []byte) error { n++; return nil }); err != nil {
		k.t.Fatal(err)
	}
	return n
}

// Ids that are used up begin anew, and nothing that is there loses its own.
func TestIdsBeginAnew(t *testing.T) {
	k := newKernel(t)
	s := k.open(Options{})
	apply(t, s, response(t, before()))
	s.maps.meta.next_resource, s.maps.meta.next_set = math.MaxUint32-5, math.MaxUint32-2
	s = k.open(Options{})
	for i := range 30 {
		apply(t, s, response(t, list(svc("n", "10.96.7.7", http), pod("n", "10.0.7.7", in("n", 80, uint32(1000+i))), pod(fmt.Sprintf("n%d", i), fmt.Sprintf("10.0.8.%d", i+1), in("s", 80, 7)))))
		seen := map[uint32]string{}
		for num, r := range s.live.model.nums {
			if num == 0 || r.num != num || seen[r.id] != "" || r.id == 0 {
				t.Fatalf("turn %d: %s has number %d, id %d, which is that of %s", i, r, num, r.id, seen[r.id])
			}
			seen[r.id] = r.name
		}
		s.live.check(t)
	}
	if n := uint32(s.maps.meta.next_resource); n > 1000 {
		t.Errorf("next_resource %d", n)
	}
	k.checkWhole(s)
	next := k.open(Options{})
	apply(t, next, response(t, list(pod("late", "10.0.9.9", in("s", 80, 7)))))
	k.checkWhole(next)
}
