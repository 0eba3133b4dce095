// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/netip"

	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/proto/admin"
	clusterpb "github.com/kmesh-net/kmesh-node/proto/cluster"
	"github.com/kmesh-net/kmesh-node/proto/core"
	endpointpb "github.com/kmesh-net/kmesh-node/proto/endpoint"
	filterpb "github.com/kmesh-net/kmesh-node/proto/filter"
	listenerpb "github.com/kmesh-net/kmesh-node/proto/listener"
	routepb "github.com/kmesh-net/kmesh-node/proto/route"
)

// The project's own messages, as a program that writes the store makes them.

func dumpOf(resources []proto.Message) *admin.ConfigDump {
	all := &admin.ConfigResources{}
	for _, r := range resources {
		switch m := r.(type) {
		case *clusterpb.Cluster:
			all.ClusterConfigs = append(all.ClusterConfigs, m)
		case *listenerpb.Listener:
			all.ListenerConfigs = append(all.ListenerConfigs, m)
		case *routepb.RouteConfiguration:
			all.RouteConfigs = append(all.RouteConfigs, m)
		}
	}
	return &admin.ConfigDump{DynamicResources: all}
}

func ownAddress(s string) *core.SocketAddress {
	return config.SocketAddress(netip.MustParseAddrPort(s))
}

func ownCluster(name string, addrs ...string) *clusterpb.Cluster {
	l := &endpointpb.LocalityLbEndpoints{}
	for _, a := range addrs {
		l.LbEndpoints = append(l.LbEndpoints, &endpointpb.Endpoint{Address: ownAddress(a)})
	}
	return &clusterpb.Cluster{Name: name, LoadAssignment: &endpointpb.ClusterLoadAssignment{
		ClusterName: name, Endpoints: []*endpointpb.LocalityLbEndpoints{l}}}
}

func deletedCluster(name string) *clusterpb.Cluster {
	return &clusterpb.Cluster{Name: name, ApiStatus: core.ApiStatus_DELETE}
}

func ownListener(addr string, f *listenerpb.Filter) *listenerpb.Listener {
	return &listenerpb.Listener{Name: addr, Address: ownAddress(addr),
		FilterChains: []*listenerpb.FilterChain{{Filters: []*listenerpb.Filter{f}}}}
}

func deletedListener(addr string) *listenerpb.Listener {
	return &listenerpb.Listener{Name: addr, Address: ownAddress(addr), ApiStatus: core.ApiStatus_DELETE}
}

func ownProxy(cluster string) *listenerpb.Filter {
	return &listenerpb.Filter{ConfigType: &listenerpb.Filter_TcpProxy{TcpProxy: &filterpb.TcpProxy{
		ClusterSpecifier: &filterpb.TcpProxy_Cluster{Cluster: cluster}}}}
}

func ownRDS(name string) *listenerpb.Filter {
	return &listenerpb.Filter{ConfigType: &listenerpb.Filter_HttpConnectionManager{
		HttpConnectionManager: &filterpb.HttpConnectionManager{
			RouteSpecifier: &filterpb.HttpConnectionManager_RouteConfigName{RouteConfigName: name}}}}
}

func ownRoute(name, cluster string) *routepb.RouteConfiguration {
	return &routepb.RouteConfiguration{Name: name, VirtualHosts: []*routepb.VirtualHost{{
		Name: "any", Domains: []string{"*"}, Routes: []*routepb.Route{{
			Match: &routepb.RouteMatch{Prefix: "/"},
			Route: &routepb.RouteAction{ClusterSpecifier: &routepb.RouteAction_Cluster{Cluster: cluster}}}}}}}
}
