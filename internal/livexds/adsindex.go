// SPDX-License-Identifier: Apache-2.0

package livexds

import (
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/internal/store"
	"github.com/kmesh-net/kmesh-node/internal/xds"
	"github.com/kmesh-net/kmesh-node/internal/xdsclient"
	"github.com/kmesh-net/kmesh-node/proto/cluster"
	"github.com/kmesh-net/kmesh-node/proto/listener"
	"github.com/kmesh-net/kmesh-node/proto/route"
)

// index finds what the store holds by what is known of it, so that only what changes is
// read.
type index struct {
	world *world
	store storage
}

// storage is what Ads needs of the store.
type storage interface {
	Version() (store.Version, error)
	Get(k config.Kind, key proto.Message) (proto.Message, error)
	Walk(k config.Kind, do func(proto.Message) error) error
	PublishAt(ops []config.Op, at store.Version) (store.Version, error)
}

func (x index) Get(k config.Kind, key string) (proto.Message, error) {
	var is proto.Message
	switch k {
	case config.Listener:
		if x.world.owners[key] == nil {
			return nil, nil
		}
		a, err := config.ParseAddress(key)
		if err != nil {
			return nil, fmt.Errorf("read address of Listener: %w", err)
		}
		is = &listener.Listener{Address: a}
	case config.Cluster, config.Route:
		if r := x.world.of(xds.Kind(k.String()))[key]; r == nil || r.held == nil {
			return nil, nil
		}
		is = &cluster.Cluster{Name: key}
		if k == config.Route {
			is = &route.RouteConfiguration{Name: key}
		}
	}
	m, err := x.store.Get(k, is)
	if errors.Is(err, config.ErrNotFound) {
		return nil, nil // another writer, of whom PublishAt will tell
	}
	return m, err
}

func (x index) Takers(name string) ([]string, error) {
	if s := x.world.services[name]; s != nil {
		return s.takers, nil
	}
	return nil, nil
}

func (x index) Addresses(name string) ([]string, error) {
	if r := x.world.listeners[name]; r != nil && r.held != nil {
		return r.held.addresses, nil
	}
	return nil, nil
}

// follow makes what is known of the store what it holds. Another writer's publication
// stays until the control plane speaks of the same again. xdsclient.ErrResync: what was
// published is not there any more.
func (a *Ads) follow(s storage) error {
	v, err := s.Version()
	if err != nil || v == a.version {
		return err
	}
	defer a.note()
	lost := "they were made anew"
	if v.Generation >= a.version.Generation {
		if lost, err = a.world.load(s); err != nil {
			return err // the next one reads all again
		}
	}
	if lost != "" {
		a.reset()
		return fmt.Errorf("follow the maps, which lost what was published (%s): %w", lost, xdsclient.ErrResync)
	}
	a.version = v
	return nil
}

// load reads what the store holds. What is not known of is taken for said: a process
// before this one was told so, and a control plane that has it no more will say so. lost
// names something that was in the store and is not.
func (w *world) load(s storage) (lost string, err error) {
	had := map[*resource]bool{}
	at := map[*resource][]string{}
	for _, k := range []xds.Kind{xds.KindCluster, xds.KindListener, xds.KindRoute} {
		for _, r := range w.of(k) {
			had[r] = r.held != nil
			if r.held != nil && len(r.held.addresses) > 0 {
				at[r] = r.held.addresses
			}
			if r.next == nil {
				r.print = 0
			}
		}
	}
	for _, sv := range w.services {
		if sv.next == nil {
			sv.print = 0
		}
	}
	found := map[*resource]bool{}
	rec := newRecord(w)
	for _, k := range config.Kinds() {
		err := s.Walk(k, func(m proto.Message) error {
			r := w.get(xds.Kind(k.String()), config.NameOf(m))
			if found[r] = true; !had[r] && r.next == nil {
				r.said = true
			}
			rec.add(m)
			return nil
		})
		if err != nil {
			return "", fmt.Errorf("read each %s of the store: %w", k, err)
		}
	}
	rec.end()
	for r, keys := range at {
		if w.lostAddress(r, keys) {
			lost = shown(r)
		}
	}
	for r, was := range had {
		if !was || found[r] {
			continue
		}
		if w.release(r); r.said {
			lost = shown(r)
		}
	}
	w.unnamed = true
	return lost, nil
}

// lostAddress says whether somebody deleted an address of r, which had those. Where r has
// come to another one it was changed, not deleted.
func (w *world) lostAddress(r *resource, had []string) (lost bool) {
	if r.held == nil {
		return false
	}
	for _, key := range had {
		switch w.owners[key] {
		case r:
		case nil:
			lost = r.said
		default:
			w.oust(key, r)
		}
	}
	return lost && !slices.ContainsFunc(r.held.addresses, func(key string) bool { return !slices.Contains(had, key) })
}

// record writes down what the store has got.
type record struct {
	world     *world
	listeners map[string]*held // each as a whole: they have several addresses
}

func newRecord(w *world) *record { return &record{w, map[string]*held{}} }

func (r *record) add(m proto.Message) {
	switch m := m.(type) {
	case *cluster.Cluster:
		c := r.world.get(xds.KindCluster, m.GetName())
		r.world.setHeld(c, &held{service: xds.ServiceName(m), assigned: m.GetLoadAssignment() != nil})
	case *route.RouteConfiguration:
		r.world.setHeld(r.world.get(xds.KindRoute, m.GetName()), &held{names: xds.ReferencesOf(m)})
	case *listener.Listener:
		h := r.listeners[m.GetName()]
		if h == nil {
			h = &held{}
			r.listeners[m.GetName()] = h
		}
		h.addresses = append(h.addresses, config.KeyOf(m))
		// Own ones may lead elsewhere from each address.
		h.names = union(h.names, xds.ReferencesOf(m))
	}
}

func (r *record) end() {
	for name, h := range r.listeners {
		r.world.setAddresses(r.world.get(xds.KindListener, name), h)
	}
}
