// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// headers are what a socket can put between the address and the TCP header.
var headers = []struct {
	name       string
	to         string
	level, opt int
	value      string
}{
	{"IPv4 options", at(serverIP, 7000), unix.IPPROTO_IP, unix.IP_OPTIONS, "\x01\x01\x01\x00"},
	{"IPv6 hop-by-hop options", at(serverIP6, 7000), unix.IPPROTO_IPV6, unix.IPV6_HOPOPTS, "\x00\x00\x01\x04\x00\x00\x00\x00"},
	{"IPv6 destination options", at(serverIP6, 7000), unix.IPPROTO_IPV6, unix.IPV6_DSTOPTS, "\x00\x00\x01\x04\x00\x00\x00\x00"},
}

// connectWith opens a connection with these headers in each packet.
func connectWith(level, opt int, value, to string) error {
	dst := netip.MustParseAddrPort(to)
	fd, err := unix.Socket(family(dst), unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	c := &conn{fd: fd}
	defer c.close()
	if err := unix.SetsockoptString(fd, level, opt, value); err != nil {
		return fmt.Errorf("set headers: %w", err)
	}
	if err := c.connect(dst, patience); err != nil {
		return err
	}
	_, err = c.read()
	return err
}

func TestHeadersBeforeTCPHideNothing(t *testing.T) {
	m := newMesh(t)
	m.enrolled(serverIP, serverIP6).serve(at(serverIP, 7000), at(serverIP6, 7000))
	c := m.pod(clientIP, clientIP6).client(0)
	for _, x := range []struct {
		name string
		doc  doc
		want error
	}{{"allowed", policies(), nil}, {"denied", denyAll(), unix.ECONNREFUSED}} {
		m.apply(x.doc)
		for _, h := range headers {
			var err error
			c.do(func() { err = connectWith(h.level, h.opt, h.value, h.to) })
			if err != x.want {
				t.Errorf("%s, %s: %v, want %v", x.name, h.name, err, x.want)
			}
		}
	}
}

// A datagram that needs fragments passes, whoever is denied.
func TestFragmentsOfUDPPass(t *testing.T) {
	m := newMesh(t)
	p := m.enrolled(serverIP, serverIP6)
	p.serveUDP(at(serverIP, 53))
	p.serveUDP(at(serverIP6, 53))
	m.apply(denyAll())
	c := m.pod(clientIP, clientIP6).client(0)
	for _, to := range []string{at(serverIP, 53), at(serverIP6, 53)} {
		c.do(func() {
			conn, err := net.Dial("udp", to)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
				t.Error(err)
			}
			if _, err := conn.Write(make([]byte, 5000)); err != nil {
				t.Error(err)
			}
			buf := make([]byte, 64)
			if n, err := conn.Read(buf); err != nil || string(buf[:n]) != to {
				t.Errorf("a datagram of 5000 bytes to %s: %q, %v", to, buf[:n], err)
			}
		})
	}
}
