// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/proto/cluster"
	"github.com/kmesh-net/kmesh-node/proto/filter"
	"github.com/kmesh-net/kmesh-node/proto/listener"
	"github.com/kmesh-net/kmesh-node/proto/route"
)

// heading is that of a table of resources of a kind.
func heading(k config.Kind) []string {
	switch k {
	case config.Listener:
		return []string{"ADDRESS", "NAME", "CHAINS", "TO", "NOTES"}
	case config.Cluster:
		return []string{"NAME", "POLICY", "TYPE", "ENDPOINTS", "NOTES"}
	}
	return []string{"NAME", "VIRTUAL HOSTS", "ROUTES", "NOTES"}
}

// summary is a resource in one row.
func summary(m proto.Message) []string {
	var cells []any
	switch m := m.(type) {
	case *listener.Listener:
		cells = []any{config.KeyOf(m), m.Name, len(m.FilterChains), listenerTo(m), len(m.Notes)}
	case *cluster.Cluster:
		n := 0
		for _, l := range m.GetLoadAssignment().GetEndpoints() {
			n += len(l.LbEndpoints)
		}
		kind := m.DiscoveryType.String()
		if m.Passthrough {
			kind += ", passthrough"
		}
		cells = []any{m.Name, m.LbPolicy, kind, n, len(m.Notes)}
	case *route.RouteConfiguration:
		n := 0
		for _, v := range m.VirtualHosts {
			n += len(v.Routes)
		}
		cells = []any{m.Name, len(m.VirtualHosts), n, len(m.Notes)}
	}
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = fmt.Sprint(c)
	}
	return row
}

// listenerTo says where the first chain, or the default one, leads.
func listenerTo(l *listener.Listener) string {
	if l.Passthrough {
		return "passthrough"
	}
	chains := l.FilterChains
	if l.DefaultFilterChain != nil {
		chains = append(chains[:len(chains):len(chains)], l.DefaultFilterChain)
	}
	var to []string
	for _, c := range chains {
		for _, f := range c.Filters {
			if s := filterTo(f); s != "" {
				to = append(to, s)
				break
			}
		}
	}
	switch len(to) {
	case 0:
		return "-"
	case 1:
		return to[0]
	}
	return fmt.Sprintf("%s and %d more", to[0], len(to)-1)
}

func filterTo(f *listener.Filter) string {
	switch c := f.ConfigType.(type) {
	case *listener.Filter_TcpProxy:
		switch t := c.TcpProxy.ClusterSpecifier.(type) {
		case *filter.TcpProxy_Cluster:
			return "cluster " + t.Cluster
		case *filter.TcpProxy_WeightedClusters:
			l := t.WeightedClusters.Clusters
			if len(l) == 0 {
				return "clusters, none"
			}
			return fmt.Sprintf("%d clusters, the first %s", len(l), l[0].Name)
		}
	case *listener.Filter_HttpConnectionManager:
		switch t := c.HttpConnectionManager.RouteSpecifier.(type) {
		case *filter.HttpConnectionManager_RouteConfigName:
			return "routes " + t.RouteConfigName
		case *filter.HttpConnectionManager_RouteConfig:
			return "inline routes"
		}
	}
	return ""
}
