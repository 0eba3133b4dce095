// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"fmt"
	"slices"
	"strings"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"

	"github.com/kmesh-net/kmesh-node/proto/core"
	"github.com/kmesh-net/kmesh-node/proto/filter"
	"github.com/kmesh-net/kmesh-node/proto/listener"
)

// The filters that say where connections go.
const (
	tcpProxyType          = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
	connectionManagerType = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)

// Filters that change neither where connections go nor what passes. The rest is
// named in a note.
var (
	silentFilters = map[string]bool{
		"istio.metadata_exchange": true,
		"istio.stats":             true,
	}
	silentHTTPFilters = map[string]bool{
		"envoy.filters.http.compressor":          true,
		"envoy.filters.http.connect_grpc_bridge": true,
		"envoy.filters.http.cors":                true,
		"envoy.filters.http.decompressor":        true,
		"envoy.filters.http.fault":               true, // acts where a route says so
		"envoy.filters.http.grpc_http1_bridge":   true,
		"envoy.filters.http.grpc_stats":          true,
		"envoy.filters.http.grpc_web":            true,
		"envoy.filters.http.header_to_metadata":  true,
		"envoy.filters.http.health_check":        true,
		"envoy.filters.http.on_demand":           true,
		"envoy.filters.http.peer_metadata":       true,
		"envoy.filters.http.router":              true,
		"envoy.filters.http.set_filter_state":    true,
		"envoy.filters.http.upstream_codec":      true,
		"istio.alpn":                             true,
		"istio.metadata_exchange":                true,
		"istio.stats":                            true,
	}
)

// sniFilters take the cluster from the TLS server name, whatever tcp_proxy says.
var sniFilters = map[string]bool{
	"envoy.filters.network.sni_cluster":               true,
	"envoy.filters.network.sni_dynamic_forward_proxy": true,
}

// chains converts the filter chains of one listener and gathers notes about them.
type chains struct {
	notes   []string
	unknown map[*listener.FilterChain]bool // matched by what connect does not know
}

func (c *chains) note(format string, args ...any) {
	c.notes = append(c.notes, fmt.Sprintf(format, args...))
}

func (c *chains) convert(f *listenerv3.FilterChain, name string) (*listener.FilterChain, error) {
	m := &listener.FilterChain{Name: f.GetName()}
	needs, err := c.match(m, f.GetFilterChainMatch(), name)
	if err != nil {
		return nil, in("filter_chain_match", err)
	}
	before := len(c.notes)
	for i, each := range f.GetFilters() {
		out, err := c.filter(each, name)
		if err != nil {
			return nil, inItem("filters", i, err)
		}
		m.Filters = append(m.Filters, out)
	}
	if needs != "" {
		// It is not known whether a connection is this chain's: what matches
		// as far as it is known goes nowhere.
		c.notes = c.notes[:before]
		c.note("%s depends on %s: connections that it may match pass through", name, needs)
		nameOnly(m)
		if c.unknown == nil {
			c.unknown = map[*listener.FilterChain]bool{}
		}
		c.unknown[m] = true
		return m, nil
	}
	if sni := sniFilter(f); sni != "" {
		c.notes = c.notes[:before]
		c.note("%s: filter %s depends on the TLS server name%s", name, sni, passes)
		nameOnly(m)
	}
	if !c.said(before) && leadsNowhere(m) {
		c.note("%s leads to no cluster%s", name, passes)
	}
	return m, nil
}

// said says whether a note since the one at from is about connections that pass.
func (c *chains) said(from int) bool {
	return slices.ContainsFunc(c.notes[from:], func(n string) bool { return strings.HasSuffix(n, passes) })
}

// leadsNowhere says whether a chain that can be chosen has no target.
func leadsNowhere(m *listener.FilterChain) bool {
	match := m.GetFilterChainMatch()
	if neverKnown(match.GetTransportProtocol()) || len(match.GetServerNames()) > 0 {
		return false
	}
	return !slices.ContainsFunc(m.GetFilters(), func(f *listener.Filter) bool { return f.GetConfigType() != nil })
}

// neverKnown says whether a transport protocol is one that connect cannot tell; what
// is opened there counts as raw_buffer.
func neverKnown(protocol string) bool { return protocol != "" && protocol != "raw_buffer" }

// match converts f and returns what it asks for beyond what connect knows and the
// store's message can say.
func (c *chains) match(m *listener.FilterChain, f *listenerv3.FilterChainMatch, name string) (string, error) {
	if f == nil {
		return "", nil
	}
	out := &listener.FilterChainMatch{
		TransportProtocol:    f.GetTransportProtocol(),
		ApplicationProtocols: f.GetApplicationProtocols(),
		ServerNames:          f.GetServerNames(),
	}
	if p := f.GetDestinationPort(); p != nil {
		if err := checkPort(p.GetValue()); err != nil {
			return "", in("destination_port", err)
		}
		out.DestinationPort = p.GetValue()
	}
	for _, r := range f.GetPrefixRanges() {
		out.PrefixRanges = append(out.PrefixRanges, &core.CidrRange{
			AddressPrefix: r.GetAddressPrefix(), PrefixLen: r.GetPrefixLen().GetValue(),
		})
	}
	if proto.Size(out) > 0 {
		m.FilterChainMatch = out
	}
	switch {
	case neverKnown(out.TransportProtocol):
		c.note("%s asks for transport protocol %s, which is not known at connect: it is never chosen", name, Clip(out.TransportProtocol))
	case len(out.ServerNames) > 0:
		c.note("%s asks for a server name, which is not known at connect: it is never chosen", name)
	}
	return beyond(f), nil
}

func beyond(f *listenerv3.FilterChainMatch) string {
	var needs []string
	for _, n := range []struct {
		field string
		set   bool
	}{
		{"address_suffix", f.GetAddressSuffix() != "" || f.GetSuffixLen() != nil},
		{"direct_source_prefix_ranges", len(f.GetDirectSourcePrefixRanges()) > 0},
		{"source_type", f.GetSourceType() != listenerv3.FilterChainMatch_ANY},
		{"source_prefix_ranges", len(f.GetSourcePrefixRanges()) > 0},
		{"source_ports", len(f.GetSourcePorts()) > 0},
	} {
		if n.set {
			needs = append(needs, n.field)
		}
	}
	return strings.Join(needs, ", ")
}

// unknownFirst moves the chains that depend on what is unknown to the front and
// keeps all else in order.
func (c *chains) unknownFirst(list []*listener.FilterChain) []*listener.FilterChain {
	slices.SortStableFunc(list, func(a, b *listener.FilterChain) int {
		switch {
		case c.unknown[a] == c.unknown[b]:
			return 0
		case c.unknown[a]:
			return -1
		}
		return 1
	})
	return list
}

// nameOnly leaves only the names of a chain's filters, so that it has no target.
func nameOnly(m *listener.FilterChain) {
	for i, f := range m.GetFilters() {
		m.Filters[i] = &listener.Filter{Name: f.GetName()}
	}
}

func sniFilter(f *listenerv3.FilterChain) string {
	for _, each := range f.GetFilters() {
		if sniFilters[each.GetName()] {
			return each.GetName()
		}
	}
	return ""
}

func (c *chains) filter(f *listenerv3.Filter, chain string) (*listener.Filter, error) {
	m := &listener.Filter{Name: f.GetName()}
	switch typeName(f.GetTypedConfig().GetTypeUrl()) {
	case tcpProxyType:
		p := &tcpv3.TcpProxy{}
		if err := readExtension(f.GetTypedConfig(), p); err != nil {
			return nil, in("typed_config", err)
		}
		out, err := c.tcpProxy(p, chain)
		if out != nil {
			m.ConfigType = &listener.Filter_TcpProxy{TcpProxy: out}
		}
		return m, in("typed_config", err)
	case connectionManagerType:
		h := &hcmv3.HttpConnectionManager{}
		if err := readExtension(f.GetTypedConfig(), h); err != nil {
			return nil, in("typed_config", err)
		}
		out, err := c.connectionManager(h, chain)
		if out != nil {
			m.ConfigType = &listener.Filter_HttpConnectionManager{HttpConnectionManager: out}
		}
		return m, in("typed_config", err)
	}
	if !silentFilters[f.GetName()] && !sniFilters[f.GetName()] {
		c.note("%s: filter %s is not applied", chain, Clip(f.GetName()))
	}
	return m, nil
}

func readExtension(a *anypb.Any, m proto.Message) error {
	o := proto.UnmarshalOptions{DiscardUnknown: true}
	if err := o.Unmarshal(a.GetValue(), m); err != nil {
		return wrong("%s", tidy(err))
	}
	return nil
}

// tcpProxy converts p; nil without an error means that connections pass through.
func (c *chains) tcpProxy(p *tcpv3.TcpProxy, chain string) (*filter.TcpProxy, error) {
	if p.GetTunnelingConfig() != nil {
		c.note("%s: tcp_proxy tunneling_config%s", chain, passes)
		return nil, nil
	}
	m := &filter.TcpProxy{StatPrefix: p.GetStatPrefix(), MaxConnectAttempts: p.GetMaxConnectAttempts().GetValue()}
	switch s := p.GetClusterSpecifier().(type) {
	case *tcpv3.TcpProxy_Cluster:
		m.ClusterSpecifier = &filter.TcpProxy_Cluster{Cluster: s.Cluster}
	case *tcpv3.TcpProxy_WeightedClusters:
		w := &filter.TcpProxy_WeightedCluster{}
		for _, each := range s.WeightedClusters.GetClusters() {
			w.Clusters = append(w.Clusters, &filter.TcpProxy_WeightedCluster_ClusterWeight{
				Name: each.GetName(), Weight: each.GetWeight(),
			})
		}
		m.ClusterSpecifier = &filter.TcpProxy_WeightedClusters{WeightedClusters: w}
	default:
		return nil, wrong("names no cluster")
	}
	return m, nil
}

// connectionManager converts h; nil without an error means that connections pass
// through.
func (c *chains) connectionManager(h *hcmv3.HttpConnectionManager, chain string) (*filter.HttpConnectionManager, error) {
	for _, f := range h.GetHttpFilters() {
		if !silentHTTPFilters[f.GetName()] && !f.GetDisabled() {
			c.note("%s: HTTP filter %s is not applied", chain, Clip(f.GetName()))
		}
	}
	m := &filter.HttpConnectionManager{}
	switch s := h.GetRouteSpecifier().(type) {
	case *hcmv3.HttpConnectionManager_Rds:
		m.RouteSpecifier = &filter.HttpConnectionManager_RouteConfigName{RouteConfigName: s.Rds.GetRouteConfigName()}
	case *hcmv3.HttpConnectionManager_RouteConfig:
		rc, err := toRoute(s.RouteConfig)
		if err != nil {
			return nil, in("route_config", err)
		}
		for _, n := range rc.GetNotes() {
			c.note("%s: %s", chain, n)
		}
		rc.Notes = nil
		m.RouteSpecifier = &filter.HttpConnectionManager_RouteConfig{RouteConfig: rc}
	case *hcmv3.HttpConnectionManager_ScopedRoutes:
		c.note("%s: scoped_routes depend on the request%s", chain, passes)
		return nil, nil
	default:
		return nil, wrong("names no routes")
	}
	return m, nil
}
