// SPDX-License-Identifier: Apache-2.0

package livexds

import (
	"maps"
	"slices"

	"github.com/kmesh-net/kmesh-node/internal/xds"
)

// question is a resource that is asked for by name.
type question struct {
	kind xds.Kind
	name string
}

// ask counts r to the service that it asks for.
func (w *world) ask(r *resource) {
	name := ""
	switch {
	case r.kind != xds.KindCluster || !r.said:
	case r.next != nil:
		name = r.next.Service()
	case r.held != nil:
		name = r.held.service
	}
	if name == r.service {
		return
	}
	old := r.service
	r.service = name
	if name != "" {
		s := w.serviceOf(name)
		if s.wanted++; s.wanted == 1 {
			delete(w.asked, xds.KindAssignment)
			w.await(xds.KindAssignment, name, s.come)
		}
	}
	if old != "" {
		if s := w.services[old]; s != nil {
			if s.wanted--; s.wanted == 0 {
				w.lapsed[question{xds.KindAssignment, old}] = true
			}
		}
	}
}

// lapse forgets what is asked for no more: an answer to the same question will be another
// one. Within one response a question may end and begin again, which nobody hears of.
func (w *world) lapse() {
	lapsed := w.lapsed
	w.lapsed = map[question]bool{}
	for q := range lapsed {
		if q.kind == xds.KindRoute {
			r := w.routes[q.name]
			if r != nil && r.users+r.hopes > 0 {
				continue
			}
			delete(w.awaited, q)
			w.unheard[q] = true
			if r != nil {
				r.come, r.print = false, 0
				w.settle(r)
			}
			continue
		}
		s := w.services[q.name]
		if s != nil && s.wanted > 0 {
			continue
		}
		delete(w.awaited, q)
		w.unheard[q] = true
		delete(w.asked, xds.KindAssignment)
		if s != nil {
			s.come, s.print = false, 0
			w.settleService(s, nil, false)
		}
	}
}

// await writes down that something was asked for.
func (w *world) await(k xds.Kind, name string, come bool) {
	if !come {
		w.awaited[question{k, name}] = w.now()
		w.again = w.again || w.unheard[question{k, name}]
	}
}

// hear writes down that the client looks at the names to ask for.
func (w *world) hear(k xds.Kind) {
	maps.DeleteFunc(w.unheard, func(q question, _ bool) bool { return q.kind == k })
}

// questions are the names to ask for, sorted.
func (w *world) questions(k xds.Kind) []string {
	if l := w.asked[k]; l != nil {
		return l
	}
	l := []string{}
	switch k {
	case xds.KindAssignment:
		for name, s := range w.services {
			if s.wanted > 0 {
				l = append(l, name)
			}
		}
	case xds.KindRoute:
		for name, r := range w.routes {
			if r.users+r.hopes > 0 {
				l = append(l, name)
			}
		}
	}
	slices.Sort(l)
	w.asked[k] = l
	return l
}
