// SPDX-License-Identifier: Apache-2.0

package livexds

import (
	"slices"
	"time"

	"github.com/kmesh-net/kmesh-node/internal/xds"
)

// resource is a Cluster, Listener or RouteConfiguration by name: what the control plane
// says of it, and what of that the store has. Messages are not kept here but for the
// one that waits: the maps have them.
type resource struct {
	kind xds.Kind
	name string
	// said: the control plane has it. What it has not and the store has is to go.
	said bool
	// print is of the last version that was said, 0 when it is not known to be that of
	// next or else the store's.
	print uint64
	// next was said and is not in force yet.
	next      *xds.Arrival
	named     xds.References // by next
	addresses []string       // of next, a Listener
	// held is nil when it is not in the store.
	held *held
	// users are Listeners and RouteConfigurations of the store that name it, hopes those
	// that wait.
	users, hopes int
	// service is the one that it asks for, of a Cluster that is said.
	service string
	// come: it came since it was asked for, of a RouteConfiguration.
	come bool
	// since is when it began to wait, for what it names or for those that name it.
	since time.Time
	// refused is why next was not taken when something else brought it: it is tried again.
	refused error
	// seen and taken are the last response that named it, and that had a new version.
	seen, taken uint64
	goes        bool // of a plan: next comes into force, or held goes
}

// held is what matters of a resource in the store.
type held struct {
	service   string // of a Cluster
	assigned  bool   // of a Cluster: its endpoints have come
	addresses []string
	names     xds.References
}

// service is what a ClusterLoadAssignment is about.
type service struct {
	name   string
	wanted int      // Clusters that are said and ask for it
	takers []string // Clusters of the store
	print  uint64   // as a resource's
	next   *xds.Arrival
	gone   bool      // the control plane took it away, the store has not heard yet
	since  time.Time // of gone
	come   bool
	// refused is, as a resource's, of next or gone; since is of it then.
	refused error
	seen    uint64
}

// world is all of it. Changes go through its methods, which keep the counts.
type world struct {
	clusters, listeners, routes map[string]*resource
	services                    map[string]*service
	owners                      map[string]*resource // of listeners' addresses in the store
	// ousted are the Listeners that had an address before the one that has it, the last one
	// last; freed are addresses of theirs that somebody left.
	ousted map[string][]*resource
	freed  map[string]bool
	// waiting are resources with a next, or with a held that is to go.
	waiting map[*resource]bool
	// fresh are services that wait for a Cluster to take them.
	fresh map[*service]bool
	// awaited are services and RouteConfigurations that were asked for and have not come.
	awaited map[question]time.Time
	// lapsed are those of which nobody wanted an answer any more for a moment; unheard those
	// of which nobody did for longer, and the client has not looked since.
	lapsed, unheard map[question]bool
	// again: one that is unheard is asked again. The client goes on to ask for it and will
	// not get another answer.
	again bool
	// asked is what to ask for by name, nil when it has to be made anew.
	asked map[xds.Kind][]string
	// unnamed: there may be RouteConfigurations that nobody names.
	unnamed bool
	docs    uint64 // responses so far
	now     func() time.Time
}

func newWorld(now func() time.Time) *world {
	return &world{
		clusters: map[string]*resource{}, listeners: map[string]*resource{}, routes: map[string]*resource{},
		services: map[string]*service{}, owners: map[string]*resource{}, ousted: map[string][]*resource{}, freed: map[string]bool{},
		waiting: map[*resource]bool{}, fresh: map[*service]bool{}, awaited: map[question]time.Time{}, lapsed: map[question]bool{}, unheard: map[question]bool{},
		asked: map[xds.Kind][]string{}, unnamed: true, now: now,
	}
}

// of returns the resources of a kind, nil where they are none of their own.
func (w *world) of(k xds.Kind) map[string]*resource {
	switch k {
	case xds.KindCluster:
		return w.clusters
	case xds.KindListener:
		return w.listeners
	case xds.KindRoute:
		return w.routes
	}
	return nil
}

// get returns the resource of that name, made where there is none.
func (w *world) get(k xds.Kind, name string) *resource {
	all := w.of(k)
	r := all[name]
	if r == nil {
		r = &resource{kind: k, name: name}
		all[name] = r
	}
	return r
}

func (w *world) serviceOf(name string) *service {
	s := w.services[name]
	if s == nil {
		s = &service{name: name}
		w.services[name] = s
	}
	return s
}

// settle brings what follows from r's fields up to date, and forgets r where nothing is
// left of it.
func (w *world) settle(r *resource) {
	w.ask(r)
	waits := r.next != nil || (r.held != nil && !r.said)
	if waits && r.since.IsZero() {
		r.since = w.now()
	}
	if waits {
		w.waiting[r] = true
		return
	}
	r.since = time.Time{}
	delete(w.waiting, r)
	if !r.said && r.held == nil && r.users == 0 && r.hopes == 0 && !w.lapsed[question{r.kind, r.name}] {
		delete(w.of(r.kind), r.name)
	}
}

// settleService sets what waits for Clusters to take it.
func (w *world) settleService(s *service, next *xds.Arrival, gone bool) {
	if gone && !s.gone {
		s.since = w.now()
	}
	if next != s.next || gone != s.gone {
		s.refused = nil
	}
	s.next, s.gone = next, gone
	if next != nil || gone {
		w.fresh[s] = true
		return
	}
	delete(w.fresh, s)
	if s.wanted == 0 && len(s.takers) == 0 && !w.lapsed[question{xds.KindAssignment, s.name}] {
		delete(w.services, s.name)
	}
}

// assigned says whether the endpoints of a service are in the store, or about to be.
func (w *world) assigned(name string) bool {
	s := w.services[name]
	if s == nil {
		return false
	}
	return s.next != nil || slices.ContainsFunc(s.takers, func(c string) bool { return w.clusters[c].held.assigned })
}

// setNext sets the version of r that waits; nil: none does.
func (w *world) setNext(r *resource, next *xds.Arrival) {
	old := r.named
	if r.refused != nil { // what comes now has not waited yet
		r.refused, r.since = nil, time.Time{}
	}
	r.next, r.named, r.addresses = next, xds.References{}, nil
	if next != nil {
		r.named, r.addresses = next.References(), next.Addresses()
	}
	for _, n := range r.named.Routes {
		w.hope(n, 1)
	}
	for _, n := range old.Routes {
		w.hope(n, -1)
	}
	w.settle(r)
}
