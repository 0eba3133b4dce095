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
	w.vacate(r.held.addresses)
	w.setHeld(r, nil)
}

// vacate writes down that nobody has those addresses.
func (w *world) vacate(keys []string) {
	for _, key := range keys {
		delete(w.owners, key)
		if len(w.ousted[key]) > 0 {
			w.freed[key] = true
		}
	}
}

// setAddresses is setHeld of a listener, which takes its addresses from whoever had them.
func (w *world) setAddresses(r *resource, h *held) {
	if r.held != nil {
		w.vacate(r.held.addresses)
	}
	for _, key := range h.addresses {
		w.unholdAddress(key)
		w.owners[key] = r
	}
	w.setHeld(r, h)
}

// oust writes down that r has lost an address to another one, and is next in line for it.
func (w *world) oust(key string, r *resource) {
	l := slices.DeleteFunc(w.ousted[key], func(o *resource) bool { return o == r || !o.said })
	if r.said {
		l = append(l, r)
	}
	w.queue(key, l)
}

// queue sets who would have an address if the one that has it went.
func (w *world) queue(key string, l []*resource) {
	if len(l) == 0 {
		delete(w.ousted, key)
		return
	}
	w.ousted[key] = l
}

// settleClaims forgets what those had lost before that come or go now: whoever comes has all
// the addresses that it is to have.
func (w *world) settleClaims() {
	for key, l := range w.ousted {
		w.queue(key, slices.DeleteFunc(l, func(o *resource) bool { return o.goes || !o.said }))
	}
}

// restore finds Listeners whose addresses are free that others had taken: what they were is
// not known any more, and the control plane has to say it again. The last one of an address
// comes back, as it would if those after it had never been.
func (w *world) restore() (missed bool) {
	freed := w.freed
	w.freed = map[string]bool{}
	for key := range freed {
		l := w.ousted[key]
		for back := w.owners[key] != nil; !back && len(l) > 0; {
			r := l[len(l)-1]
			l = l[:len(l)-1]
			switch {
			case r.said && r.next == nil:
				back, missed = true, true
				r.print = 0
			case r.said:
				back = slices.Contains(r.addresses, key) // it comes by itself
			}
		}
		w.queue(key, l)
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
	w.oust(key, r)
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
