// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"iter"
	"net/netip"

	wapi "github.com/kmesh-net/kmesh-node/proto/workload"
)

// spec is what a set of endpoints is, but for its id. Two that are equal are one set.
type spec struct {
	n      uint32
	total  uint32
	step   uint64
	blocks string // struct kw_block, one behind the other
}

// specKey is what a waypoint's set depends on.
type specKey struct {
	target target
	four   bool
}

// candidate is a workload that can serve.
type candidate struct {
	at     netip.AddrPort
	weight uint32
	r      *resource
}

// ofFamily returns the first IPv4 or the first IPv6 address.
func ofFamily(list iter.Seq[netip.Addr], four bool) netip.Addr {
	for a := range list {
		if a.Is4() == four {
			return a
		}
	}
	return netip.Addr{}
}

// candidates are those of a service's workloads that can serve over a family, at the port
// that port tells; 0: not at all.
func (m *model) candidates(s *resource, workloads []*resource, four bool, port func(*resource) uint16) []candidate {
	unhealthy := s.s.GetLoadBalancing().GetHealthPolicy() == wapi.LoadBalancing_ALLOW_ALL
	var list []candidate
	for _, w := range workloads {
		addr, p := ofFamily(w.addrs(), four), port(w)
		if !addr.IsValid() || p == 0 || m.foreign(w.w.network()) {
			continue
		}
		if !w.w.healthy && !unhealthy {
			continue
		}
		if w.w.capacity == 0 {
			continue
		}
		list = append(list, candidate{netip.AddrPortFrom(addr, p), w.w.capacity, w})
	}
	return m.nearest(s, list)
}

// nearest leaves those that the service's routing preference chooses: its scopes are
// met in their order, and who meets more of them is nearer.
func (m *model) nearest(s *resource, list []candidate) []candidate {
	lb := s.s.GetLoadBalancing()
	scopes := lb.GetRoutingPreference()
	if lb.GetMode() == wapi.LoadBalancing_UNSPECIFIED_MODE || len(scopes) == 0 {
		return list
	}
	met := make([]int, len(list))
	most := 0
	for i, c := range list {
		l := c.r.w.place.Value()
		for met[i] < len(scopes) && m.here.matches(l, scopes[met[i]]) {
			met[i]++
		}
		most = max(most, met[i])
	}
	if lb.GetMode() == wapi.LoadBalancing_STRICT {
		most = len(scopes)
	}
	near := list[:0]
	for i, c := range list {
		if met[i] == most {
			near = append(near, c)
		}
	}
	return near
}

// portOf is the port at which a workload serves a service's port, 0 for not at all.
func portOf(w *resource, s *resource, port, fallback uint32) uint16 {
	for in := range w.services() {
		if in.service != s.name {
			continue
		}
		if target := in.target(uint16(port)); target != 0 {
			return target
		}
	}
	return uint16(fallback)
}

// newSpec lays candidates out as a set.
func newSpec(list []candidate) spec {
	weights := make([]uint32, len(list))
	for i, c := range list {
		weights[i] = c.weight
	}
	places, total := shares(weights)
	if len(places) == 0 {
		return spec{}
	}
	blocks := make([]blockC, (len(places)+blockSize-1)/blockSize)
	for i, p := range places {
		e := &blocks[i/blockSize].at[i%blockSize]
		ip := mapped(list[i].at.Addr())
		copy(raw(&e.ip), ip[:])
		e.port = netOrder(list[i].at.Port())
		e.cut, e.alias = u32(p.cut), u32(p.alias)
		if r := list[i].r; r != nil {
			e.workload = u32(r.num)
		}
	}
	n := uint32(len(places))
	return spec{n, total, step(uint64(n) * uint64(total)), string(rawAll(blocks))}
}

// fixedSpec is a set of addresses that no workload is known to have.
func fixedSpec(addrs []netip.Addr, port uint16) spec {
	var list []candidate
	for _, a := range addrs {
		list = append(list, candidate{at: netip.AddrPortFrom(a, port), weight: 1})
	}
	return newSpec(list)
}

// keep has equal sets share memory. Far past what a publication has room for it keeps
// nothing: ports times workloads may be more than there is memory.
func (m *model) keep(s spec) spec {
	if have, ok := m.kept[s.blocks]; ok {
		s.blocks = have
		return s
	}
	if m.keptBytes += len(s.blocks); m.keptBytes > 16*m.maxBlocks*size[blockC]() {
		m.beyond = m.keptBytes / size[blockC]()
		return spec{}
	}
	m.kept[s.blocks] = s.blocks
	return s
}
