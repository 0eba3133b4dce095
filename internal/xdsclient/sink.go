// SPDX-License-Identifier: Apache-2.0

// Package xdsclient keeps a stream of configuration from a control plane open (ADS, state
// of the world or delta) and hands what comes to a [Sink].
package xdsclient

import (
	"context"

	"github.com/kmesh-net/kmesh-node/internal/xds"
)

// Type URLs of what a stream may carry.
const (
	ClusterType       = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	EndpointType      = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	ListenerType      = "type.googleapis.com/envoy.config.listener.v3.Listener"
	RouteType         = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
	AddressType       = "type.googleapis.com/istio.workload.Address"
	AuthorizationType = "type.googleapis.com/istio.security.Authorization"
)

// Sink takes the configuration that comes. Its methods are called by one goroutine, but
// for Synced.
type Sink interface {
	// Types are the type URLs to subscribe to, in the order of the first requests.
	Types() []string
	// Update brings one response into force, as one publication; also one that holds
	// nothing. Rejected are the resources that are invalid: what they were before
	// stays, also where the document is complete, and all others are in force. On
	// err nothing of the response is: the stream ends and begins anew after a while.
	Update(ctx context.Context, d *xds.Document) (rejected []xds.Rejection, err error)
	// Names are those to ask for of a type that is subscribed to by name, sorted; byName
	// is false for a type of which everything is asked for. It is called before the
	// first request of a stream and after each Update.
	Names(typeURL string) (names []string, byName bool)
	// Held are the names of a type that the maps hold: what a process before this one
	// was told of, and what the control plane has to say went away.
	Held(typeURL string) ([]string, error)
	// Synced says whether all that was asked for has come and is in force; missing
	// says to people what is not. It is safe for several goroutines.
	Synced() (ok bool, missing string)
}
