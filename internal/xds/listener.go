// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"fmt"
	"net/netip"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/proto/core"
	"github.com/kmesh-net/kmesh-node/proto/listener"
)

// Names of the listeners into which Istio captures traffic. They stand in the way of
// no service.
var captureListeners = map[string]bool{"virtualInbound": true, "virtualOutbound": true}

// newListener is a Listener as a control plane sent it: one message for each of its
// addresses, and notes about addresses that are none.
type newListener struct {
	msgs  []*listener.Listener
	notes []string
}

// toListener converts a Listener of Envoy's.
func toListener(l *listenerv3.Listener) (*newListener, error) {
	n := &newListener{}
	if l.GetInternalListener() != nil {
		n.notes = append(n.notes, "internal listener: no connection is opened to it")
		return n, nil
	}
	if l.GetApiListener() != nil {
		n.notes = append(n.notes, "API listener: no connection is opened to it")
		return n, nil
	}
	addrs, err := n.addresses(l)
	if err != nil {
		return nil, err
	}
	m := &listener.Listener{Name: l.GetName()}
	if err := fillListener(m, l); err != nil {
		return nil, err
	}
	for _, a := range addrs {
		each := shallow(m)
		each.Address = a
		n.msgs = append(n.msgs, each)
	}
	return n, nil
}

// addresses returns the addresses of l that a connection can be opened to.
func (n *newListener) addresses(l *listenerv3.Listener) ([]*core.SocketAddress, error) {
	var all []*core.SocketAddress
	add := func(a *corev3.Address) error {
		addr, text, err := toAddress(a)
		if err != nil {
			return err
		}
		if addr == nil {
			n.notes = append(n.notes, fmt.Sprintf("address %s: no connection is opened to it", text))
			return nil
		}
		all = append(all, addr)
		ap, err := config.AddrPort(addr)
		if err == nil && ap.Addr() == netip.IPv6Unspecified() && a.GetSocketAddress().GetIpv4Compat() {
			v4 := config.SocketAddress(netip.AddrPortFrom(netip.IPv4Unspecified(), ap.Port()))
			v4.Protocol = addr.Protocol
			all = append(all, v4)
		}
		return nil
	}
	if err := add(l.GetAddress()); err != nil {
		return nil, in("address", err)
	}
	for i, a := range l.GetAdditionalAddresses() {
		if err := add(a.GetAddress()); err != nil {
			return nil, inItem("additional_addresses", i, in("address", err))
		}
	}
	return all, nil
}

func fillListener(m *listener.Listener, l *listenerv3.Listener) error {
	m.Passthrough = captureListeners[l.GetName()] || l.GetUseOriginalDst().GetValue() ||
		l.GetTrafficDirection() == corev3.TrafficDirection_INBOUND
	c := &chains{}
	for i, f := range l.GetFilterChains() {
		chain, err := c.convert(f, chainName(f, fmt.Sprintf("filter chain %d", i)))
		if err != nil {
			return inItem("filter_chains", i, err)
		}
		m.FilterChains = append(m.FilterChains, chain)
	}
	// Of chains that match alike the first is taken: one that also asks for what
	// is unknown stands before its fallback, so that nothing is guessed.
	m.FilterChains = c.unknownFirst(m.FilterChains)
	if f := l.GetDefaultFilterChain(); f != nil {
		chain, err := c.convert(f, chainName(f, "default filter chain"))
		if err != nil {
			return in("default_filter_chain", err)
		}
		m.DefaultFilterChain = chain
	}
	if m.Passthrough {
		return nil // whatever its chains ask for, nothing comes to them
	}
	m.Notes = c.notes
	if l.GetFilterChainMatcher() != nil {
		m.Passthrough = true
		m.Notes = append(m.Notes, "filter_chain_matcher"+passes)
	}
	if l.GetFcdsConfig() != nil {
		m.Notes = append(m.Notes, "fcds_config: filter chains that stand in another collection are not read")
	}
	return nil
}

func chainName(f *listenerv3.FilterChain, other string) string {
	if f.GetName() != "" {
		return "filter chain " + Clip(f.GetName())
	}
	return other
}

// shallow returns a message with m's fields, which stay shared.
func shallow[M proto.Message](m M) M {
	out := m.ProtoReflect().New()
	m.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		out.Set(f, v)
		return true
	})
	return out.Interface().(M)
}

// textOf returns an address for people: as it is, or the text that stands for it.
func textOf(a *core.SocketAddress, text string) string {
	if s, err := config.FormatAddress(a); a != nil && err == nil {
		return s
	}
	return text
}
