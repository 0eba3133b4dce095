// SPDX-License-Identifier: Apache-2.0

package xdsclient

import "time"

// State says how a Client is doing.
type State struct {
	Address   string    `json:"address"`
	Variant   Variant   `json:"variant"`
	Connected bool      `json:"connected"` // a stream is open
	Since     time.Time `json:"since"`     // of Connected, as it is
	// ControlPlane is what the other end calls itself; "" if it does not.
	ControlPlane string `json:"controlPlane,omitempty"`
	// Streams were opened and have delivered; the first one counts.
	Streams uint64 `json:"streams"`
	// Failures are attempts to connect and streams that ended otherwise than by our wish.
	Failures  uint64 `json:"failures"`
	LastError string `json:"lastError,omitempty"`
	// Synced: all that was asked for has come once, and is in force; else Missing is
	// what has not.
	Synced  bool   `json:"synced"`
	Missing string `json:"missing,omitempty"`
	// Types are in the order in which they are subscribed to.
	Types []TypeState `json:"types"`
}

// TypeState is about one type of resources.
type TypeState struct {
	TypeURL   string `json:"typeUrl"`
	Version   string `json:"version"` // of the last response
	Resources int    `json:"resources"`
	Responses uint64 `json:"responses"`
	// NACKs are responses of which at least one resource was refused.
	NACKs      uint64    `json:"nacks"`
	LastError  string    `json:"lastError,omitempty"` // of the last NACK; "": the last response was fine
	LastUpdate time.Time `json:"lastUpdate"`
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
