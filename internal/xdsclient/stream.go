// SPDX-License-Identifier: Apache-2.0

package xdsclient

import (
	"context"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"

	"github.com/kmesh-net/kmesh-node/internal/xds"
)

// request is one request of either variant.
type request struct {
	url     string
	node    *corev3.Node // of the first one of a stream
	nonce   string       // of the response that it answers
	problem *statuspb.Status

	// State of the world.
	version string
	names   []string

	// Delta.
	subscribe, unsubscribe []string
	initial                map[string]string
}

// response is one response of either variant.
type response struct {
	url, version, nonce string
	controlPlane        string
	raw                 []xds.Raw
	// versions are those of each raw resource; nil: all have that of the response.
	versions []string
	removed  []string
}

// stream is the aggregated stream of either variant.
type stream interface {
	send(*request) error
	recv() (*response, error)
}

func openStream(ctx context.Context, v Variant, conn *grpc.ClientConn) (stream, error) {
	api := discoveryv3.NewAggregatedDiscoveryServiceClient(conn)
	if v == SotW {
		s, err := api.StreamAggregatedResources(ctx)
		return sotwStream{s}, err
	}
	s, err := api.DeltaAggregatedResources(ctx)
	return deltaStream{s}, err
}

type sotwStream struct {
	discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesClient
}

func (s sotwStream) send(r *request) error {
	return s.Send(&discoveryv3.DiscoveryRequest{TypeUrl: r.url, Node: r.node, ResponseNonce: r.nonce, ErrorDetail: r.problem,
		VersionInfo: r.version, ResourceNames: r.names})
}

func (s sotwStream) recv() (*response, error) {
	m, err := s.Recv()
	if err != nil {
		return nil, err
	}
	r := &response{url: m.GetTypeUrl(), version: m.GetVersionInfo(), nonce: m.GetNonce(), controlPlane: m.GetControlPlane().GetIdentifier()}
	r.raw = make([]xds.Raw, len(m.GetResources()))
	for i, a := range m.GetResources() {
		r.raw[i] = xds.Raw{URL: a.GetTypeUrl(), Value: a.GetValue()}
	}
	return r, nil
}

type deltaStream struct {
	discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
}

func (s deltaStream) send(r *request) error {
	return s.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: r.url, Node: r.node, ResponseNonce: r.nonce, ErrorDetail: r.problem,
		ResourceNamesSubscribe: r.subscribe, ResourceNamesUnsubscribe: r.unsubscribe, InitialResourceVersions: r.initial})
}

func (s deltaStream) recv() (*response, error) {
	m, err := s.Recv()
	if err != nil {
		return nil, err
	}
	r := &response{url: m.GetTypeUrl(), version: m.GetSystemVersionInfo(), nonce: m.GetNonce(), controlPlane: m.GetControlPlane().GetIdentifier(),
		removed: m.GetRemovedResources()}
	for _, n := range m.GetRemovedResourceNames() {
		r.removed = append(r.removed, n.GetName())
	}
	r.raw = make([]xds.Raw, 0, len(m.GetResources()))
	r.versions = make([]string, 0, len(m.GetResources()))
	for _, res := range m.GetResources() {
		if res.GetResource() == nil {
			continue // it only prolongs a lease
		}
		r.raw = append(r.raw, xds.Raw{Name: res.GetName(), URL: res.GetResource().GetTypeUrl(), Value: res.GetResource().GetValue()})
		r.versions = append(r.versions, res.GetVersion())
	}
	return r, nil
}
