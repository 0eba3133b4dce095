// SPDX-License-Identifier: Apache-2.0

package xdsclient

import "time"

// State says how a Client is doing.
type State struct {
	Address   string
	Variant   Variant
	Connected bool      // a stream is open
	Since     time.Time // of Connected, as it is
	// ControlPlane is what the other end calls itself; "" if it does not.
	ControlPlane string
	// Streams were opened and have delivered; the first one counts.
	Streams uint64
	// Failures are attempts to connect and streams that ended otherwise than by our wish.
	Failures  uint64
	LastError string
	// Synced: all that was asked for has come once, and is in force; else Missing is
	// what has not.
	Synced  bool
	Missing string
	// Types are in the order in which they are subscribed to.
	Types []TypeState
}

// TypeState is about one type of resources.
type TypeState struct {
	TypeURL   string
	Resources int
	Responses uint64
	// NACKs are responses of which at least one resource was refused.
	NACKs      uint64
	LastError  string // of the last NACK; "": the last response was fine
	LastUpdate time.Time
}

// Variant is the protocol on the stream.
type Variant string

// Variants of the protocol.
const (
	// SotW is the state of the world: a response of clusters or listeners holds all of them.
	SotW Variant = "sotw"
	// Delta responses hold what changed.
	Delta Variant = "delta"
)
