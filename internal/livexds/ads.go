// SPDX-License-Identifier: Apache-2.0

package livexds

import (
	"context"
	"slices"
	"sync"

	"github.com/sirupsen/logrus"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/internal/keeper"
	"github.com/kmesh-net/kmesh-node/internal/store"
	"github.com/kmesh-net/kmesh-node/internal/xds"
	"github.com/kmesh-net/kmesh-node/internal/xdsclient"
	"github.com/kmesh-net/kmesh-node/loader"
	"github.com/kmesh-net/kmesh-node/proto/cluster"
)

// Ads brings what a control plane says into the maps of ads mode. Its methods may be
// called from any goroutine.
type Ads struct {
	keeper *keeper.Keeper
	log    *logrus.Logger

	mu   sync.Mutex
	come map[xds.Kind]bool // a response was taken
}

// NewAds returns a sink that publishes through k.
func NewAds(k *keeper.Keeper, log *logrus.Logger) *Ads {
	return &Ads{keeper: k, log: log, come: map[xds.Kind]bool{}}
}

// Types are those of ads mode, in the order in which each finds what it names.
func (a *Ads) Types() []string {
	return []string{xdsclient.ClusterType, xdsclient.EndpointType, xdsclient.ListenerType, xdsclient.RouteType}
}

// Update takes one response.
func (a *Ads) Update(_ context.Context, d *xds.Document) (rejected []xdsclient.Rejected, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	bad := d.Decode()
	err = a.keeper.Ads(func(s *store.Store, _ *loader.Handles) error {
		r, err := xds.Translate([]xds.Document{*d}, s, xds.Options{SkipInvalid: true})
		if err != nil {
			return err
		}
		bad = slices.Concat(bad, r.Rejected)
		return s.Publish(r.Ops)
	})
	for _, b := range bad {
		rejected = append(rejected, xdsclient.Rejected{Name: b.Name, Err: b.Err})
	}
	if err == nil {
		a.come[d.Kind] = true
	}
	return rejected, err
}

// Names are the services of EDS clusters, and the routes that listeners name.
func (a *Ads) Names(typeURL string) (names []string, byName bool) {
	var kind config.Kind
	switch typeURL {
	case xdsclient.EndpointType:
		kind = config.Cluster
	case xdsclient.RouteType:
		kind = config.Listener
	default:
		return nil, false
	}
	err := a.keeper.Ads(func(s *store.Store, _ *loader.Handles) error {
		all, err := s.List(kind)
		for _, m := range all {
			if c, ok := m.(*cluster.Cluster); ok && xds.ServiceName(c) != "" {
				names = append(names, xds.ServiceName(c))
			}
			names = append(names, xds.ReferencesOf(m).Routes...)
		}
		return err
	})
	if err != nil {
		a.log.WithError(err).Error("what to ask for is not known")
	}
	slices.Sort(names)
	return slices.Compact(names), true
}

// Held are the names that the maps hold.
func (a *Ads) Held(typeURL string) (names []string, err error) {
	names, byName := a.Names(typeURL)
	if byName && typeURL == xdsclient.EndpointType {
		return names, nil
	}
	kinds := map[string]config.Kind{
		xdsclient.ClusterType: config.Cluster, xdsclient.ListenerType: config.Listener, xdsclient.RouteType: config.Route,
	}
	names = nil
	err = a.keeper.Ads(func(s *store.Store, _ *loader.Handles) error {
		all, err := s.List(kinds[typeURL])
		for _, m := range all {
			names = append(names, config.NameOf(m))
		}
		return err
	})
	slices.Sort(names)
	return slices.Compact(names), err
}

// Synced says whether everything that was asked for is in force.
func (a *Ads) Synced() (ok bool, missing string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, k := range []xds.Kind{xds.KindCluster, xds.KindListener} {
		if !a.come[k] {
			return false, string(k)
		}
	}
	return true, ""
}
