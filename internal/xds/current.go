// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/proto/cluster"
	"github.com/kmesh-net/kmesh-node/proto/listener"
	"github.com/kmesh-net/kmesh-node/proto/route"
)

// current reads what the store holds once for each kind that the batch is about.
type current struct {
	state     State
	clusters  map[string]*cluster.Cluster
	routes    map[string]*route.RouteConfiguration
	listeners map[string]*listener.Listener   // by address
	named     map[string][]*listener.Listener // by name
}

func (c *current) list(k config.Kind) ([]proto.Message, error) {
	if c.state == nil {
		return nil, nil
	}
	list, err := c.state.List(k)
	if err != nil {
		return nil, fmt.Errorf("list each %s of the store: %w", k, err)
	}
	return list, nil
}

func (c *current) loadClusters() error {
	if c.clusters != nil {
		return nil
	}
	list, err := c.list(config.Cluster)
	if err != nil {
		return err
	}
	c.clusters = make(map[string]*cluster.Cluster, len(list))
	for _, m := range list {
		if m, ok := m.(*cluster.Cluster); ok {
			c.clusters[m.GetName()] = m
		}
	}
	return nil
}

func (c *current) loadRoutes() error {
	if c.routes != nil {
		return nil
	}
	list, err := c.list(config.Route)
	if err != nil {
		return err
	}
	c.routes = make(map[string]*route.RouteConfiguration, len(list))
	for _, m := range list {
		if m, ok := m.(*route.RouteConfiguration); ok {
			c.routes[m.GetName()] = m
		}
	}
	return nil
}

func (c *current) loadListeners() error {
	if c.listeners != nil {
		return nil
	}
	list, err := c.list(config.Listener)
	if err != nil {
		return err
	}
	c.listeners = make(map[string]*listener.Listener, len(list))
	c.named = make(map[string][]*listener.Listener, len(list))
	for _, m := range list {
		if m, ok := m.(*listener.Listener); ok {
			c.listeners[config.KeyOf(m)] = m
			c.named[m.GetName()] = append(c.named[m.GetName()], m)
		}
	}
	return nil
}
