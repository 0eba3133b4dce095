// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// What Istio puts into the metadata of an endpoint that expects mutual TLS.
const (
	socketMatchKey = "envoy.transport_socket_match"
	tlsModeLabel   = "tlsMode"
	istioTLSMode   = "istio"
)

// labels are the distinct metadata by which endpoints ask for a transport socket;
// nil stands for none. Hundreds of endpoints share one or two.
type labels struct {
	all  []*structpb.Struct
	seen map[string]bool // in wire form
}

func (l *labels) add(m *corev3.Metadata) error {
	s := m.GetFilterMetadata()[socketMatchKey]
	key := ""
	if s != nil {
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(s)
		if err != nil {
			return wrong("metadata: %s", tidy(err))
		}
		key = "+" + string(b)
	}
	if l.seen[key] {
		return nil
	}
	if l.seen == nil {
		l.seen = map[string]bool{}
	}
	l.seen[key] = true
	l.all = append(l.all, s)
	return nil
}

// sockets is how a cluster chooses the transport socket to an endpoint.
type sockets struct {
	matches []*clusterv3.Cluster_TransportSocketMatch
	other   *corev3.TransportSocket // where no match applies
}

func socketsOf(c *clusterv3.Cluster) *sockets {
	return &sockets{matches: c.GetTransportSocketMatches(), other: c.GetTransportSocket()}
}

// choose returns the socket to endpoints with that label.
func (s *sockets) choose(label *structpb.Struct) *corev3.TransportSocket {
	for _, m := range s.matches {
		if covers(label, m.GetMatch()) {
			return m.GetTransportSocket()
		}
	}
	return s.other
}

// covers says whether label has every field of match with the same value.
func covers(label, match *structpb.Struct) bool {
	for k, v := range match.GetFields() {
		if have, ok := label.GetFields()[k]; !ok || !proto.Equal(have, v) {
			return false
		}
	}
	return true
}

// warn returns what endpoints with those labels expect and will not get, "" where
// plain text is right. A nil s is a cluster whose sockets are no longer known.
func (s *sockets) warn(ls []*structpb.Struct) string {
	other := ""
	for _, l := range ls {
		istio := l.GetFields()[tlsModeLabel].GetStringValue() == istioTLSMode
		if s == nil {
			if istio {
				return istioWarning
			}
			continue
		}
		socket := s.choose(l)
		switch {
		case isRaw(socket):
		case isTLS(socket) && istio:
			return istioWarning
		case isTLS(socket):
			other = "its endpoints expect TLS: kmesh-node sends plain text"
		case other == "":
			other = "its endpoints expect transport socket " + Clip(socket.GetName()) + ": kmesh-node sends plain text"
		}
	}
	return other
}

const istioWarning = "its endpoints expect Istio mutual TLS: kmesh-node sends plain text"

func isRaw(s *corev3.TransportSocket) bool {
	return s == nil || strings.HasSuffix(typeName(s.GetTypedConfig().GetTypeUrl()), ".RawBuffer") ||
		(s.GetTypedConfig() == nil && s.GetName() == "envoy.transport_sockets.raw_buffer")
}

func isTLS(s *corev3.TransportSocket) bool {
	return strings.HasSuffix(typeName(s.GetTypedConfig().GetTypeUrl()), ".UpstreamTlsContext") ||
		(s.GetTypedConfig() == nil && s.GetName() == "envoy.transport_sockets.tls")
}
