// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/proto/filter"
	"github.com/kmesh-net/kmesh-node/proto/listener"
	"github.com/kmesh-net/kmesh-node/proto/route"
)

// References are the resources that another one names, each once and sorted.
type References struct {
	Clusters, Routes []string
}

// ReferencesOf returns what m, a Listener or RouteConfiguration of the store, leads
// connections to.
func ReferencesOf(m proto.Message) References {
	var r References
	switch m := m.(type) {
	case *listener.Listener:
		for _, c := range m.GetFilterChains() {
			r.chain(c)
		}
		r.chain(m.GetDefaultFilterChain())
	case *route.RouteConfiguration:
		r.routes(m)
	}
	for _, l := range []*[]string{&r.Clusters, &r.Routes} {
		slices.Sort(*l)
		*l = slices.Clip(slices.Compact(*l))
	}
	return r
}

func (r *References) chain(c *listener.FilterChain) {
	for _, f := range c.GetFilters() {
		switch t := f.GetConfigType().(type) {
		case *listener.Filter_TcpProxy:
			switch s := t.TcpProxy.GetClusterSpecifier().(type) {
			case *filter.TcpProxy_Cluster:
				r.Clusters = append(r.Clusters, s.Cluster)
			case *filter.TcpProxy_WeightedClusters:
				r.Clusters = appendNames(r.Clusters, s.WeightedClusters.GetClusters())
			}
		case *listener.Filter_HttpConnectionManager:
			switch s := t.HttpConnectionManager.GetRouteSpecifier().(type) {
			case *filter.HttpConnectionManager_RouteConfigName:
				r.Routes = append(r.Routes, s.RouteConfigName)
			case *filter.HttpConnectionManager_RouteConfig:
				r.routes(s.RouteConfig)
			}
		}
	}
}

func (r *References) routes(rc *route.RouteConfiguration) {
	for _, vh := range rc.GetVirtualHosts() {
		for _, each := range vh.GetRoutes() {
			switch s := each.GetRoute().GetClusterSpecifier().(type) {
			case *route.RouteAction_Cluster:
				r.Clusters = append(r.Clusters, s.Cluster)
			case *route.RouteAction_WeightedClusters:
				r.Clusters = appendNames(r.Clusters, s.WeightedClusters.GetClusters())
			}
		}
	}
}

func appendNames[W weighted](names []string, list []W) []string {
	for _, w := range list {
		names = append(names, w.GetName())
	}
	return names
}
