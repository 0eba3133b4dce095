// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/kmesh-net/kmesh-node/proto/core"
)

// udpSuffix marks a UDP address in its readable form.
const udpSuffix = "/udp"

// SocketAddress returns the message form of a TCP address: port and ipv4 hold
// network byte order in memory, whatever the host's. An IPv4-mapped IPv6 address
// becomes IPv4; a zone is dropped.
func SocketAddress(ap netip.AddrPort) *core.SocketAddress {
	a := &core.SocketAddress{Port: uint32(netOrder16(ap.Port()))}
	ip := ap.Addr().Unmap()
	if ip.Is4() {
		b := ip.As4()
		a.Ipv4 = binary.NativeEndian.Uint32(b[:])
	} else {
		b := ip.As16()
		a.Ipv6 = b[:]
	}
	return a
}

// AddrPort returns what a says, IPv4 as IPv4 even where it came mapped. It is an
// error if a is nil, its port is more than 16 bits or its ipv6 not 16 bytes.
func AddrPort(a *core.SocketAddress) (netip.AddrPort, error) {
	if a == nil {
		return netip.AddrPort{}, errors.New("no address")
	}
	if a.Port > 0xffff {
		return netip.AddrPort{}, fmt.Errorf("port %#x is not 16 bits in network byte order", a.Port)
	}
	port := netOrder16(uint16(a.Port))
	switch len(a.Ipv6) {
	case 0:
		var b [4]byte
		binary.NativeEndian.PutUint32(b[:], a.Ipv4)
		return netip.AddrPortFrom(netip.AddrFrom4(b), port), nil
	case 16:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(a.Ipv6)).Unmap(), port), nil
	}
	return netip.AddrPort{}, fmt.Errorf("ipv6 has %d bytes, not 16", len(a.Ipv6))
}

// FormatAddress returns a as "10.0.0.1:80" or "[2001:db8::1]:80", with "/udp" after
// it where the protocol is UDP. Errors as AddrPort.
func FormatAddress(a *core.SocketAddress) (string, error) {
	ap, err := AddrPort(a)
	if err != nil {
		return "", err
	}
	if a.Protocol == core.SocketAddress_UDP {
		return ap.String() + udpSuffix, nil
	}
	return ap.String(), nil
}

// ParseAddress reads the form that FormatAddress writes.
func ParseAddress(s string) (*core.SocketAddress, error) {
	host, udp := strings.CutSuffix(s, udpSuffix)
	ap, err := netip.ParseAddrPort(host)
	if err != nil {
		return nil, fmt.Errorf("%q is not an address such as 10.0.0.1:80 or [2001:db8::1]:80", s)
	}
	if ap.Addr().Zone() != "" {
		return nil, fmt.Errorf("%q has a zone", s)
	}
	a := SocketAddress(ap)
	if udp {
		a.Protocol = core.SocketAddress_UDP
	}
	return a, nil
}

// netOrder16 swaps between a port and the number whose bytes in memory are that
// port in network byte order.
func netOrder16(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}
