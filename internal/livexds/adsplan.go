// SPDX-License-Identifier: Apache-2.0

package livexds

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/internal/xds"
)

// plan is what comes into force and what goes as one publication. What comes needs
// nothing that waits, and what goes is needed by nothing that stays, or each has waited
// for long enough.
type plan struct {
	w        *world
	complete bool // clusters have come: those that are not known will not
	overdue  func(since time.Time) bool

	coming, going []*resource
	taken         map[string]*resource // addresses, by what comes
	services      []*service           // whose endpoints come or go
	remarks       []string             // of what has waited for too long
	missed        []*service           // their endpoints came, and nothing has them any more
	// named is how much less, or more, a resource will be named by those in the store,
	// users, and by those and the ones that wait, all.
	users, all map[question]int
	unnamed    bool // any RouteConfiguration may be one that nobody names
}

// makePlan settles what can change now; what waits since a time of which overdue says so
// changes in any case.
func (w *world) makePlan(complete bool, overdue func(since time.Time) bool) *plan {
	p := &plan{w: w, complete: complete, overdue: overdue, taken: map[string]*resource{}, users: map[question]int{}, all: map[question]int{}}
	p.unnamed, w.unnamed = w.unnamed, false
	waiting := make([]*resource, 0, len(w.waiting))
	for r := range w.waiting {
		waiting = append(waiting, r)
	}
	slices.SortFunc(waiting, func(a, b *resource) int {
		return cmp.Or(strings.Compare(string(a.kind), string(b.kind)), strings.Compare(a.name, b.name))
	})
	// What is named before what names it, so that both can come at once.
	for _, k := range []xds.Kind{xds.KindCluster, xds.KindRoute, xds.KindListener} {
		for _, r := range waiting {
			if r.kind == k && r.next != nil {
				p.come(r)
			}
		}
	}
	p.keepForHeirs(waiting)
	// What names before what is named, so that both can go at once.
	p.leaveListeners(waiting)
	p.leaveRoutes(waiting)
	for _, r := range waiting {
		if r.kind == xds.KindCluster && !r.said {
			p.leaveNamed(r)
		}
	}
	p.endpoints()
	return p
}

func (p *plan) empty() bool { return len(p.coming)+len(p.going)+len(p.services) == 0 }

func (p *plan) remark(format string, args ...any) {
	p.remarks = append(p.remarks, fmt.Sprintf(format, args...))
}

func shown(r *resource) string { return string(r.kind) + " " + xds.Clip(r.name) }

// come has the next version of r come if what it needs is there.
func (p *plan) come(r *resource) {
	if r.refused != nil && !p.overdue(r.since) {
		return
	}
	if lacks := p.lacks(r); lacks != "" {
		if !p.overdue(r.since) {
			return
		}
		p.remark("%s: in force without %s, which did not come in time", shown(r), lacks)
		// A Cluster took them that has gone since, while this one was refused.
		if sv := p.w.services[r.next.Service()]; sv != nil && sv.print != 0 {
			p.missed = append(p.missed, sv)
		}
	}
	// Of two that the control plane has at one address the later one takes it in the end,
	// as a warning will say.
	if p.contested(r) && !p.overdue(r.since) || slices.ContainsFunc(r.addresses, func(key string) bool { return p.taken[key] != nil }) {
		return
	}
	r.goes = true
	p.coming = append(p.coming, r)
	for _, key := range r.addresses {
		p.taken[key] = r
	}
	if r.held != nil {
		p.count(r.held.names, -1, -1)
	}
	// Those that waited were counted as such.
	p.count(xds.References{Clusters: r.named.Clusters}, 1, 1)
	p.count(xds.References{Routes: r.named.Routes}, 1, 0)
}

func (p *plan) count(n xds.References, users, all int) {
	for _, name := range n.Clusters {
		p.users[question{xds.KindCluster, name}] += users
	}
	for _, name := range n.Routes {
		q := question{xds.KindRoute, name}
		p.users[q] += users
		p.all[q] += all
	}
}

// retract has r not come after all.
func (p *plan) retract(r *resource) {
	r.goes = false
	p.coming = slices.DeleteFunc(p.coming, func(o *resource) bool { return o == r })
	maps.DeleteFunc(p.taken, func(_ string, o *resource) bool { return o == r })
	p.count(xds.References{Clusters: r.named.Clusters}, -1, -1)
	p.count(xds.References{Routes: r.named.Routes}, -1, 0)
	if r.held != nil {
		p.count(r.held.names, 1, 1)
	}
}

// leave has r go.
func (p *plan) leave(r *resource) {
	r.goes = true
	p.going = append(p.going, r)
	p.count(r.held.names, -1, -1)
}

// leaveListeners has those go whose addresses no other one waits to take.
func (p *plan) leaveListeners(waiting []*resource) {
	heirs := heirs(waiting)
	for _, r := range waiting {
		if r.kind != xds.KindListener || r.said {
			continue
		}
		i := slices.IndexFunc(r.held.addresses, func(key string) bool { return heirs[key] != nil })
		if i >= 0 && !p.overdue(r.since) {
			continue
		}
		p.leave(r)
	}
}

// leaveRoutes has those go that are not said any more, and those that nobody names.
func (p *plan) leaveRoutes(waiting []*resource) {
	for _, r := range waiting {
		if r.kind == xds.KindRoute && !r.said {
			p.leaveNamed(r)
		}
	}
	var unnamed []*resource
	look := func(r *resource) {
		if r != nil && r.said && r.users+r.hopes+p.all[question{r.kind, r.name}] == 0 {
			unnamed = append(unnamed, r)
		}
	}
	if p.unnamed {
		for _, r := range p.w.routes {
			look(r)
		}
	} else {
		for q := range p.all {
			look(p.w.routes[q.name])
		}
	}
	slices.SortFunc(unnamed, func(a, b *resource) int { return strings.Compare(a.name, b.name) })
	for _, r := range unnamed {
		if r.goes { // it would have come
			p.retract(r)
		}
		if r.held != nil {
			p.leave(r)
			continue
		}
		r.said, r.print = false, 0
		p.w.setNext(r, nil)
	}
}

// endpoints finds the services whose endpoints come with this plan.
func (p *plan) endpoints() {
	if len(p.w.fresh) == 0 {
		return
	}
	taken := map[string]bool{}
	for _, r := range p.coming {
		if r.kind == xds.KindCluster {
			taken[r.next.Service()] = true
		}
	}
	for s := range p.w.fresh {
		switch {
		case s.wanted == 0 || !taken[s.name] && !p.w.hasTaker(s):
		case (s.gone || s.refused != nil) && !p.overdue(s.since):
			// Its clusters will be told to go, too, or to another service.
		default:
			p.services = append(p.services, s)
		}
	}
	slices.SortFunc(p.services, func(a, b *service) int { return strings.Compare(a.name, b.name) })
}

// hasTaker says whether a Cluster of the store takes the endpoints of s.
func (w *world) hasTaker(s *service) bool {
	return slices.ContainsFunc(s.takers, func(name string) bool { return w.clusters[name].said })
}

// changes are what a plan asks of the store.
func (p *plan) changes() (removed []xds.Name, put []*xds.Arrival) {
	for _, r := range p.going {
		removed = append(removed, xds.Name{Kind: r.kind, Name: r.name})
	}
	for _, r := range p.coming {
		put = append(put, r.next)
	}
	for _, s := range p.services {
		if s.next != nil {
			put = append(put, s.next)
		} else {
			removed = append(removed, xds.Name{Kind: xds.KindAssignment, Name: s.name})
		}
	}
	return removed, put
}

// drop forgets the plan.
func (p *plan) drop() {
	for _, r := range slices.Concat(p.coming, p.going) {
		r.goes = false
	}
	p.w.unnamed = p.w.unnamed || p.unnamed
}

// done writes down that the plan was published as ops.
func (p *plan) done(ops []config.Op) {
	rec := newRecord(p.w)
	for _, op := range ops {
		if !op.Delete {
			rec.add(op.Message)
		}
	}
	rec.end()
	p.w.settleClaims()
	for _, r := range p.going {
		// Also one that was said and that nobody names: it is not asked for any more.
		r.goes, r.said, r.print = false, false, 0
		p.w.release(r)
		p.w.setNext(r, nil)
	}
	for _, r := range p.coming {
		r.goes = false
		p.w.setNext(r, nil)
	}
	for _, s := range p.services {
		p.w.settleService(s, nil, false)
	}
	for _, s := range p.missed {
		s.print = 0 // what comes again is news
	}
}

// fetchTime is how long something waits for what it needs, or for what needs it to change:
// as long as Envoy waits for the first answer.
const fetchTime = 15 * time.Second
