// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"maps"
	"slices"
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

// label is the fields of one metadata, each by its wire form: a cluster may wait for its
// endpoints, and the messages that a control plane sends are large.
type label map[string]string

func labelOf(s *structpb.Struct) (label, error) {
	if len(s.GetFields()) == 0 {
		return nil, nil
	}
	l := make(label, len(s.GetFields()))
	for k, v := range s.GetFields() {
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(v)
		if err != nil {
			return nil, wrong("metadata: %s", tidy(err))
		}
		l[k] = string(b)
	}
	return l, nil
}

// istioMode is what endpoints that expect mutual TLS of Istio's have as their mode.
var istioMode = func() string {
	l, err := labelOf(&structpb.Struct{Fields: map[string]*structpb.Value{tlsModeLabel: structpb.NewStringValue(istioTLSMode)}})
	if err != nil {
		panic(err) // a string can be marshalled
	}
	return l[tlsModeLabel]
}()

// labels are the distinct metadata by which endpoints ask for a transport socket;
// nil stands for none. Hundreds of endpoints share one or two.
type labels []label

func (l *labels) add(m *corev3.Metadata) error {
	s, err := labelOf(m.GetFilterMetadata()[socketMatchKey])
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(*l, func(has label) bool { return maps.Equal(has, s) }) {
		*l = append(*l, s)
	}
	return nil
}

// socket is what a transport socket expects: plain text where it has no name.
type socket struct {
	name string
	tls  bool
}

// sockets is how a cluster chooses the transport socket to an endpoint.
type sockets struct {
	matches []socketMatch
	other   socket // where no match applies
}

type socketMatch struct {
	label  label
	socket socket
}

func socketsOf(c *clusterv3.Cluster) (*sockets, error) {
	s := &sockets{other: socketOf(c.GetTransportSocket())}
	for i, m := range c.GetTransportSocketMatches() {
		l, err := labelOf(m.GetMatch())
		if err != nil {
			return nil, inItem("transport_socket_matches", i, err)
		}
		s.matches = append(s.matches, socketMatch{l, socketOf(m.GetTransportSocket())})
	}
	return s, nil
}

func socketOf(s *corev3.TransportSocket) socket {
	switch {
	case isRaw(s):
		return socket{}
	case isTLS(s):
		return socket{name: "TLS", tls: true}
	}
	return socket{name: "transport socket " + Clip(s.GetName())}
}

// choose returns the socket to endpoints with that label.
func (s *sockets) choose(l label) socket {
	for _, m := range s.matches {
		if covers(l, m.label) {
			return m.socket
		}
	}
	return s.other
}

// covers says whether l has every field of match with the same value.
func covers(l, match label) bool {
	for k, v := range match {
		if have, ok := l[k]; !ok || have != v {
			return false
		}
	}
	return true
}

// warn returns what endpoints with those labels expect and will not get, "" where
// plain text is right. A nil s is a cluster whose sockets are no longer known.
func (s *sockets) warn(ls labels) string {
	other := ""
	for _, l := range ls {
		istio := l[tlsModeLabel] == istioMode
		if s == nil {
			if istio {
				return istioWarning
			}
			continue
		}
		socket := s.choose(l)
		switch {
		case socket.tls && istio:
			return istioWarning
		case socket.tls || other == "" && socket.name != "":
			other = "its endpoints expect " + socket.name + ": kmesh-node sends plain text"
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
