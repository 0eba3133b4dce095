// SPDX-License-Identifier: Apache-2.0

package workload

import "slices"

// claim is one resource's frontend. Of several on one key a service's goes before a
// workload's, then the first by name.
type claim struct {
	owner       *resource
	direct, via spec
}

// unclaim takes r's frontends away.
func (m *model) unclaim(r *resource) {
	for _, k := range r.got().claimed {
		m.claims[k] = slices.DeleteFunc(m.claims[k], func(c claim) bool { return c.owner == r })
		if len(m.claims[k]) == 0 {
			delete(m.claims, k)
		}
		m.dirty.keys[k] = struct{}{}
	}
	if r.more != nil {
		r.more.claimed = nil
	}
}

func (m *model) claim(k frontendKey, c claim) {
	i, _ := slices.BinarySearchFunc(m.claims[k], c, func(a, b claim) int {
		if a.owner.kind != b.owner.kind {
			return int(b.owner.kind) - int(a.owner.kind)
		}
		return byName(a.owner, b.owner)
	})
	m.claims[k] = slices.Insert(m.claims[k], i, c)
	d := c.owner.derived()
	d.claimed = append(d.claimed, k)
	m.dirty.keys[k] = struct{}{}
}

// derive brings what follows from the dirty resources up to date. Frontends and peers
// that may differ are dirty then. It returns the resources that were looked at.
func (m *model) derive() []*resource {
	m.relocate()
	m.specs, m.kept, m.keptBytes = map[specKey]spec{}, map[string]string{}, 0
	// Who names what first: a waypoint's peers depend on it.
	owners := slices.DeleteFunc(m.dirty.owners, func(r *resource) bool { return !r.marked })
	for _, r := range owners {
		r.marked = false
		m.name(r, m.waypointOf(r))
	}
	for _, r := range owners {
		m.unclaim(r)
		if r.more != nil {
			r.more.warnings, r.more.notes = nil, nil
		}
		if r.kind == Service {
			m.deriveService(r)
		} else {
			m.deriveWorkload(r)
		}
		m.checkWaypointOf(r)
	}
	m.specs, m.kept = nil, nil
	m.dirty.owners = nil
	return owners
}

// membersOf are the workloads of a service, by name.
func (m *model) membersOf(s *resource) []*resource {
	g := m.members[s.name]
	return g.sorted()
}

func (m *model) deriveService(r *resource) {
	targets := map[uint32]uint32{} // of a port that is named twice the first target that is one
	for _, p := range r.s.GetPorts() {
		if targets[p.GetServicePort()] == 0 {
			targets[p.GetServicePort()] = p.GetTargetPort()
		}
	}
	workloads := m.membersOf(r)
	addrs := m.ownAddresses(r)
	m.noteService(r, len(addrs))
	for _, four := range []bool{true, false} {
		var family []frontendKey
		for _, a := range addrs {
			if a.Is4() == four {
				family = append(family, frontendKey{addr: a})
			}
		}
		if len(family) == 0 {
			continue
		}
		via := m.via(r, four)
		for port, target := range targets {
			direct := m.keep(newSpec(m.candidates(r, workloads, four, func(w *resource) uint16 { return portOf(w, r, port, target) })))
			if m.beyond > 0 {
				return
			}
			for _, k := range family {
				k.port = uint16(port)
				m.claim(k, claim{r, direct, via})
			}
		}
	}
}

// deriveWorkload makes a frontend of each address that has a waypoint; what has none
// is connected to without help.
func (m *model) deriveWorkload(r *resource) {
	m.noteWorkload(r)
	if _, has := r.waypoint(); !has {
		return
	}
	for _, a := range m.ownAddresses(r) {
		if via := m.via(r, a.Is4()); via.n > 0 {
			m.claim(frontendKey{addr: a}, claim{owner: r, via: via})
		}
	}
}
