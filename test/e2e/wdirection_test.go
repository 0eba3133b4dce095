// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// denyAll lets nobody in, anywhere.
func denyAll() doc {
	return policies(with(policy("deny-all", "GLOBAL", "DENY", onlyWhen()), "namespace", "istio-system"))
}

// line is a connection whose ends both take and give lines.
type line struct {
	t    testing.TB
	near net.Conn
	far  net.Conn
}

// call connects from one pod to an address that another listens on.
func call(t testing.TB, from, to *pod, addr string) *line {
	t.Helper()
	return callAt(t, from, to, addr, addr)
}

func callAt(t testing.TB, from, to *pod, listen, addr string) *line {
	t.Helper()
	l := to.listen(listen)
	var d *line
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			accepted <- c
		}
		close(accepted)
	}()
	err := inNamespace(from.path, func() error {
		c, err := net.DialTimeout("tcp", addr, patience)
		d = &line{t: t, near: c}
		return err
	})
	if err != nil {
		t.Fatalf("connect to %s: %v", addr, err)
	}
	t.Cleanup(func() { d.near.Close() })
	select {
	case d.far = <-accepted:
		t.Cleanup(func() { d.far.Close() })
	case <-time.After(patience):
		t.Fatalf("connection to %s was never accepted", addr)
	}
	if err := l.Close(); err != nil { // who accepted it is gone
		t.Fatal(err)
	}
	return d
}

// pass sends a line each way and returns the first error.
func (d *line) pass() error {
	for _, x := range []struct{ from, to net.Conn }{{d.near, d.far}, {d.far, d.near}} {
		if err := x.from.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		if err := x.to.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		if _, err := io.WriteString(x.from, "hello\n"); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		if got, err := bufio.NewReader(x.to).ReadString('\n'); err != nil || got != "hello\n" {
			return fmt.Errorf("read %q: %w", got, err)
		}
	}
	return nil
}

func (d *line) wantAlive(when string) {
	d.t.Helper()
	if err := d.pass(); err != nil {
		d.t.Errorf("%s: %v", when, err)
	}
}

// wantReset asks for both ends to learn at the client's next line that it is over.
func (d *line) wantReset(when string) {
	d.t.Helper()
	if _, err := io.WriteString(d.near, "hello\n"); err != nil {
		d.t.Errorf("%s: write: %v", when, err)
	}
	for side, c := range map[string]net.Conn{"server": d.far, "client": d.near} {
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			d.t.Fatal(err)
		}
		// The client's side is told when it writes: its line was taken, not answered.
		err := eventually(func() error {
			if side == "client" {
				if _, err := io.WriteString(c, "more\n"); err != nil {
					return nil
				}
			}
			if err := c.SetReadDeadline(time.Now().Add(time.Second / 4)); err != nil {
				return err
			}
			_, err := c.Read(make([]byte, 64))
			if err == nil {
				return fmt.Errorf("data still arrives")
			}
			if ne, ok := err.(net.Error); ok && ne.Timeout() {
				return fmt.Errorf("no reset yet")
			}
			if err == io.EOF {
				return fmt.Errorf("end of file, not a reset")
			}
			return nil
		})
		if err != nil {
			d.t.Errorf("%s: the %s's side: %v", when, side, err)
		}
	}
}

func TestOwnConnectionsAreNotJudgedByInboundPolicies(t *testing.T) {
	for name, x := range map[string]struct{ own, other string }{
		"IPv4": {serverIP, clientIP}, "IPv6": {serverIP6, clientIP6},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMesh(t)
			p, other := m.pod(x.own), m.pod(x.other)
			m.apply(wds(wpod("p", x.own)), denyAll())
			before := call(t, p, other, at(x.other, 7001))
			m.enroll(p)
			before.wantAlive("enrolled late")
			after := call(t, p, other, at(x.other, 7002))
			after.wantAlive("opened under management")

			m.want(exitDone, "unenroll", "--netns", p.path)
			m.enroll(p)
			before.wantAlive("enrolled again")
			m.up()
			before.wantAlive("up again")
			m.up("--flow-entries", "128") // verdicts are lost, programs loaded anew
			before.wantAlive("up with other settings")
			m.apply(policies(policy("p", "NAMESPACE", "DENY", onlyWhen())))
			before.wantAlive("policies changed")
			for i := range 300 { // far more than there are entries
				d := call(t, p, other, at(x.other, 8000+i))
				d.wantAlive("one of many")
				if t.Failed() {
					return
				}
			}
			before.wantAlive("its entry was lost")
			after.wantAlive("its entry was lost")
			// And who calls in is judged all the same.
			p.serve(at(x.own, 7000))
			if err := (probe{other.client(0), at(x.own, 7000)}).try(); err != unix.ECONNREFUSED {
				t.Errorf("inbound: %v, want the connection to be denied", err)
			}
		})
	}
}

func TestNodesOwnTrafficIsExemptByDefault(t *testing.T) {
	m := newMesh(t)
	p := m.enrolled(serverIP, serverIP6)
	p.serve(at(serverIP, 8080), at(serverIP6, 8080))
	m.apply(wds(with(wpod("p", serverIP), "addresses", [][]byte{ipBytes(serverIP), ipBytes(serverIP6)})), denyAll())
	host, stranger := m.net.node.client(0), m.pod(clientIP).client(0)
	check := func(want error) {
		t.Helper()
		for _, to := range []string{at(serverIP, 8080), at(serverIP6, 8080)} {
			if err := (probe{host, to}).try(); err != want {
				t.Errorf("the node to %s: %v, want %v", to, err, want)
			}
		}
		if err := (probe{stranger, at(serverIP, 8080)}).try(); err != unix.ECONNREFUSED {
			t.Errorf("another pod: %v, want it to be denied", err)
		}
	}
	check(nil)
	m.up("--node-traffic", "judge")
	check(unix.ECONNREFUSED)
	m.up("--node-traffic", "exempt")
	check(nil)
	if r := m.want(exitDone, "status"); !contains(r.out, nodeIP4) {
		t.Errorf("%v\ndoes not show that %s is exempt", r, nodeIP4)
	}
}

func TestOnlyTCPIsJudged(t *testing.T) {
	m := newMesh(t)
	p := m.enrolled(serverIP, serverIP6)
	p.serve(at(serverIP, 8080))
	p.serveUDP(at(serverIP, 53))
	p.serveUDP(at(serverIP6, 53))
	m.apply(wds(wpod("p", serverIP)), denyAll())
	c := m.pod(clientIP, clientIP6).client(0)
	if err := (probe{c, at(serverIP, 8080)}).try(); err != unix.ECONNREFUSED {
		t.Errorf("TCP: %v, want the connection to be denied", err)
	}
	for _, to := range []string{at(serverIP, 53), at(serverIP6, 53)} {
		var got string
		c.do(func() { got = askUDP(to) })
		if got != to {
			t.Errorf("UDP to %s: %s", to, got)
		}
	}
	for _, ip := range []string{serverIP, serverIP6} {
		var err error
		c.do(func() { err = ping(ip) })
		if err != nil {
			t.Errorf("ping %s: %v", ip, err)
		}
	}
}

// ping sends an ICMP echo request and waits for its reply.
func ping(ip string) error {
	to := netip.AddrPortFrom(netip.MustParseAddr(ip), 0)
	proto, request, reply, skip := unix.IPPROTO_ICMP, byte(8), byte(0), 20
	if to.Addr().Is6() {
		proto, request, reply, skip = unix.IPPROTO_ICMPV6, 128, 129, 0
	}
	fd, err := unix.Socket(family(to), unix.SOCK_RAW|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	timeout := unix.NsecToTimeval(patience.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return err
	}
	// The checksum of type, code, and an identifier that makes it simple; for ICMPv6
	// the kernel makes its own.
	msg := []byte{request, 0, ^request, 0xff, 0, 0, 0, 0}
	if err := unix.Sendto(fd, msg, 0, sockaddr(to)); err != nil {
		return err
	}
	buf := make([]byte, 128)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n > skip && buf[skip] == reply {
			return nil
		}
	}
}
