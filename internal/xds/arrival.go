// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"slices"

	"github.com/kmesh-net/kmesh-node/internal/config"
)

// Convert decodes and converts raw resource i, for [Combine]. What is wrong with it is
// its Invalid.
func (d *Document) Convert(i int) *Arrival {
	m, err := d.Message(i)
	var a Arrival
	if err == nil {
		a = convert(m, 1)
		err = d.Misnamed(i, a.name)
	}
	if err != nil {
		a = Arrival{kind: d.Kind, name: d.NameOf(i), err: err}
	}
	a.path = d.Path
	return &a
}

// Kind is what a is.
func (a *Arrival) Kind() Kind { return a.kind }

// Name is what a is called.
func (a *Arrival) Name() string { return a.name }

// Invalid returns what is wrong with a, nil where it is valid.
func (a *Arrival) Invalid() *Rejection {
	if a.err == nil {
		return nil
	}
	r := a.Refuse(a.err)
	return &r
}

// Refuse makes a rejection of a.
func (a *Arrival) Refuse(err error) Rejection {
	return (&Document{Path: a.path}).Refuse(a.kind, a.name, err)
}

// Service is the name under which the endpoints of a Cluster come, "" where they come
// with it or not at all.
func (a *Arrival) Service() string {
	if a.cluster == nil {
		return ""
	}
	return ServiceName(a.cluster.msg)
}

// Assigned says whether a Cluster carries endpoints.
func (a *Arrival) Assigned() bool { return a.cluster != nil && a.cluster.msg.LoadAssignment != nil }

// Addresses are the keys of a Listener, sorted.
func (a *Arrival) Addresses() []string {
	var keys []string
	for _, m := range a.listener.messages() {
		keys = append(keys, config.KeyOf(m))
	}
	if a.own != nil {
		keys = []string{config.KeyOf(a.own)}
	}
	slices.Sort(keys)
	return keys
}

// References are what a Listener or RouteConfiguration leads connections to.
func (a *Arrival) References() References {
	switch {
	case a.route != nil:
		return ReferencesOf(a.route.msg)
	case a.own != nil:
		return ReferencesOf(a.own)
	case len(a.listener.messages()) > 0:
		// All addresses of a listener lead to the same.
		return ReferencesOf(a.listener.msgs[0])
	}
	return References{}
}

// Combine makes one batch: what is named in removed goes, what is put comes. A name in
// both is put. Those of put that cannot be with the others are the Result's Rejected.
// It may be called again with the same arrivals.
func Combine(removed []Name, put []*Arrival, cur Index) (*Result, error) {
	b := newBatch(cur, Options{SkipInvalid: true})
	b.seq = 1
	for _, n := range removed {
		if err := b.remove(n.Kind, n.Name); err != nil {
			return nil, err
		}
	}
	arrivals := make([]Arrival, len(put))
	for i, a := range put {
		arrivals[i] = a.forBatch()
	}
	if err := b.take(arrivals); err != nil {
		return nil, err
	}
	if err := b.finish(); err != nil {
		return nil, err
	}
	return b.res, nil
}

// forBatch returns a with what a batch changes being its own.
func (a *Arrival) forBatch() Arrival {
	out := *a
	if a.cluster != nil {
		e := *a.cluster
		e.msg = shallow(e.msg)
		e.msg.Notes = slices.Clip(e.msg.Notes)
		out.cluster = &e
	}
	return out
}
