// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"net/netip"
	"slices"
)

// target is what a resource names as its waypoint: a service, or an address.
type target struct {
	service string
	addr    netip.Addr
}

// model is the resources, who is related to whom, and what of all that follows from
// them has to be looked at again.
type model struct {
	node     nodeSettings
	here     locality
	enrolled map[netip.Addr][]netip.Addr // addresses of enrolled pods: all of the pod's
	hosts    map[netip.Addr]struct{}     // the node's own

	res     map[Kind]map[string]*resource
	nums    map[uint32]*resource
	members map[string]group     // workloads by the service that they name
	vips    map[netip.Addr]group // services by address
	addrs   map[netip.Addr]group // workloads by address
	nodes   map[string]group     // workloads by node
	named   map[target]group     // whose waypoint it is
	claims  map[frontendKey][]claim

	dirty dirty
	specs map[specKey]spec // of waypoints, within one derivation

	kept      map[string]string // blocks of services, within one derivation
	keptBytes int
	maxBlocks int // that there is room for
	beyond    int // number of blocks that were too many to go on; 0: all is derived
}

// dirty is what has to be derived again.
type dirty struct {
	owners   []*resource // those of them that are marked
	keys     map[frontendKey]struct{}
	peers    map[netip.Addr]struct{}
	policies bool
	pods     bool // other ones are enrolled: some may be waypoints
}

func newModel() *model {
	m := &model{
		maxBlocks: maxBlocks,
		enrolled:  map[netip.Addr][]netip.Addr{},
		hosts:     map[netip.Addr]struct{}{},
		res:       map[Kind]map[string]*resource{},
		nums:      map[uint32]*resource{},
		members:   map[string]group{},
		vips:      map[netip.Addr]group{},
		addrs:     map[netip.Addr]group{},
		nodes:     map[string]group{},
		named:     map[target]group{},
		claims:    map[frontendKey][]claim{},
	}
	for _, k := range Kinds() {
		m.res[k] = map[string]*resource{}
	}
	m.clean()
	return m
}

func (m *model) clean() {
	m.dirty = dirty{keys: map[frontendKey]struct{}{}, peers: map[netip.Addr]struct{}{}}
}

// allDirty has everything derived again.
func (m *model) allDirty() {
	for _, k := range []Kind{Workload, Service} {
		for _, r := range m.res[k] {
			m.mark(r)
		}
	}
	for a := range m.addrs {
		m.dirty.peers[a] = struct{}{}
	}
	for a := range m.hosts {
		m.dirty.peers[a] = struct{}{}
	}
	for a := range m.enrolled {
		m.dirty.peers[a] = struct{}{}
	}
	m.dirty.policies = true
}

// mark has what follows from a resource derived again.
func (m *model) mark(r *resource) {
	if !r.marked {
		r.marked = true
		m.dirty.owners = append(m.dirty.owners, r)
	}
}

// put adds r in place of the resource of its kind and name.
func (m *model) put(r *resource) {
	m.remove(r.kind, r.name)
	m.res[r.kind][r.name] = r
	m.nums[r.num] = r
	m.relate(r, true)
}

// remove takes a resource out, where it is there.
func (m *model) remove(k Kind, name string) {
	r := m.res[k][name]
	if r == nil {
		return
	}
	m.relate(r, false)
	m.unclaim(r)
	m.name(r, nil)
	r.marked = false
	delete(m.res[k], name)
	delete(m.nums, r.num)
}

// relate adds r to the groups that it belongs to, or takes it out, and marks what
// depends on that.
func (m *model) relate(r *resource, join bool) {
	switch r.kind {
	case Workload:
		for in := range r.services() {
			name := in.service
			regroup(m.members, name, r, join)
			m.touch(target{service: name})
		}
		for a := range r.addrs() {
			regroup(m.addrs, a, r, join)
			m.dirty.peers[a] = struct{}{}
			for _, kin := range m.enrolled[a] {
				m.dirty.peers[kin] = struct{}{}
			}
		}
		if node := r.w.place.Value().node; node != "" {
			regroup(m.nodes, node, r, join)
		}
		m.mark(r)
	case Service:
		for _, n := range r.s.GetAddresses() {
			a := addressOf(n.GetAddress())
			regroup(m.vips, a, r, join)
			m.touch(target{addr: a})
			m.served(target{addr: a})
		}
		m.mark(r)
		m.touch(target{service: r.name})
	case Policy:
		m.dirty.policies = true
	}
}

// touch marks what is derived from a target: its frontends, and those that lead
// to it as a waypoint.
func (m *model) touch(t target) {
	named := m.named[t]
	for r := range named.all() {
		m.mark(r)
	}
	if s := m.res[Service][t.service]; s != nil {
		m.mark(s)
	}
}

// name sets the waypoints that r names.
func (m *model) name(r *resource, targets []target) {
	for _, t := range r.got().named {
		if !slices.Contains(targets, t) {
			regroup(m.named, t, r, false)
			if !m.isNamed(t) {
				m.served(t)
			}
		}
	}
	for _, t := range targets {
		if !slices.Contains(r.got().named, t) {
			if !m.isNamed(t) {
				m.served(t)
			}
			regroup(m.named, t, r, true)
		}
	}
	if len(targets) > 0 || r.more != nil {
		r.derived().named = targets
	}
}

// served marks the peers that are waypoints when t is one.
func (m *model) served(t target) {
	if t.addr.IsValid() {
		m.dirty.peers[t.addr] = struct{}{}
	}
	members := m.members[t.service]
	for w := range members.all() {
		for a := range w.addrs() {
			m.dirty.peers[a] = struct{}{}
		}
	}
}

// isNamed says whether something names t as its waypoint.
func (m *model) isNamed(t target) bool {
	_, named := m.named[t]
	return named
}

// isWaypoint says whether r, a workload, serves as a waypoint.
func (m *model) isWaypoint(r *resource) bool {
	for in := range r.services() {
		if m.isNamed(target{service: in.service}) {
			return true
		}
	}
	return false
}
