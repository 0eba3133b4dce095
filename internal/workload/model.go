// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"net/netip"
	"slices"
	"strings"
)

// target is what a resource names as its waypoint: a service, or an address.
type target struct {
	service string
	addr    netip.Addr
}

type group map[*resource]struct{}

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
	beyond    int // number of blocks that were too many to go on; 0: all is derived
}

// dirty is what has to be derived again.
type dirty struct {
	owners   group
	keys     map[frontendKey]struct{}
	peers    map[netip.Addr]struct{}
	policies bool
}

func newModel() *model {
	m := &model{
		enrolled: map[netip.Addr][]netip.Addr{},
		hosts:    map[netip.Addr]struct{}{},
		res:      map[Kind]map[string]*resource{},
		nums:     map[uint32]*resource{},
		members:  map[string]group{},
		vips:     map[netip.Addr]group{},
		addrs:    map[netip.Addr]group{},
		nodes:    map[string]group{},
		named:    map[target]group{},
		claims:   map[frontendKey][]claim{},
	}
	for _, k := range Kinds() {
		m.res[k] = map[string]*resource{}
	}
	m.clean()
	return m
}

func (m *model) clean() {
	m.dirty = dirty{owners: group{}, keys: map[frontendKey]struct{}{}, peers: map[netip.Addr]struct{}{}}
}

// allDirty has everything derived again.
func (m *model) allDirty() {
	for _, k := range []Kind{Workload, Service} {
		for _, r := range m.res[k] {
			m.dirty.owners[r] = struct{}{}
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

// put adds r in place of the resource of its kind and name.
func (m *model) put(r *resource) {
	m.remove(r.kind, r.name)
	m.res[r.kind][r.name] = r
	m.nums[r.num] = r
	m.relate(r, join)
}

// remove takes a resource out and returns it, nil where it is not there.
func (m *model) remove(k Kind, name string) *resource {
	r := m.res[k][name]
	if r == nil {
		return nil
	}
	m.relate(r, leave)
	m.unclaim(r)
	m.name(r, nil)
	delete(m.dirty.owners, r)
	delete(m.res[k], name)
	delete(m.nums, r.num)
	return r
}

// relate adds r to the groups that it belongs to, or takes it out, and marks what
// depends on that.
func (m *model) relate(r *resource, change func(group, *resource)) {
	switch r.kind {
	case Workload:
		for name := range r.w.GetServices() {
			regroup(m.members, name, r, change)
			m.touch(target{service: name})
		}
		for _, a := range r.addrs {
			regroup(m.addrs, a, r, change)
			m.dirty.peers[a] = struct{}{}
			for _, kin := range m.enrolled[a] {
				m.dirty.peers[kin] = struct{}{}
			}
		}
		if r.w.GetNode() != "" {
			regroup(m.nodes, r.w.GetNode(), r, change)
		}
		m.dirty.owners[r] = struct{}{}
	case Service:
		for _, n := range r.s.GetAddresses() {
			a := addressOf(n.GetAddress())
			regroup(m.vips, a, r, change)
			m.touch(target{addr: a})
			m.served(target{addr: a})
		}
		m.dirty.owners[r] = struct{}{}
		m.touch(target{service: r.name})
	case Policy:
		m.dirty.policies = true
	}
}

func join(g group, r *resource)  { g[r] = struct{}{} }
func leave(g group, r *resource) { delete(g, r) }

func regroup[K comparable](of map[K]group, key K, r *resource, change func(group, *resource)) {
	g := of[key]
	if g == nil {
		g = group{}
		of[key] = g
	}
	change(g, r)
	if len(g) == 0 {
		delete(of, key)
	}
}

// touch marks what is derived from a target: its frontends, and those that lead
// to it as a waypoint.
func (m *model) touch(t target) {
	for r := range m.named[t] {
		m.dirty.owners[r] = struct{}{}
	}
	if s := m.res[Service][t.service]; s != nil {
		m.dirty.owners[s] = struct{}{}
	}
}

// name sets the waypoints that r names.
func (m *model) name(r *resource, targets []target) {
	for _, t := range r.named {
		if !slices.Contains(targets, t) {
			regroup(m.named, t, r, leave)
			if len(m.named[t]) == 0 {
				m.served(t)
			}
		}
	}
	for _, t := range targets {
		if !slices.Contains(r.named, t) {
			regroup(m.named, t, r, join)
			if len(m.named[t]) == 1 {
				m.served(t)
			}
		}
	}
	r.named = targets
}

// served marks the peers that are waypoints when t is one.
func (m *model) served(t target) {
	if t.addr.IsValid() {
		m.dirty.peers[t.addr] = struct{}{}
	}
	for w := range m.members[t.service] {
		for _, a := range w.addrs {
			m.dirty.peers[a] = struct{}{}
		}
	}
}

// isWaypoint says whether r, a workload, serves as a waypoint.
func (m *model) isWaypoint(r *resource) bool {
	for name := range r.w.GetServices() {
		if len(m.named[target{service: name}]) > 0 {
			return true
		}
	}
	return false
}

func byName(a, b *resource) int { return strings.Compare(a.name, b.name) }

// sorted is the resources of a group by name, so that what is derived does not depend
// on the order in which they came.
func (g group) sorted() []*resource {
	list := make([]*resource, 0, len(g))
	for r := range g {
		list = append(list, r)
	}
	slices.SortFunc(list, byName)
	return list
}

// lowest is the first of sorted, nil of an empty group.
func (g group) lowest() *resource {
	var low *resource
	for r := range g {
		if low == nil || r.name < low.name {
			low = r
		}
	}
	return low
}
