// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"net"
	"net/netip"
	"strconv"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/proto/core"
)

// toAddress converts an address of Envoy's. Where it is valid but no IP address, addr
// is nil and text says what stands there.
func toAddress(a *corev3.Address) (addr *core.SocketAddress, text string, err error) {
	switch a := a.GetAddress().(type) {
	case *corev3.Address_SocketAddress:
		addr, text, err = toSocketAddress(a.SocketAddress)
		return addr, text, in("socket_address", err)
	case *corev3.Address_Pipe:
		return nil, "pipe " + Clip(a.Pipe.GetPath()), nil
	case *corev3.Address_EnvoyInternalAddress:
		return nil, "internal listener " + Clip(a.EnvoyInternalAddress.GetServerListenerName()), nil
	}
	return nil, "", wrong("is missing")
}

func toSocketAddress(s *corev3.SocketAddress) (*core.SocketAddress, string, error) {
	var port uint32
	switch p := s.GetPortSpecifier().(type) {
	case *corev3.SocketAddress_PortValue:
		port = p.PortValue
	case *corev3.SocketAddress_NamedPort:
		return nil, "named port " + Clip(p.NamedPort), nil
	}
	if err := checkPort(port); err != nil {
		return nil, "", in("port_value", err)
	}
	if s.GetAddress() == "" {
		return nil, "", in("address", wrong("is empty"))
	}
	ip, err := netip.ParseAddr(s.GetAddress())
	if err != nil || ip.Zone() != "" {
		return nil, net.JoinHostPort(Clip(s.GetAddress()), strconv.Itoa(int(port))), nil
	}
	a := config.SocketAddress(netip.AddrPortFrom(ip, uint16(port)))
	switch s.GetProtocol() {
	case corev3.SocketAddress_TCP:
	case corev3.SocketAddress_UDP:
		a.Protocol = core.SocketAddress_UDP
	default:
		return nil, "", in("protocol", wrong("%d is unknown", s.GetProtocol()))
	}
	return a, "", nil
}

func checkPort(port uint32) error {
	if port < 1 || port > 65535 {
		return wrong("port %d is not 1..65535", port)
	}
	return nil
}

// toSeconds rounds a duration up to whole seconds; nil is 0.
func toSeconds(d *durationpb.Duration) (uint32, error) {
	if d == nil {
		return 0, nil
	}
	if err := d.CheckValid(); err != nil {
		return 0, wrong("%s", tidy(err))
	}
	s := d.GetSeconds()
	if d.GetNanos() > 0 {
		s++
	}
	if s < 0 || d.GetNanos() < 0 {
		return 0, wrong("%s is negative", d.AsDuration())
	}
	if s > int64(^uint32(0)) {
		return 0, wrong("%d seconds are more than %s", s, time.Duration(^uint32(0))*time.Second)
	}
	return uint32(s), nil
}
