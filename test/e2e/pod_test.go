// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// pod is a network namespace in which every address of a test lives on one device:
// on lo, services and endpoints alike, or on the NIC of a pod of a fabric.
type pod struct {
	t    testing.TB
	name string
	path string
	dev  string
	has  map[netip.Addr]bool
}

var podCount int

func newPod(t testing.TB) *pod {
	t.Helper()
	podCount++
	p := &pod{t: t, name: fmt.Sprintf("pod%d", podCount), dev: "lo", has: map[netip.Addr]bool{}}
	p.path = "/run/netns/" + p.name
	run(t, "", "ip", "netns", "add", p.name)
	t.Cleanup(func() { run(t, "", "ip", "netns", "del", p.name) })
	run(t, "", "ip", "-n", p.name, "link", "set", "lo", "up")
	return p
}

func run(t testing.TB, stdin, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s%s", cmd, err, stdin, out)
	}
}

// addresses gives the hosts of these addresses to the pod's device.
func (p *pod) addresses(addrs ...string) {
	p.t.Helper()
	var batch strings.Builder
	for _, a := range addrs {
		ip := netip.MustParseAddrPort(a).Addr()
		if p.has[ip] {
			continue
		}
		p.has[ip] = true
		fmt.Fprintf(&batch, "addr add %s/%d dev %s%s\n", ip, ip.BitLen(), p.dev, noDAD(ip))
	}
	if batch.Len() == 0 {
		return
	}
	run(p.t, batch.String(), "ip", "-n", p.name, "-batch", "-")
	// The kernel takes up IPv6 addresses in its own time, on lo too.
	if err := eventually(func() error {
		out, err := exec.Command("ip", "-6", "-n", p.name, "addr", "show", "tentative").Output()
		if err == nil && len(out) > 0 {
			err = fmt.Errorf("still tentative: %s", out)
		}
		return err
	}); err != nil {
		p.t.Fatal(err)
	}
}

// noDAD spares an IPv6 address the search for duplicates.
func noDAD(ip netip.Addr) string {
	if ip.Is4() {
		return ""
	}
	return " nodad"
}

// serve listens on each address. A connection is told the address that it
// reached, and stays open until the client closes it.
func (p *pod) serve(addrs ...string) {
	p.t.Helper()
	p.addresses(addrs...)
	for _, a := range addrs {
		l := p.listen(a)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return // closed: the test is over
				}
				go answer(c, a)
			}
		}()
	}
}

// answer ends when the client closes; how it did so is no concern here.
func answer(c net.Conn, text string) {
	defer c.Close()
	if _, err := io.WriteString(c, text+"\n"); err != nil {
		return
	}
	io.Copy(io.Discard, c)
}

// serveFast listens on each address for very many connections: each is accepted
// and closed at once.
func (p *pod) serveFast(addrs ...string) {
	p.t.Helper()
	p.addresses(addrs...)
	for _, a := range addrs {
		l := p.listen(a)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return // closed: the test is over
				}
				c.Close()
			}
		}()
	}
}

func (p *pod) listen(addr string) *net.TCPListener {
	p.t.Helper()
	var l *net.TCPListener
	err := inNamespace(p.path, func() (err error) {
		l, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
		return err
	})
	if err != nil {
		p.t.Fatalf("listen on %s in %s: %v", addr, p.name, err)
	}
	p.t.Cleanup(func() { l.Close() })
	return l
}

// listenFor listens with room for so many connections, and one more, that wait to
// be accepted, and accepts none. It returns the socket.
func (p *pod) listenFor(addr string, room int) int {
	p.t.Helper()
	at := netip.MustParseAddrPort(addr)
	fd := -1
	err := inNamespace(p.path, func() (err error) {
		if fd, err = unix.Socket(family(at), unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		p.t.Cleanup(func() { unix.Close(fd) })
		if err = unix.Bind(fd, sockaddr(at)); err != nil {
			return err
		}
		return unix.Listen(fd, room)
	})
	if err != nil {
		p.t.Fatalf("listen on %s in %s: %v", addr, p.name, err)
	}
	return fd
}

// serveUDP answers every datagram with the address that it reached.
func (p *pod) serveUDP(addr string) {
	p.t.Helper()
	p.addresses(addr)
	var c *net.UDPConn
	err := inNamespace(p.path, func() (err error) {
		c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
		return err
	})
	if err != nil {
		p.t.Fatalf("listen on UDP %s in %s: %v", addr, p.name, err)
	}
	p.t.Cleanup(func() { c.Close() })
	go func() {
		buf := make([]byte, 64)
		for {
			_, from, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				return // closed: the test is over
			}
			if _, err := c.WriteToUDPAddrPort([]byte(addr), from); err != nil {
				return
			}
		}
	}()
}

// blackHole makes a device behind which nothing ever answers, with the network
// of cidr; connections to host time out.
func (p *pod) blackHole(cidr, host string) {
	p.t.Helper()
	void := newPod(p.t)
	run(p.t, "", "ip", "-n", p.name, "link", "add", "hole", "type", "veth", "peer", "name", "hole", "netns", void.name)
	run(p.t, "", "ip", "-n", void.name, "link", "set", "hole", "up")
	run(p.t, "", "ip", "-n", p.name, "link", "set", "hole", "up")
	run(p.t, "", "ip", "-n", p.name, "addr", "add", cidr, "dev", "hole", "nodad")
	run(p.t, "", "ip", "-n", p.name, "neigh", "add", host, "lladdr", "02:00:00:00:00:01", "dev", "hole", "nud", "permanent")
}

// cookie returns the kernel's name for the pod's network namespace.
func (p *pod) cookie() uint64 {
	p.t.Helper()
	var cookie uint64
	err := inNamespace(p.path, func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		cookie, err = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return cookie
}
