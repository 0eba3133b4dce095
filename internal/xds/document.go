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

	"github.com/kmesh-net/kmesh-node/internal/printable"
	"github.com/kmesh-net/kmesh-node/proto/security"
	"github.com/kmesh-net/kmesh-node/proto/workload"
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

	// Of workload mode: an Address is a Workload or a Service.
	KindAddress       Kind = "Address"
	KindAuthorization Kind = "Authorization"
)

// Document is one response, or one document of own messages.
type Document struct {
	Path string // of the file, with "#N" where it is not the only one in there
	Kind Kind
	// Complete says that the control plane names every resource of Kind: others go
	// away. Only documents of KindCluster, KindListener, KindAddress and KindAuthorization
	// are ever complete.
	Complete bool
	// Resources are Envoy's messages, Istio's or kmesh-node's own.
	Resources []proto.Message
	// Raw are resources that are not decoded yet: see Response.
	Raw []Raw
	// Removed are names of resources of Kind that go away.
	Removed []string
	// Warnings are about what Parse left out.
	Warnings []string
}

// typed describes one resource type of a response.
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
	"istio.workload.Address":                         {KindAddress, func() proto.Message { return new(workload.Address) }, true},
	"istio.security.Authorization":                   {KindAuthorization, func() proto.Message { return new(security.Authorization) }, true},
}

// NeedsMode returns the error about a document of kind k in a mode that has no such
// resources, nil where mode, "ads" or "workload", has them.
func NeedsMode(k Kind, mode string) error {
	name, need := string(k), "ads"
	switch k {
	case KindAddress:
		name, need = "istio.workload.Address", "workload"
	case KindAuthorization:
		name, need = "istio.security.Authorization", "workload"
	}
	if need == mode {
		return nil
	}
	return fmt.Errorf("type %s needs --mode %s", name, need)
}

// typeOf returns the resource type that a type URL names.
func typeOf(url string) (typed, error) {
	name := typeName(url)
	if t, ok := resourceTypes[name]; ok {
		return t, nil
	}
	if name == "" {
		return typed{}, fmt.Errorf("%q is not a type URL", Clip(url))
	}
	return typed{}, fmt.Errorf("type %s is none of Cluster, ClusterLoadAssignment, Listener, RouteConfiguration of Envoy's v3 API, "+
		"Address, Authorization of Istio's workload API", Clip(name))
}

// typeName returns what follows the last slash of a type URL, "" without a slash.
func typeName(url string) string {
	i := strings.LastIndexByte(url, '/')
	if i < 0 {
		return ""
	}
	return url[i+1:]
}

// Clip shortens what comes from outside for a message of one line.
func Clip(s string) string { return printable.Clip(s, 200) }
