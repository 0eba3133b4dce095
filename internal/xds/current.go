// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/proto/cluster"
	"github.com/kmesh-net/kmesh-node/proto/listener"
	"github.com/kmesh-net/kmesh-node/proto/route"
)

// State is what the store holds now. The messages that List returns are not changed.
type State interface {
	List(k config.Kind) ([]proto.Message, error)
}

// Index finds single resources of what the store holds now. Keys are those of
// config.KeyOf; messages are not changed.
type Index interface {
	// Get returns the resource at key, nil where there is none.
	Get(k config.Kind, key string) (proto.Message, error)
	// Takers are the clusters whose endpoints come under the name of that service.
	Takers(service string) ([]string, error)
	// Addresses are the keys of all listeners of that name.
	Addresses(name string) ([]string, error)
}

// current is the Index of a State, of which it reads each kind once, when the batch is
// about it. Of a nil State there is nothing.
type current struct {
	state  State
	kinds  map[config.Kind]map[string]proto.Message
	takers map[string][]string
	named  map[string][]string // addresses of listeners
}

func (c *current) load(k config.Kind) (map[string]proto.Message, error) {
	if all := c.kinds[k]; all != nil || c.state == nil {
		return all, nil
	}
	list, err := c.state.List(k)
	if err != nil {
		return nil, fmt.Errorf("list each %s of the store: %w", k, err)
	}
	all := make(map[string]proto.Message, len(list))
	for _, m := range list {
		key := config.KeyOf(m)
		all[key] = m
		switch m := m.(type) {
		case *listener.Listener:
			c.named[m.GetName()] = append(c.named[m.GetName()], key)
		case *cluster.Cluster:
			if s := ServiceName(m); s != "" {
				c.takers[s] = append(c.takers[s], key)
			}
		}
	}
	c.kinds[k] = all
	return all, nil
}

func newCurrent(s State) *current {
	return &current{state: s, kinds: map[config.Kind]map[string]proto.Message{},
		takers: map[string][]string{}, named: map[string][]string{}}
}

func (c *current) Get(k config.Kind, key string) (proto.Message, error) {
	all, err := c.load(k)
	return all[key], err
}

// keys are those of all resources of a kind.
func (c *current) keys(k config.Kind) ([]string, error) {
	all, err := c.load(k)
	return slices.Sorted(maps.Keys(all)), err
}

func (c *current) Takers(service string) ([]string, error) {
	_, err := c.load(config.Cluster)
	return c.takers[service], err
}

func (c *current) Addresses(name string) ([]string, error) {
	_, err := c.load(config.Listener)
	return c.named[name], err
}

// The three kinds of an Index, nil where there is no such resource.

func clusterOf(x Index, name string) (*cluster.Cluster, error) {
	m, err := x.Get(config.Cluster, name)
	c, _ := m.(*cluster.Cluster)
	return c, err
}

func routeOf(x Index, name string) (*route.RouteConfiguration, error) {
	m, err := x.Get(config.Route, name)
	r, _ := m.(*route.RouteConfiguration)
	return r, err
}

func listenerOf(x Index, key string) (*listener.Listener, error) {
	m, err := x.Get(config.Listener, key)
	l, _ := m.(*listener.Listener)
	return l, err
}
