// SPDX-License-Identifier: Apache-2.0

// Package controlplane holds control planes for tests and for the benchmark: Live is
// go-control-plane's own server, Peer one whose every word is the caller's, with
// captures to replay and faults in between. Fleet generates configuration of any size.
//
// Nothing here is part of kmesh-node.
package controlplane
