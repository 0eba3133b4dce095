// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"maps"
	"slices"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/proto/cluster"
	"github.com/kmesh-net/kmesh-node/proto/endpoint"
	"github.com/kmesh-net/kmesh-node/proto/listener"
	"github.com/kmesh-net/kmesh-node/proto/route"
)

// Arrival is one resource of a document, converted or invalid.
type Arrival struct {
	kind Kind
	name string
	err  error
	path string // of the document

	cluster    *clusterEntry
	assignment *assignmentEntry
	route      *routeEntry
	listener   *newListener
	own        *listener.Listener
}

// add takes a document's resources into the batch.
func (b *batch) add(d *Document) error {
	arrivals := make([]Arrival, len(d.Resources))
	Each(len(d.Resources), func(i int) { arrivals[i] = convert(d.Resources[i], b.seq) })
	if d.Complete {
		if err := b.complete(d.Kind, arrivals); err != nil {
			return err
		}
	}
	for i := range arrivals {
		arrivals[i].path = d.Path
	}
	return b.take(arrivals)
}

// take takes what can be taken of the arrivals of one document into the batch.
func (b *batch) take(arrivals []Arrival) error {
	type name struct {
		kind Kind
		name string
	}
	seen := make(map[name]bool, len(arrivals))
	for i := range arrivals {
		a := &arrivals[i]
		// Own listeners of one name may have several addresses.
		if n := (name{a.kind, a.name}); a.err == nil && a.own == nil {
			if seen[n] {
				a.err = wrong("stands in one document twice")
			}
			seen[n] = true
		}
		if a.err == nil {
			a.err = b.accept(a)
		}
		if a.err != nil {
			if fatal(a.err) {
				return a.err
			}
			b.invalid(a)
		}
	}
	return nil
}

// fatal tells errors of the store from those of the configuration.
func fatal(err error) bool {
	_, ok := err.(*invalid)
	return !ok
}

// convert is free of side effects, so that resources can be converted side by side.
func convert(m proto.Message, seq int) Arrival {
	switch m := m.(type) {
	case *clusterv3.Cluster:
		a := Arrival{kind: KindCluster, name: m.GetName()}
		c, err := toCluster(m)
		if a.err = err; err != nil {
			return a
		}
		a.cluster = &clusterEntry{msg: c.msg, sockets: c.sockets}
		if c.inline != nil {
			a.cluster.assigned(c.inline, seq)
		}
		a.err = validate(a.cluster.msg)
		return a
	case *endpointv3.ClusterLoadAssignment:
		a := Arrival{kind: KindAssignment, name: m.GetClusterName()}
		n, err := toAssignment(m)
		if a.err = err; err != nil {
			return a
		}
		a.assignment = &assignmentEntry{newAssignment: *n, seq: seq}
		a.err = validate(n.msg)
		return a
	case *listenerv3.Listener:
		a := Arrival{kind: KindListener, name: m.GetName()}
		a.listener, a.err = toListener(m)
		if a.err == nil {
			a.err = in("name", checkName(m.GetName()))
		}
		for _, l := range a.listener.messages() {
			if a.err == nil {
				a.err = validate(l)
			}
		}
		return a
	case *routev3.RouteConfiguration:
		a := Arrival{kind: KindRoute, name: m.GetName()}
		r, err := toRoute(m)
		if a.err = err; err != nil {
			return a
		}
		a.route = &routeEntry{msg: r}
		a.err = validate(r)
		return a
	}
	return convertOwn(m, seq)
}

func convertOwn(m proto.Message, seq int) Arrival {
	a := Arrival{name: config.NameOf(m), err: validate(m)}
	switch m := m.(type) {
	case *cluster.Cluster:
		a.kind = KindCluster
		a.cluster = &clusterEntry{msg: shallow(m)}
		if m.GetLoadAssignment() != nil {
			a.cluster.seq = seq
		}
	case *endpoint.ClusterLoadAssignment:
		a.kind, a.name = KindAssignment, m.GetClusterName()
		n := newAssignment{msg: m}
		n.noteUnresolved()
		a.assignment = &assignmentEntry{newAssignment: n, seq: seq, own: true}
	case *listener.Listener:
		a.kind, a.own = KindListener, m
	case *route.RouteConfiguration:
		a.kind, a.route = KindRoute, &routeEntry{msg: m}
	}
	return a
}

// accept takes one valid resource into the batch.
func (b *batch) accept(a *Arrival) error {
	switch {
	case a.cluster != nil:
		b.clusters[a.name] = a.cluster
	case a.assignment != nil:
		b.assignments[a.name] = a.assignment
	case a.route != nil:
		b.routes[a.name] = a.route
	case a.own != nil:
		return b.acceptOwn(a.own)
	case a.listener != nil:
		return b.acceptListener(a.name, a.listener)
	}
	return nil
}

// complete marks what a complete response does not name as gone. What it names and
// is invalid stays as it is.
func (b *batch) complete(k Kind, arrivals []Arrival) error {
	switch k {
	case KindCluster:
		named := make(map[string]bool, len(arrivals))
		for i := range arrivals {
			named[arrivals[i].name] = true
		}
		held, err := b.all.keys(config.Cluster)
		if err != nil {
			return err
		}
		for name := range b.clusters {
			if !named[name] {
				b.clusters[name] = &clusterEntry{}
			}
		}
		for _, name := range held {
			if !named[name] {
				b.clusters[name] = &clusterEntry{}
			}
		}
	case KindListener:
		stay := map[string]bool{}
		for i := range arrivals {
			if arrivals[i].err != nil {
				stay[arrivals[i].name] = true
			}
		}
		return b.completeListeners(stay)
	}
	return nil
}

// remove marks the resource of that name as gone.
func (b *batch) remove(k Kind, name string) error {
	switch k {
	case KindCluster:
		b.clusters[name] = &clusterEntry{}
	case KindAssignment:
		b.assignments[name] = &assignmentEntry{seq: b.seq}
	case KindRoute:
		b.routes[name] = &routeEntry{}
	case KindListener:
		return b.removeListener(name)
	}
	return nil
}

// routeEntry is what becomes of a RouteConfiguration: gone without a message.
type routeEntry struct {
	msg *route.RouteConfiguration
}

func (b *batch) finishRoutes() error {
	for _, name := range slices.Sorted(maps.Keys(b.routes)) {
		e := b.routes[name]
		old, err := routeOf(b.cur, name)
		switch {
		case err != nil:
			return err
		case e.msg != nil:
			b.put(config.Route, e.msg, orNil(old), e.msg.GetNotes())
		case old != nil:
			b.drop(config.Route, &route.RouteConfiguration{Name: name})
		}
	}
	return nil
}
