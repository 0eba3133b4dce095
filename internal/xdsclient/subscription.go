// SPDX-License-Identifier: Apache-2.0

package xdsclient

import (
	"fmt"
	"slices"
)

// subscription is what is asked for of one type. What it holds outlives a stream.
type subscription struct {
	url string
	// inForce are the resources that are in force, and their versions.
	inForce versions

	// Of this stream.
	held     []string // delta: names that the maps held, until the first request
	begun    bool     // there was a first request
	names    []string // asked for, of a type that is subscribed to by name
	byName   bool
	nonce    string   // of the last response
	version  string   // sotw: of the last one that was taken whole
	complete bool     // delta: the next response is all there is
	refused  *string  // sotw: version of the last one, where it was not
	late     *request // sotw: an answer that waits
}

// prepare begins anew what is of one stream alone, and looks what the maps hold: others
// may have written meanwhile.
func (s *session) prepare(sub *subscription) error {
	sub.begun, sub.nonce, sub.version, sub.complete = false, "", "", false
	sub.names, sub.byName = nil, false
	sub.refused, sub.late = nil, nil
	if s.c.cfg.Variant == SotW {
		return nil
	}
	held, err := s.c.sink.Held(sub.url)
	if err != nil {
		return fmt.Errorf("read what is in force: %w", err)
	}
	now := newVersions(len(held))
	for _, name := range held {
		key, v := digest(name), shared("") // of one that came to a process before this
		if before, known := sub.inForce[key]; known {
			v = before
		}
		now[key] = v
	}
	sub.held, sub.inForce = held, now
	return nil
}

// follow asks for what the sink has come to want. It is a request of its own, for a
// control plane looks at nothing else in one that rejects something.
func (s *session) follow(sub *subscription) error {
	names, byName := s.c.sink.Names(sub.url)
	if sub.begun && (!byName || slices.Equal(names, sub.names)) {
		return nil
	}
	if !sub.begun && byName && len(names) == 0 {
		return nil // a first request without names would ask for everything
	}
	before := sub.names
	sub.names, sub.byName = slices.Clone(names), byName
	req := &request{url: sub.url, names: sub.names}
	keepOnly(sub)
	if s.c.cfg.Variant == SotW {
		req.nonce, req.version = sub.nonce, sub.version
	} else {
		req.subscribe, req.unsubscribe = difference(sub.names, before), difference(before, sub.names)
		if !sub.begun {
			req.initial = s.initial(sub)
		}
	}
	sub.begun = true
	s.c.change(func(st *State) { st.Types[slices.Index(s.c.subs, sub)].Resources = len(sub.inForce) })
	return s.send(req)
}

// keepOnly forgets the versions of what is not asked for any more: should it be asked for
// again, it comes again.
func keepOnly(sub *subscription) {
	if !sub.byName {
		return
	}
	now := newVersions(len(sub.names))
	for _, name := range sub.names {
		if v, held := sub.inForce[digest(name)]; held {
			now[digest(name)] = v
		}
	}
	sub.inForce = now
	sub.held = slices.DeleteFunc(sub.held, func(name string) bool {
		_, asked := slices.BinarySearch(sub.names, name)
		return !asked
	})
}

// mostInitial bounds the versions in a first request, in bytes: servers of gRPC refuse a
// request of more than 4 MiB unless told otherwise.
const mostInitial = 3 << 20

// initial are the versions for a first request. Where they would not fit, none are
// sent, and what comes first is all there is.
func (s *session) initial(sub *subscription) map[string]string {
	held := sub.held
	sub.held = nil
	size := 0
	for _, name := range held {
		size += len(name) + len(sub.inForce.of(name)) + 8 // tags and lengths
	}
	if size <= mostInitial {
		initial := make(map[string]string, len(held))
		for _, name := range held {
			initial[name] = sub.inForce.of(name)
		}
		return initial
	}
	s.c.cfg.Log.Infof("xds: %d resources of %s are too many to be named to the control plane: all are asked for anew",
		len(held), shortType(sub.url))
	sub.complete = !sub.byName
	return nil
}

// difference lists what is in a and not in b, both sorted.
func difference(a, b []string) []string {
	var l []string
	for _, s := range a {
		if _, found := slices.BinarySearch(b, s); !found {
			l = append(l, s)
		}
	}
	return l
}
