// SPDX-License-Identifier: Apache-2.0

package livexds

import (
	"slices"

	"github.com/kmesh-net/kmesh-node/internal/xds"
)

// contested says whether an address of r is that of another listener, by what was said last.
func (p *plan) contested(r *resource) bool {
	return slices.ContainsFunc(r.addresses, func(key string) bool {
		o := p.w.owners[key]
		switch {
		case o == nil || o == r || !o.said:
			return false
		case o.next != nil:
			return slices.Contains(o.addresses, key)
		}
		return true
	})
}

// lacks returns something that r's next version needs and that is not there yet, "" when
// all is.
func (p *plan) lacks(r *resource) string {
	if r.kind == xds.KindCluster {
		if s := r.next.Service(); s != "" && !r.next.Assigned() && !p.w.assigned(s) {
			return "endpoints of " + xds.Clip(s)
		}
		return ""
	}
	before := p.before(r)
	worse := func(n func(xds.References) []string, name string) bool {
		return slices.ContainsFunc(before, func(o xds.References) bool { return !slices.Contains(n(o), name) })
	}
	for _, name := range p.leadsTo(r.named).Clusters {
		c := p.w.clusters[name]
		switch {
		case c != nil && (c.held != nil || c.goes):
		case c != nil && c.next != nil, !p.complete,
			// Where it was not known before either, nothing gets worse.
			worse(func(o xds.References) []string { return o.Clusters }, name):
			return "Cluster " + xds.Clip(name)
		}
	}
	for _, name := range r.named.Routes {
		c := p.w.routes[name]
		switch {
		case c.held != nil || c.goes:
		case c.next != nil, len(before) == 0, worse(func(o xds.References) []string { return o.Routes }, name):
			return "RouteConfiguration " + xds.Clip(name)
		}
	}
	return ""
}

// before is where connections lead now that r's next version will have, of each address
// that is in the store.
func (p *plan) before(r *resource) []xds.References {
	if r.kind != xds.KindListener {
		if r.held == nil {
			return nil
		}
		return []xds.References{r.held.names}
	}
	var all []xds.References
	for _, key := range r.addresses {
		if o := p.w.owners[key]; o != nil {
			all = append(all, p.leadsTo(o.held.names))
		}
	}
	return all
}

// leadsTo returns n with the clusters to which its RouteConfigurations lead, as they are
// or come.
func (p *plan) leadsTo(n xds.References) xds.References {
	for _, name := range n.Routes {
		switch c := p.w.routes[name]; {
		case c == nil:
		case c.goes:
			n.Clusters = slices.Concat(n.Clusters, c.named.Clusters)
		case c.held != nil:
			n.Clusters = slices.Concat(n.Clusters, c.held.names.Clusters)
		}
	}
	return n
}

// heirs are the addresses that listeners which do not come yet wait to take.
func heirs(waiting []*resource) map[string]*resource {
	all := map[string]*resource{}
	for _, r := range waiting {
		if r.kind == xds.KindListener && r.next != nil && !r.goes {
			for _, key := range r.addresses {
				all[key] = r
			}
		}
	}
	return all
}

// keepForHeirs has those not come that would leave an address for which another one waits.
func (p *plan) keepForHeirs(waiting []*resource) {
	for again := true; again; {
		again = false
		heirs := heirs(waiting)
		if len(heirs) == 0 {
			return
		}
		for _, r := range slices.Clone(p.coming) {
			if r.kind != xds.KindListener || r.held == nil || p.overdue(r.since) {
				continue
			}
			if slices.ContainsFunc(r.held.addresses, func(key string) bool {
				return heirs[key] != nil && !slices.Contains(r.addresses, key)
			}) {
				p.retract(r)
				again = true
			}
		}
	}
}

// leaveNamed has r go if nothing in the store will name it.
func (p *plan) leaveNamed(r *resource) {
	if left := r.users + p.users[question{r.kind, r.name}]; left > 0 {
		if !p.overdue(r.since) {
			return
		}
		p.remark("%s: the control plane has it no more, and what names it stayed: connections pass through", shown(r))
	}
	p.leave(r)
}
