// SPDX-License-Identifier: Apache-2.0

// Package xds turns configuration as it comes, from a control plane or by hand,
// into operations of the store.
//
// # What a document may be
//
// A response of an Envoy control plane, told by its content: DiscoveryResponse or
// DeltaDiscoveryResponse, binary or JSON, of Cluster, ClusterLoadAssignment,
// Listener or RouteConfiguration. A DiscoveryResponse of Cluster or Listener is
// complete: what it does not name goes away. All others are partial. Typed
// extensions that are not known are kept by the name of their type. Or such a response
// of Address or Authorization of Istio's workload API, which package workload takes;
// a DiscoveryResponse of these is complete.
//
// Or kmesh-node's own messages (proto/), as JSON or YAML: an object whose member
// "kind" is Cluster, ClusterLoadAssignment, Listener, RouteConfiguration or
// ConfigDump, the rest being the fields of that message in protobuf's JSON form; or an
// array of such objects; in YAML also several of either, separated by "---". They
// are partial. An address may be, and in output is, a string:
//
//	kind: Listener
//	name: echo
//	address: 10.96.0.10:80     # [2001:db8::1]:80, 10.96.0.10:53/udp
//	filterChains:
//	- filters:
//	  - name: tcp
//	    tcpProxy: {cluster: echo}
//
// # How documents become operations
//
// [Load] reads documents, [Translate] makes one batch of all of them: later ones
// over earlier ones, endpoints merged into their clusters. Resources that are
// invalid reject the batch, unless they are to be skipped. What is valid and
// cannot be honoured when a connection is opened is kept out of the way of traffic
// and named in the notes of its resource.
package xds
