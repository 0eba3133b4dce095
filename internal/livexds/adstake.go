// SPDX-License-Identifier: Apache-2.0

package livexds

import (
	"errors"
	"fmt"
	"hash/maphash"

	"github.com/kmesh-net/kmesh-node/internal/store"
	"github.com/kmesh-net/kmesh-node/internal/xds"
)

// seed keeps prints from being foreseen.
var seed = maphash.MakeSeed()

// printOf tells versions of a resource apart; it is never 0.
func printOf(value []byte) uint64 { return maphash.Bytes(seed, value) | 1 }

// taking is what one response did to the world.
type taking struct {
	world     *world
	doc       *xds.Document
	rejected  []xds.Rejection
	resources []*resource // that it said something new of
	services  []*service
	addresses map[string]string // of Listeners that it said something new of, to their names
}

var errTwice = errors.New("stands in one response twice")

// news is a raw resource that has to be looked into.
type news struct {
	index int
	print uint64
}

// take makes what d says known. Nothing comes into force by that. limits are how many
// resources of a kind, known of or named, the store has room for.
func (w *world) take(d *xds.Document, limits func(xds.Kind) int) *taking {
	t := &taking{world: w, doc: d, addresses: map[string]string{}}
	w.docs++
	// Most of a push is known: only what is new is decoded.
	var fresh []news
	for i := range d.Raw {
		is := printOf(d.Raw[i].Value)
		if t.news(i, is) {
			fresh = append(fresh, news{i, is})
		}
	}
	arrivals := make([]*xds.Arrival, len(fresh))
	xds.Each(len(fresh), func(i int) {
		arrivals[i] = d.Convert(fresh[i].index)
		// A push of everything is large: it goes while what it said comes.
		d.Raw[fresh[i].index].Value = nil
	})
	for i, a := range arrivals {
		if bad := a.Invalid(); bad != nil {
			t.rejected = append(t.rejected, *bad)
		} else if err := t.put(a, fresh[i].print, limits); err != nil {
			t.rejected = append(t.rejected, a.Refuse(err))
		}
	}
	t.takeAway()
	return t
}

// takeAway makes known what is gone by the response.
func (t *taking) takeAway() {
	for _, name := range t.doc.Removed {
		t.remove(name)
	}
	if t.doc.Complete {
		t.complete()
	}
}

// news says whether raw resource i has to be looked into. What is named in a complete
// response stays, whatever is wrong with it.
func (t *taking) news(i int, is uint64) bool {
	w, name := t.world, t.doc.NameOf(i)
	twice := func(seen *uint64) bool {
		if *seen == w.docs {
			t.rejected = append(t.rejected, t.doc.Reject(i, errTwice))
			return true
		}
		*seen = w.docs
		return false
	}
	if t.doc.Kind == xds.KindAssignment {
		s := w.services[name]
		if s == nil || s.wanted == 0 {
			return false // it was asked for, and is not wanted any more
		}
		s.come = true
		delete(w.awaited, question{xds.KindAssignment, name})
		return !twice(&s.seen) && (s.print != is || s.gone)
	}
	r := w.of(t.doc.Kind)[name]
	if t.doc.Kind == xds.KindRoute {
		if r == nil || r.users+r.hopes == 0 {
			return false
		}
		r.come = true
		delete(w.awaited, question{r.kind, name})
	}
	if r == nil {
		return true
	}
	return !twice(&r.seen) && (!r.said || r.print != is)
}

// put takes one resource that is valid.
func (t *taking) put(a *xds.Arrival, is uint64, limits func(xds.Kind) int) error {
	w := t.world
	if a.Kind() == xds.KindAssignment {
		s := w.services[a.Name()]
		s.print = is
		w.settleService(s, a, false)
		t.services = append(t.services, s)
		return nil
	}
	for _, key := range a.Addresses() {
		if o, ok := t.addresses[key]; ok {
			return fmt.Errorf("address: %s is also the address of Listener %s", key, xds.Clip(o))
		}
		t.addresses[key] = a.Name()
	}
	r := w.of(a.Kind())[a.Name()]
	if r == nil {
		if limit := limits(a.Kind()); len(w.of(a.Kind())) >= limit {
			return fmt.Errorf("%w: %d of %d are in use", store.ErrNoSpace, limit, limit)
		}
		r = w.get(a.Kind(), a.Name())
	} else if r.taken == w.docs {
		return errTwice
	}
	r.said, r.print, r.seen, r.taken = true, is, w.docs, w.docs
	w.setNext(r, a)
	t.resources = append(t.resources, r)
	return nil
}

// remove takes the name of what is gone; what is named in the same response is there.
func (t *taking) remove(name string) {
	w := t.world
	if t.doc.Kind == xds.KindAssignment {
		delete(w.awaited, question{xds.KindAssignment, name})
		if s := w.services[name]; s != nil && s.wanted > 0 && s.seen != w.docs {
			s.come, s.print = true, 0
			w.settleService(s, nil, true)
			t.services = append(t.services, s)
		}
		return
	}
	if r := w.of(t.doc.Kind)[name]; r != nil && r.seen != w.docs {
		delete(w.awaited, question{r.kind, name})
		t.unsay(r)
	}
}

func (t *taking) unsay(r *resource) {
	if !r.said {
		return
	}
	r.said, r.print = false, 0
	t.world.setNext(r, nil)
	t.resources = append(t.resources, r)
}

// complete takes away what a complete response does not name.
func (t *taking) complete() {
	for _, r := range t.world.of(t.doc.Kind) {
		if r.seen != t.world.docs {
			t.unsay(r)
		}
	}
}

// rejectAll is for a response that as a whole cannot come into force: by name all that it
// said something new of, or it would be taken for what is in force. What it says is gone is
// no part of that.
func (t *taking) rejectAll(why error) {
	named := map[string]bool{}
	for _, b := range t.rejected {
		named[b.Name] = true
	}
	refuse := func(name string) {
		if named[name] {
			return
		}
		t.rejected = append(t.rejected, xds.Rejection{Kind: t.doc.Kind, Name: name, Err: fmt.Errorf("%s %s: %w", t.doc.Kind, xds.Clip(name), why)})
	}
	for _, r := range t.resources {
		if r.said {
			refuse(r.name)
		}
	}
	for _, s := range t.services {
		if !s.gone {
			refuse(s.name)
		}
	}
	if len(t.resources)+len(t.services) == 0 { // what waited before is the reason
		t.rejected = append(t.rejected, xds.Rejection{Kind: t.doc.Kind, Err: fmt.Errorf("with this %s: %w", t.doc.Kind, why)})
	}
}

// undo forgets what the response said; what is in the store stays.
func (t *taking) undo() {
	for _, r := range t.resources {
		r.print, r.said = 0, r.held != nil
		t.world.setNext(r, nil)
	}
	for _, s := range t.services {
		s.print = 0
		t.world.settleService(s, nil, false)
	}
	t.resources, t.services = nil, nil
}
