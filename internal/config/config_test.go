// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/proto/cluster"
	"github.com/kmesh-net/kmesh-node/proto/core"
	"github.com/kmesh-net/kmesh-node/proto/endpoint"
	"github.com/kmesh-net/kmesh-node/proto/listener"
	"github.com/kmesh-net/kmesh-node/proto/route"
)

// The wire contract: the bytes in memory are in network byte order.
func TestSocketAddressIsInNetworkOrder(t *testing.T) {
	a := SocketAddress(netip.MustParseAddrPort("10.1.2.3:258"))
	mem := binary.NativeEndian.AppendUint32(nil, a.Ipv4)
	if string(mem) != "\x0a\x01\x02\x03" {
		t.Errorf("ipv4 in memory is % x", mem)
	}
	mem = binary.NativeEndian.AppendUint16(nil, uint16(a.Port))
	if string(mem) != "\x01\x02" {
		t.Errorf("port in memory is % x", mem)
	}
}

func TestAddressRoundTrip(t *testing.T) {
	for _, s := range []string{"10.0.0.1:80", "0.0.0.0:65535", "[::]:1", "[2001:db8::1]:443", "10.0.0.1:53/udp"} {
		a, err := ParseAddress(s)
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		got, err := FormatAddress(a)
		if err != nil || got != s {
			t.Errorf("%s: got %s, %v", s, got, err)
		}
	}
	a, err := ParseAddress("[::ffff:10.0.0.1]:80")
	if err != nil || len(a.Ipv6) != 0 {
		t.Errorf("mapped address: %v, %v; want IPv4", a, err)
	}
	for _, s := range []string{"", "10.0.0.1", "10.0.0.1:65536", "[fe80::1%eth0]:80", "host:80", "10.0.0.1:80/tcp"} {
		if a, err := ParseAddress(s); err == nil {
			t.Errorf("%q: got %v, want an error", s, a)
		}
	}
}

func TestAddrPortRefusesJunk(t *testing.T) {
	for _, a := range []*core.SocketAddress{nil, {Port: 1 << 16}, {Ipv6: []byte{1}}} {
		if ap, err := AddrPort(a); err == nil {
			t.Errorf("%v: got %v, want an error", a, ap)
		}
	}
}

func TestKinds(t *testing.T) {
	addr := SocketAddress(netip.MustParseAddrPort("10.0.0.1:80"))
	for _, c := range []struct {
		m         proto.Message
		kind      Kind
		key, name string
	}{
		{&listener.Listener{Name: "l", Address: addr}, Listener, "10.0.0.1:80", "l"},
		{&listener.Listener{Name: "l"}, Listener, "", "l"},
		{&cluster.Cluster{Name: "c"}, Cluster, "c", "c"},
		{&route.RouteConfiguration{Name: "r"}, Route, "r", "r"},
		{&endpoint.ClusterLoadAssignment{ClusterName: "c"}, 0, "", ""},
		{&route.VirtualHost{Name: "v"}, 0, "", ""},
	} {
		if k := KindOf(c.m); k != c.kind {
			t.Errorf("%T: kind %v, want %v", c.m, k, c.kind)
		}
		if k := KeyOf(c.m); k != c.key {
			t.Errorf("%T: key %q, want %q", c.m, k, c.key)
		}
		if n := NameOf(c.m); n != c.name {
			t.Errorf("%T: name %q, want %q", c.m, n, c.name)
		}
	}
}
