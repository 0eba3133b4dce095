// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"fmt"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"
)

// Kind says what a document holds, for messages to people.
type Kind string

// Kinds of documents. A document of one of the first four kinds holds resources of
// that kind alone.
const (
	KindCluster    Kind = "Cluster"
	KindAssignment Kind = "ClusterLoadAssignment"
	KindListener   Kind = "Listener"
	KindRoute      Kind = "RouteConfiguration"
	KindConfigDump Kind = "ConfigDump"
)

// Document is one response, or one document of own messages.
type Document struct {
	Path string // of the file, with "#N" where it is not the only one in there
	Kind Kind
	// Complete says that the control plane names every resource of Kind: others go
	// away. Only documents of KindCluster and KindListener are ever complete.
	Complete bool
	// Resources are Envoy's messages or kmesh-node's own.
	Resources []proto.Message
	// Removed are names of resources of Kind that go away.
	Removed []string
	// Warnings are about what Parse left out.
	Warnings []string
}

// typed describes one of Envoy's resource types.
type typed struct {
	kind     Kind
	make     func() proto.Message
	complete bool // a DiscoveryResponse names them all
}

// resourceTypes is keyed by the full name of the message.
var resourceTypes = map[string]typed{
	"envoy.config.cluster.v3.Cluster":                {KindCluster, func() proto.Message { return new(clusterv3.Cluster) }, true},
	"envoy.config.endpoint.v3.ClusterLoadAssignment": {KindAssignment, func() proto.Message { return new(endpointv3.ClusterLoadAssignment) }, false},
	"envoy.config.listener.v3.Listener":              {KindListener, func() proto.Message { return new(listenerv3.Listener) }, true},
	"envoy.config.route.v3.RouteConfiguration":       {KindRoute, func() proto.Message { return new(routev3.RouteConfiguration) }, false},
}

// typeOf returns the resource type that a type URL names.
func typeOf(url string) (typed, error) {
	name := typeName(url)
	if t, ok := resourceTypes[name]; ok {
		return t, nil
	}
	switch {
	case name == "":
		return typed{}, fmt.Errorf("%q is not a type URL", clip(url))
	case strings.HasPrefix(name, "istio.workload.") || strings.HasPrefix(name, "istio.security."):
		return typed{}, fmt.Errorf("type %s needs --mode workload", clip(name))
	}
	return typed{}, fmt.Errorf("type %s is none of Cluster, ClusterLoadAssignment, Listener, RouteConfiguration of Envoy's v3 API", clip(name))
}

// typeName returns what follows the last slash of a type URL, "" without a slash.
func typeName(url string) string {
	i := strings.LastIndexByte(url, '/')
	if i < 0 {
		return ""
	}
	return url[i+1:]
}

// clip shortens what comes from outside for a message of one line.
func clip(s string) string {
	const most = 200
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return '?'
		}
		return r
	}, s)
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
