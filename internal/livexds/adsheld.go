// SPDX-License-Identifier: Apache-2.0

package livexds

import (
	"slices"

	"github.com/kmesh-net/kmesh-node/internal/xds"
)

// hope counts Listeners that wait and name a RouteConfiguration.
func (w *world) hope(name string, by int) { w.name(w.get(xds.KindRoute, name), 0, by) }

// use counts resources of the store that name others.
func (w *world) use(n xds.References, by int) {
	for _, name := range n.Clusters {
		w.name(w.get(xds.KindCluster, name), by, 0)
	}
	for _, name := range n.Routes {
		w.name(w.get(xds.KindRoute, name), by, 0)
	}
}

func (w *world) name(r *resource, users, hopes int) {
	before := r.users + r.hopes
	r.users += users
	r.hopes += hopes
	after := r.users + r.hopes
	if r.kind == xds.KindRoute && (before == 0) != (after == 0) {
		delete(w.asked, xds.KindRoute)
		if after > 0 {
			w.await(r.kind, r.name, r.come)
		} else {
			w.unnamed, w.lapsed[question{r.kind, r.name}] = true, true
		}
	}
	if after == 0 {
		w.settle(r)
	}
}

// release writes down that the store has r no more.
func (w *world) release(r *resource) {
	if r.held == nil {
		return
	}
	for _, key := range r.held.addresses {
		delete(w.owners, key)
	}
	w.setHeld(r, nil)
}

// setAddresses is setHeld of a listener, which takes its addresses from whoever had them.
func (w *world) setAddresses(r *resource, h *held) {
	if r.held != nil {
		for _, key := range r.held.addresses {
			delete(w.owners, key)
		}
	}
	for _, key := range h.addresses {
		w.unholdAddress(key)
		w.owners[key] = r
	}
	w.setHeld(r, h)
}

// restore finds Listeners whose addresses are free that others had taken: what they were is
// not known any more, and the control plane has to say it again.
func (w *world) restore() (missed bool) {
	for key, r := range w.ousted {
		if w.owners[key] != nil {
			continue
		}
		delete(w.ousted, key)
		if r.said && r.next == nil {
			r.print, missed = 0, true
		}
	}
	return missed
}

// unholdAddress writes down that the store has no listener at that address.
func (w *world) unholdAddress(key string) {
	r := w.owners[key]
	if r == nil {
		return
	}
	delete(w.owners, key)
	w.ousted[key] = r
	h := *r.held
	h.addresses = slices.DeleteFunc(slices.Clone(h.addresses), func(a string) bool { return a == key })
	if len(h.addresses) == 0 {
		w.setHeld(r, nil)
		return
	}
	r.held = &h
}

// setHeld sets what the store has of r; nil: nothing.
func (w *world) setHeld(r *resource, h *held) {
	old := r.held
	r.held = h
	if h != nil {
		w.use(h.names, 1)
		if h.service != "" && (old == nil || old.service != h.service) {
			s := w.serviceOf(h.service)
			s.takers = append(s.takers, r.name)
		}
	}
	if old != nil {
		w.use(old.names, -1)
		if old.service != "" && (h == nil || h.service != old.service) {
			s := w.services[old.service]
			s.takers = slices.DeleteFunc(s.takers, func(t string) bool { return t == r.name })
			w.settleService(s, s.next, s.gone)
		}
	}
	w.settle(r)
}

// union is both of a and b.
func union(a, b xds.References) xds.References {
	if len(a.Clusters)+len(a.Routes) == 0 {
		return b
	}
	join := func(a, b []string) []string {
		l := slices.Concat(a, b)
		slices.Sort(l)
		return slices.Compact(l)
	}
	return xds.References{Clusters: join(a.Clusters, b.Clusters), Routes: join(a.Routes, b.Routes)}
}
