// SPDX-License-Identifier: Apache-2.0

// Package config names what the store holds: kinds of resources, their keys, and
// the operations that change them. It is pure Go, so that whoever only prepares
// configuration need not link the C store.
package config

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/proto/cluster"
	"github.com/kmesh-net/kmesh-node/proto/listener"
	"github.com/kmesh-net/kmesh-node/proto/route"
)

// MaxName is the longest name of a resource in bytes (KM_MAX_NAME of bpf/abi.h).
const MaxName = 1024

// ErrNotFound says that the store holds no resource of that kind and key.
var ErrNotFound = errors.New("not found")

// Kind is a kind of resource that the store holds. The zero value is none.
type Kind int

// The values are those of enum km_kind in bpf/abi.h.
const (
	Listener Kind = iota + 1
	Cluster
	Route
)

// Kinds lists every kind, in the order in which people read them.
func Kinds() []Kind { return []Kind{Listener, Route, Cluster} }

// String returns the name of k's message: "Listener", "Cluster" or
// "RouteConfiguration".
func (k Kind) String() string {
	switch k {
	case Listener:
		return "Listener"
	case Cluster:
		return "Cluster"
	case Route:
		return "RouteConfiguration"
	}
	return fmt.Sprintf("Kind(%d)", int(k))
}

// Op is one change of the store: Message put in place of what has its key, or,
// with Delete, that key removed. For Delete only the fields of the key count.
type Op struct {
	Delete  bool
	Message proto.Message
}

// KindOf returns the kind of m, or 0 where m is not a resource of the store.
func KindOf(m proto.Message) Kind {
	switch m.(type) {
	case *listener.Listener:
		return Listener
	case *cluster.Cluster:
		return Cluster
	case *route.RouteConfiguration:
		return Route
	}
	return 0
}

// KeyOf returns m's key in the form in which people write it: the name of a
// Cluster or RouteConfiguration, FormatAddress of a Listener's address. It is
// empty where m is no resource, or a Listener whose address is none.
func KeyOf(m proto.Message) string {
	switch m := m.(type) {
	case *listener.Listener:
		key, err := FormatAddress(m.GetAddress())
		if err != nil {
			return ""
		}
		return key
	case *cluster.Cluster:
		return m.GetName()
	case *route.RouteConfiguration:
		return m.GetName()
	}
	return ""
}

// NameOf returns the name that m carries, "" for what is not a resource.
func NameOf(m proto.Message) string {
	if n, ok := m.(interface{ GetName() string }); ok && KindOf(m) != 0 {
		return n.GetName()
	}
	return ""
}
