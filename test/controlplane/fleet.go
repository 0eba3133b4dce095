// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	rawv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Fleet is a mesh of so many services with so many endpoints each, as istiod would
// describe it: about as large on the wire.
type Fleet struct{ Services, Endpoints int }

// Ports of a fleet.
const (
	servicePort  = 80
	endpointPort = 8080
)

// VIP is where clients of service i connect to: from 10.64.0.1 up.
func (f Fleet) VIP(i int) netip.AddrPort { return count(10<<24|64<<16, i, servicePort) }

// Endpoint is endpoint k of service i: from 10.128.0.1 up. Past the last one of a
// service are those of the next: f.Spare(n) is no service's.
func (f Fleet) Endpoint(i, k int) netip.AddrPort {
	return count(10<<24|128<<16, i*f.Endpoints+k, endpointPort)
}

// Spare is an endpoint of none of the services.
func (f Fleet) Spare(n int) netip.AddrPort { return f.Endpoint(f.Services, n) }

// Of are the endpoints of service i.
func (f Fleet) Of(i int) []netip.AddrPort {
	list := make([]netip.AddrPort, f.Endpoints)
	for k := range list {
		list[k] = f.Endpoint(i, k)
	}
	return list
}

func count(base uint32, n int, port uint16) netip.AddrPort {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], base+uint32(n)+1)
	return netip.AddrPortFrom(netip.AddrFrom4(b), port)
}

// Host is the name of service i.
func (f Fleet) Host(i int) string { return fmt.Sprintf("s%d.ns.svc.cluster.local", i) }

// ClusterName is what the cluster of service i is called.
func (f Fleet) ClusterName(i int) string {
	return fmt.Sprintf("outbound|%d||%s", servicePort, f.Host(i))
}

// Envoy returns the responses of a first push to ads mode: clusters, their endpoints,
// listeners.
func (f Fleet) Envoy() ([]Response, error) { return f.envoy(0, f.Services, f.Of) }

// EnvoyOf is a push to ads mode of service i alone, with these endpoints.
func (f Fleet) EnvoyOf(i int, endpoints ...netip.AddrPort) ([]Response, error) {
	return f.envoy(i, i+1, func(int) []netip.AddrPort { return endpoints })
}

func (f Fleet) envoy(from, to int, endpoints func(i int) []netip.AddrPort) ([]Response, error) {
	var clusters, assignments, listeners []proto.Message
	for i := from; i < to; i++ {
		c, err := f.cluster(i)
		if err != nil {
			return nil, err
		}
		l, err := f.listener(i)
		if err != nil {
			return nil, err
		}
		clusters = append(clusters, c)
		assignments = append(assignments, f.assignment(i, endpoints(i)))
		listeners = append(listeners, l)
	}
	return pack([]string{Cluster, Endpoints, Listener}, clusters, assignments, listeners)
}

// EndpointsOf is a push of the endpoints of service i alone.
func (f Fleet) EndpointsOf(i int, endpoints ...netip.AddrPort) (Response, error) {
	return NewResponse(Endpoints, f.assignment(i, endpoints))
}

func pack(urls []string, lists ...[]proto.Message) ([]Response, error) {
	all := make([]Response, len(lists))
	for i, list := range lists {
		r, err := NewResponse(urls[i], list...)
		if err != nil {
			return nil, err
		}
		all[i] = r
	}
	return all, nil
}

// cluster has what istiod gives to every service of a mesh without STRICT.
func (f Fleet) cluster(i int) (*clusterv3.Cluster, error) {
	host := f.Host(i)
	secret := func(name string) *tlsv3.SdsSecretConfig {
		return &tlsv3.SdsSecretConfig{Name: name, SdsConfig: &corev3.ConfigSource{
			ConfigSourceSpecifier: &corev3.ConfigSource_ApiConfigSource{ApiConfigSource: &corev3.ApiConfigSource{
				ApiType: corev3.ApiConfigSource_GRPC, TransportApiVersion: corev3.ApiVersion_V3, SetNodeOnFirstMessageOnly: true,
				GrpcServices: []*corev3.GrpcService{{TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{
					EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: "sds-grpc"}}}},
			}}, InitialFetchTimeout: durationpb.New(0), ResourceApiVersion: corev3.ApiVersion_V3}}
	}
	mutual, err := match("tlsMode-istio", map[string]any{"tlsMode": "istio"}, "envoy.transport_sockets.tls", &tlsv3.UpstreamTlsContext{
		Sni: fmt.Sprintf("outbound_.%d_._.%s", servicePort, host),
		CommonTlsContext: &tlsv3.CommonTlsContext{
			TlsParams: &tlsv3.TlsParameters{TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_2,
				TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3},
			AlpnProtocols:                  []string{"istio-peer-exchange", "istio"},
			TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{secret("default")},
			ValidationContextType: &tlsv3.CommonTlsContext_CombinedValidationContext{
				CombinedValidationContext: &tlsv3.CommonTlsContext_CombinedCertificateValidationContext{
					DefaultValidationContext:         &tlsv3.CertificateValidationContext{},
					ValidationContextSdsSecretConfig: secret("ROOTCA"),
				}},
		}})
	if err != nil {
		return nil, err
	}
	plain, err := match("tlsMode-disabled", map[string]any{}, "envoy.transport_sockets.raw_buffer", &rawv3.RawBuffer{})
	if err != nil {
		return nil, err
	}
	meta, err := istioMetadata(map[string]any{"services": []any{map[string]any{"host": host, "name": host, "namespace": "ns"}}})
	if err != nil {
		return nil, err
	}
	return &clusterv3.Cluster{
		Name:                 f.ClusterName(i),
		AltStatName:          f.ClusterName(i) + ";",
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		EdsClusterConfig: &clusterv3.Cluster_EdsClusterConfig{
			ServiceName: f.ClusterName(i),
			EdsConfig: &corev3.ConfigSource{ResourceApiVersion: corev3.ApiVersion_V3,
				ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}}},
		},
		ConnectTimeout: durationpb.New(10e9),
		LbPolicy:       clusterv3.Cluster_LEAST_REQUEST,
		CircuitBreakers: &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
			MaxConnections: most(), MaxPendingRequests: most(), MaxRequests: most(), MaxRetries: most(), TrackRemaining: true}}},
		Metadata:               meta,
		TransportSocketMatches: []*clusterv3.Cluster_TransportSocketMatch{mutual, plain},
	}, nil
}

func most() *wrapperspb.UInt32Value { return wrapperspb.UInt32(^uint32(0)) }

func match(name string, when map[string]any, socket string, config proto.Message) (*clusterv3.Cluster_TransportSocketMatch, error) {
	criteria, err := structpb.NewStruct(when)
	if err != nil {
		return nil, fmt.Errorf("make match: %w", err)
	}
	typed, err := anypb.New(config)
	if err != nil {
		return nil, fmt.Errorf("pack transport socket: %w", err)
	}
	return &clusterv3.Cluster_TransportSocketMatch{Name: name, Match: criteria, TransportSocket: &corev3.TransportSocket{
		Name: socket, ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: typed}}}, nil
}

func istioMetadata(istio map[string]any) (*corev3.Metadata, error) {
	s, err := structpb.NewStruct(istio)
	if err != nil {
		return nil, fmt.Errorf("make metadata: %w", err)
	}
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{"istio": s}}, nil
}

// assignment has its endpoints in two localities, in turn.
func (f Fleet) assignment(i int, endpoints []netip.AddrPort) *endpointv3.ClusterLoadAssignment {
	zones := make([]*endpointv3.LocalityLbEndpoints, min(2, len(endpoints)))
	for z := range zones {
		zones[z] = &endpointv3.LocalityLbEndpoints{LoadBalancingWeight: wrapperspb.UInt32(0),
			Locality: &corev3.Locality{Region: "region1", Zone: fmt.Sprintf("zone%d", z+1)}}
	}
	for k, ep := range endpoints {
		zone := zones[k%len(zones)]
		zone.LoadBalancingWeight.Value++
		name := fmt.Sprintf("s%d-%s;ns;s%d;v1;Kubernetes", i, ep.Addr(), i)
		zone.LbEndpoints = append(zone.LbEndpoints, &endpointv3.LbEndpoint{
			HealthStatus:        corev3.HealthStatus_HEALTHY,
			LoadBalancingWeight: wrapperspb.UInt32(1),
			HostIdentifier:      &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: socketAddress(ep)}},
			Metadata: &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{"istio": {
				Fields: map[string]*structpb.Value{"workload": structpb.NewStringValue(name)}}}},
		})
	}
	return &endpointv3.ClusterLoadAssignment{ClusterName: f.ClusterName(i), Endpoints: zones}
}

func socketAddress(a netip.AddrPort) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: a.Addr().String(), PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(a.Port())}}}}
}

func (f Fleet) listener(i int) (*listenerv3.Listener, error) {
	proxy, err := anypb.New(&tcpv3.TcpProxy{StatPrefix: f.ClusterName(i),
		ClusterSpecifier: &tcpv3.TcpProxy_Cluster{Cluster: f.ClusterName(i)}})
	if err != nil {
		return nil, fmt.Errorf("pack tcp_proxy: %w", err)
	}
	vip := f.VIP(i)
	return &listenerv3.Listener{
		Name:             fmt.Sprintf("%s_%d", vip.Addr(), vip.Port()),
		Address:          socketAddress(vip),
		BindToPort:       wrapperspb.Bool(false),
		TrafficDirection: corev3.TrafficDirection_OUTBOUND,
		FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{
			Name: "envoy.filters.network.tcp_proxy", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: proxy}}}}},
	}, nil
}
