// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"fmt"
	"math"
	"net/netip"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/proto/cluster"
	"github.com/kmesh-net/kmesh-node/proto/core"
	"github.com/kmesh-net/kmesh-node/proto/endpoint"
	"github.com/kmesh-net/kmesh-node/proto/filter"
	"github.com/kmesh-net/kmesh-node/proto/listener"
	"github.com/kmesh-net/kmesh-node/proto/route"
)

// Limits of bpf/abi.h, and Envoy's on priorities.
const (
	maxGroups   = 128   // KM_MAX_GROUPS
	maxPick     = 16384 // KM_MAX_PICK
	maxPriority = 128
)

// validate checks a message before it goes to the store, whoever made it. The path
// of its error is in the names of proto/.
func validate(m proto.Message) error {
	if err := checkStrings(m.ProtoReflect()); err != nil {
		return err
	}
	switch m := m.(type) {
	case *cluster.Cluster:
		return validateCluster(m)
	case *endpoint.ClusterLoadAssignment:
		return firstError(in("cluster_name", checkName(m.GetClusterName())), validateAssignment(m))
	case *listener.Listener:
		return validateListener(m)
	case *route.RouteConfiguration:
		return firstError(in("name", checkName(m.GetName())), validateRoute(m))
	}
	return fmt.Errorf("%T is no resource", m)
}

// checkStrings refuses zero bytes, at which the strings of C end.
func checkStrings(m protoreflect.Message) (err error) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		name := string(f.Name())
		if !f.IsList() {
			err = in(name, checkStringsIn(f, v))
			return err == nil
		}
		for i := 0; i < v.List().Len() && err == nil; i++ {
			err = inItem(name, i, checkStringsIn(f, v.List().Get(i)))
		}
		return err == nil
	})
	return err
}

func checkStringsIn(f protoreflect.FieldDescriptor, v protoreflect.Value) error {
	switch {
	case f.Kind() == protoreflect.MessageKind:
		return checkStrings(v.Message())
	case f.Kind() == protoreflect.StringKind && strings.IndexByte(v.String(), 0) >= 0:
		return wrong("holds a zero byte")
	}
	return nil
}

func validateCluster(c *cluster.Cluster) error {
	if err := in("name", checkName(c.GetName())); err != nil {
		return err
	}
	if _, ok := cluster.Cluster_LbPolicy_name[int32(c.GetLbPolicy())]; !ok {
		return in("lb_policy", wrong("%d is unknown", c.GetLbPolicy()))
	}
	if _, ok := cluster.Cluster_DiscoveryType_name[int32(c.GetDiscoveryType())]; !ok {
		return in("discovery_type", wrong("%d is unknown", c.GetDiscoveryType()))
	}
	if s := c.GetEdsServiceName(); s != "" {
		if err := in("eds_service_name", checkName(s)); err != nil {
			return err
		}
	}
	return in("load_assignment", validateAssignment(c.GetLoadAssignment()))
}

// group is one priority of one address family.
type group struct {
	v6       bool
	priority uint32
}

func validateAssignment(a *endpoint.ClusterLoadAssignment) error {
	groups := map[group]int{}
	sums := map[uint32]uint64{}
	for i, l := range a.GetEndpoints() {
		if err := inItem("endpoints", i, validateLocality(l, groups)); err != nil {
			return err
		}
		if sums[l.GetPriority()] += uint64(l.GetLoadBalancingWeight()); sums[l.GetPriority()] > math.MaxUint32 {
			return inItem("endpoints", i, in("load_balancing_weight",
				wrong("the localities of priority %d weigh more than %d together", l.GetPriority(), uint32(math.MaxUint32))))
		}
	}
	if len(groups) > maxGroups {
		return in("endpoints", wrong("%d priorities, counted for each address family, are more than the limit of %d", len(groups), maxGroups))
	}
	for g, n := range groups {
		if n > maxPick {
			return in("endpoints", wrong("%d endpoints of priority %d are more than the limit of %d", n, g.priority, maxPick))
		}
	}
	return nil
}

func validateLocality(l *endpoint.LocalityLbEndpoints, groups map[group]int) error {
	if l.GetPriority() > maxPriority {
		return in("priority", wrong("%d is more than %d", l.GetPriority(), maxPriority))
	}
	sum := uint64(0)
	counts := [2]int{}
	for i, e := range l.GetLbEndpoints() {
		if err := validateEndpoint(e); err != nil {
			return inItem("lb_endpoints", i, err)
		}
		if sum += uint64(max(e.GetLoadBalancingWeight(), 1)); sum > math.MaxUint32 {
			return inItem("lb_endpoints", i, in("load_balancing_weight",
				wrong("the endpoints of one locality weigh more than %d together", uint32(math.MaxUint32))))
		}
		switch {
		case e.GetAddress() == nil || e.GetUnhealthy():
		case len(e.GetAddress().GetIpv6()) > 0:
			counts[1]++
		default:
			counts[0]++
		}
	}
	for i, n := range counts {
		if n > 0 {
			groups[group{v6: i == 1, priority: l.GetPriority()}] += n
		}
	}
	return nil
}

func validateEndpoint(e *endpoint.Endpoint) error {
	switch {
	case e.GetUnresolved() != "" && e.GetAddress() != nil:
		return in("unresolved", wrong("stands beside an address"))
	case e.GetUnresolved() != "":
		return nil
	case e.GetAddress().GetProtocol() != core.SocketAddress_TCP:
		return in("address", wrong("is not TCP"))
	}
	if ap, err := config.AddrPort(e.GetAddress()); err == nil && ap.Addr().Unmap().IsUnspecified() {
		return in("address", wrong("%s is the address of no endpoint", ap.Addr()))
	}
	return in("address", validateAddress(e.GetAddress()))
}

func validateAddress(a *core.SocketAddress) error {
	ap, err := config.AddrPort(a)
	if err != nil {
		return wrong("%s", err)
	}
	if _, ok := core.SocketAddress_Protocol_name[int32(a.GetProtocol())]; !ok {
		return in("protocol", wrong("%d is unknown", a.GetProtocol()))
	}
	return checkPort(uint32(ap.Port()))
}

func validateListener(l *listener.Listener) error {
	if err := firstError(in("name", checkName(l.GetName())), in("address", validateAddress(l.GetAddress()))); err != nil {
		return err
	}
	for i, c := range l.GetFilterChains() {
		if err := inItem("filter_chains", i, validateChain(c)); err != nil {
			return err
		}
	}
	return in("default_filter_chain", validateChain(l.GetDefaultFilterChain()))
}

func validateChain(c *listener.FilterChain) error {
	m := c.GetFilterChainMatch()
	if m.GetDestinationPort() > 65535 {
		return in("filter_chain_match", in("destination_port", wrong("%d is not 0..65535", m.GetDestinationPort())))
	}
	for i, r := range m.GetPrefixRanges() {
		if err := validateRange(r); err != nil {
			return in("filter_chain_match", inItem("prefix_ranges", i, err))
		}
	}
	for i, f := range c.GetFilters() {
		if err := validateFilter(f); err != nil {
			return inItem("filters", i, err)
		}
	}
	return nil
}

func validateRange(r *core.CidrRange) error {
	ip, err := netip.ParseAddr(r.GetAddressPrefix())
	if err != nil || ip.Zone() != "" {
		return in("address_prefix", wrong("%q is not an IP address", Clip(r.GetAddressPrefix())))
	}
	if r.GetPrefixLen() > uint32(ip.BitLen()) {
		return in("prefix_len", wrong("%d is more than %d", r.GetPrefixLen(), ip.BitLen()))
	}
	return nil
}

func validateFilter(f *listener.Filter) error {
	switch t := f.GetConfigType().(type) {
	case *listener.Filter_TcpProxy:
		return in("tcp_proxy", validateTCPProxy(t.TcpProxy))
	case *listener.Filter_HttpConnectionManager:
		switch s := t.HttpConnectionManager.GetRouteSpecifier().(type) {
		case *filter.HttpConnectionManager_RouteConfigName:
			return in("http_connection_manager", in("route_config_name", checkName(s.RouteConfigName)))
		case *filter.HttpConnectionManager_RouteConfig:
			return in("http_connection_manager", in("route_config", validateRoute(s.RouteConfig)))
		}
		return in("http_connection_manager", wrong("names no routes"))
	}
	return nil
}

func validateTCPProxy(p *filter.TcpProxy) error {
	switch s := p.GetClusterSpecifier().(type) {
	case *filter.TcpProxy_Cluster:
		return in("cluster", checkName(s.Cluster))
	case *filter.TcpProxy_WeightedClusters:
		return in("weighted_clusters", validateWeights(s.WeightedClusters.GetClusters()))
	}
	return wrong("names no cluster")
}

// weighted is either message that gives a cluster a weight.
type weighted interface {
	GetName() string
	GetWeight() uint32
}

func validateWeights[W weighted](list []W) error {
	sum := uint64(0)
	for i, w := range list {
		if err := in("name", checkName(w.GetName())); err != nil {
			return inItem("clusters", i, err)
		}
		sum += uint64(w.GetWeight())
	}
	switch {
	case sum == 0:
		return in("clusters", wrong("no cluster has a weight"))
	case sum > math.MaxUint32:
		return in("clusters", wrong("the weights are more than %d together", uint32(math.MaxUint32)))
	case len(list) > maxPick:
		return in("clusters", wrong("%d clusters are more than the limit of %d", len(list), maxPick))
	}
	return nil
}

func validateRoute(rc *route.RouteConfiguration) error {
	owner := map[string]string{}
	for i, vh := range rc.GetVirtualHosts() {
		for j, d := range vh.GetDomains() {
			d = strings.ToLower(d)
			if other, ok := owner[d]; ok || d == "" {
				text := "is empty"
				if ok {
					text = fmt.Sprintf("%s stands in virtual host %s as well", Clip(d), Clip(other))
				}
				return inItem("virtual_hosts", i, inItem("domains", j, wrong("%s", text)))
			}
			owner[d] = vh.GetName()
		}
		for j, r := range vh.GetRoutes() {
			if err := validateAction(r); err != nil {
				return inItem("virtual_hosts", i, inItem("routes", j, in("route", err)))
			}
		}
	}
	return nil
}

func validateAction(r *route.Route) error {
	if r.GetRoute() == nil {
		return nil
	}
	switch s := r.GetRoute().GetClusterSpecifier().(type) {
	case *route.RouteAction_Cluster:
		return in("cluster", checkName(s.Cluster))
	case *route.RouteAction_WeightedClusters:
		return in("weighted_clusters", validateWeights(s.WeightedClusters.GetClusters()))
	}
	return wrong("names no cluster")
}
