// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"net/netip"
	"slices"

	"github.com/kmesh-net/kmesh-node/internal/xds"
	wapi "github.com/kmesh-net/kmesh-node/proto/workload"
)

// waypointOf returns what r names as its waypoint: first as it names it, then, where an
// address is that of a service, the service. What leads nowhere is told as a warning.
func (m *model) waypointOf(r *resource) []target {
	g := r.s.GetWaypoint()
	if r.kind == Workload && r.w.waypoint {
		g = r.workload().GetWaypoint()
	}
	switch d := g.GetDestination().(type) {
	case *wapi.GatewayAddress_Hostname:
		return []target{{service: serviceName(d.Hostname.GetNamespace(), d.Hostname.GetHostname())}}
	case *wapi.GatewayAddress_Address:
		a := addressOf(d.Address.GetAddress())
		vips := m.vips[a]
		if s := vips.lowest(); s != nil {
			return []target{{addr: a}, {service: s.name}}
		}
		return []target{{addr: a}}
	}
	return nil
}

// via is the set of a waypoint's endpoints, none where it leads nowhere.
func (m *model) via(r *resource, four bool) spec {
	t, ok := r.waypoint()
	if !ok {
		return spec{}
	}
	if t.service == r.name && r.kind == Service {
		return spec{}
	}
	key := specKey{t, four}
	if s, ok := m.specs[key]; ok {
		return s
	}
	s := m.newVia(t, four)
	if m.specs != nil {
		m.specs[key] = s
	}
	return s
}

// waypoint is the last that r names.
func (r *resource) waypoint() (t target, ok bool) {
	named := r.got().named
	if len(named) == 0 {
		return target{}, false
	}
	return named[len(named)-1], true
}

func (m *model) newVia(t target, four bool) spec {
	port := m.node.waypointPort
	if t.service == "" {
		if t.addr.Is4() != four {
			return spec{}
		}
		return fixedSpec([]netip.Addr{t.addr}, port)
	}
	s := m.res[Service][t.service]
	if s == nil {
		return spec{}
	}
	if s := newSpec(m.candidates(s, m.membersOf(s), four, func(*resource) uint16 { return port })); s.n > 0 {
		return s
	}
	var own []netip.Addr
	for _, a := range m.ownAddresses(s) {
		if a.Is4() == four {
			own = append(own, a)
		}
	}
	return fixedSpec(own, port)
}

// checkWaypointOf warns where a waypoint leads nowhere.
func (m *model) checkWaypointOf(r *resource) {
	t, ok := r.waypoint()
	if !ok {
		return
	}
	switch {
	case t.service == r.name && r.kind == Service:
		r.warn("is its own waypoint: connections go to it without one")
		return
	case t.service != "" && m.res[Service][t.service] == nil:
		r.warn("waypoint %s is not known: connections go without it", xds.Clip(t.service))
		return
	}
	for _, four := range []bool{true, false} {
		has := false
		for _, a := range m.ownAddresses(r) {
			has = has || a.Is4() == four
		}
		if has && m.via(r, four).n == 0 {
			r.warn("waypoint %s cannot be reached over %s: connections over it go without the waypoint", t, familyName(four))
		}
	}
}

func (t target) String() string {
	if t.service != "" {
		return xds.Clip(t.service)
	}
	return t.addr.String()
}

func familyName(four bool) string {
	if four {
		return "IPv4"
	}
	return "IPv6"
}

// ownAddresses are the addresses of a resource in this node's network, each once.
func (m *model) ownAddresses(r *resource) []netip.Addr {
	if r.kind == Workload {
		if m.foreign(r.w.network()) {
			return nil
		}
		return once(slices.Collect(r.addrs()))
	}
	var list []netip.Addr
	for _, n := range r.s.GetAddresses() {
		if !m.foreign(n.GetNetwork()) {
			list = append(list, addressOf(n.GetAddress()))
		}
	}
	return once(list)
}

// once leaves the first of each address.
func once(list []netip.Addr) []netip.Addr {
	for i, a := range list {
		if !slices.Contains(list[:i], a) {
			continue
		}
		seen := map[netip.Addr]bool{}
		return slices.DeleteFunc(slices.Clone(list), func(a netip.Addr) bool {
			again := seen[a]
			seen[a] = true
			return again
		})
	}
	return list
}
