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

const service = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"

func openStream(ctx context.Context, v Variant, conn *grpc.ClientConn) (stream, error) {
	method := service + "DeltaAggregatedResources"
	if v == SotW {
		method = service + "StreamAggregatedResources"
	}
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method, grpc.ForceCodecV2(codec{}))
	if v == SotW {
		return sotwStream{s}, err
	}
	return deltaStream{s}, err
}

type sotwStream struct{ grpc.ClientStream }

func (s sotwStream) send(r *request) error {
	return s.SendMsg(&discoveryv3.DiscoveryRequest{TypeUrl: r.url, Node: r.node, ResponseNonce: r.nonce, ErrorDetail: r.problem,
		VersionInfo: r.version, ResourceNames: r.names})
}

func (s sotwStream) recv() (*response, error) { return receive(s, parseWorld) }

type deltaStream struct{ grpc.ClientStream }

func (s deltaStream) send(r *request) error {
	return s.SendMsg(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: r.url, Node: r.node, ResponseNonce: r.nonce, ErrorDetail: r.problem,
		ResourceNamesSubscribe: r.subscribe, ResourceNamesUnsubscribe: r.unsubscribe, InitialResourceVersions: r.initial})
}

func (s deltaStream) recv() (*response, error) { return receive(s, parseDelta) }

func receive(s grpc.ClientStream, parse func([]byte) (*response, error)) (*response, error) {
	var b []byte
	if err := s.RecvMsg(&b); err != nil {
		return nil, err
	}
	return parse(b)
}
