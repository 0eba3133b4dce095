// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// client is a thread in a pod, on one CPU, that makes connections.
type client struct {
	t    testing.TB
	work chan func()
}

// client starts a client on this CPU, counted from 0 among those that the tests
// may use.
func (p *pod) client(cpu int) *client {
	p.t.Helper()
	c := &client{t: p.t, work: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is not used again
		err := enterNamespace(p.path)
		if err == nil {
			err = pinTo(cpu)
		}
		ready <- err
		for fn := range c.work {
			fn()
		}
	}()
	if err := <-ready; err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { close(c.work) })
	return c
}

// cpus returns the CPUs that this process may run on.
func cpus() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, err
	}
	var list []int
	for i := range len(set) * 64 {
		if set.IsSet(i) {
			list = append(list, i)
		}
	}
	return list, nil
}

func pinTo(n int) error {
	list, err := cpus()
	if err != nil {
		return err
	}
	var set unix.CPUSet
	set.Set(list[n%len(list)])
	return unix.SchedSetaffinity(0, &set)
}

// do runs fn on the client's thread.
func (c *client) do(fn func()) {
	done := make(chan struct{})
	c.work <- func() { fn(); close(done) }
	<-done
}

// reach connects to dst, and returns the address that the connection reached by
// the peer's own word; or the error as text.
func (c *client) reach(dst string) (reached string) {
	c.do(func() {
		conn, err := open(dst)
		if err != nil {
			reached = err.Error()
			return
		}
		defer conn.close()
		text, err := conn.read()
		if err != nil {
			reached = fmt.Sprintf("%v: read: %v", conn.peer, err)
			return
		}
		// An IPv4 peer of an IPv6 socket is ::ffff:a.b.c.d to the kernel.
		peer := netip.AddrPortFrom(conn.peer.Addr().Unmap(), conn.peer.Port()).String()
		if reached = text; text != peer {
			reached = fmt.Sprintf("%s by its own word, %s by the kernel's", text, peer)
		}
	})
	return reached
}

// spread makes n connections and counts by where they went: the peer's address,
// or the error.
func (c *client) spread(dst string, n int) counts {
	to := netip.MustParseAddrPort(dst)
	got := map[target]int{}
	c.do(func() {
		for range n {
			got[connect(to)]++
		}
	})
	return name(got)
}

// counts says how many connections reached each address or ended in each error.
type counts map[string]int

func name(got map[target]int) counts {
	c := counts{}
	for k, v := range got {
		c[k.String()] += v
	}
	return c
}

func (c counts) String() string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(c)) {
		fmt.Fprintf(&b, " %s:%d", k, c[k])
	}
	return b.String()
}

// target is where one connection went.
type target struct {
	peer netip.AddrPort
	err  error
}

func (x target) String() string {
	if x.err != nil {
		return x.err.Error()
	}
	return x.peer.String()
}

// connect opens a connection and aborts it, so that no TIME_WAIT uses up ports.
func connect(dst netip.AddrPort) target {
	conn, err := dial(dst)
	if err != nil {
		return target{err: err}
	}
	conn.close()
	return target{peer: conn.peer}
}

// conn is an open connection.
type conn struct {
	fd   int
	peer netip.AddrPort
}

func open(dst string) (*conn, error) { return dial(netip.MustParseAddrPort(dst)) }

func dial(dst netip.AddrPort) (*conn, error) { return dialFor(dst, 0) }

// dialFor has the kernel give up after a time where that is not 0.
func dialFor(dst netip.AddrPort, patience time.Duration) (*conn, error) {
	fd, err := unix.Socket(family(dst), unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	c := &conn{fd: fd}
	if err := c.connect(dst, patience); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func family(a netip.AddrPort) int {
	if a.Addr().Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func (c *conn) connect(dst netip.AddrPort, patience time.Duration) error {
	if err := unix.SetsockoptLinger(c.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return fmt.Errorf("set linger: %w", err)
	}
	if patience > 0 {
		if err := unix.SetsockoptInt(c.fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(patience.Milliseconds())); err != nil {
			return fmt.Errorf("set user time-out: %w", err)
		}
	}
	err := unix.Connect(c.fd, sockaddr(dst))
	if errors.Is(err, unix.EINTR) {
		err = c.finish()
	}
	if err != nil {
		return err
	}
	peer, err := unix.Getpeername(c.fd)
	if err != nil {
		return fmt.Errorf("getpeername: %w", err)
	}
	c.peer = addrPort(peer)
	return nil
}

// finish waits for a connect that a signal of the Go runtime interrupted.
func (c *conn) finish() error {
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLOUT}}, -1)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("poll: %w", err)
		}
	}
	errno, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = unix.Errno(errno)
	}
	return err
}

// read returns the line that the server sends.
func (c *conn) read() (string, error) {
	timeout := unix.NsecToTimeval(patience.Nanoseconds())
	if err := unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(reader(c.fd)).ReadString('\n')
	return strings.TrimSpace(line), err
}

// reader is a socket's descriptor as an io.Reader.
type reader int

func (r reader) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(int(r), b)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if n == 0 && err == nil {
			return 0, os.ErrClosed
		}
		return max(n, 0), err
	}
}

// close resets the connection, for that linger is on with no time.
func (c *conn) close() { unix.Close(c.fd) }

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
	}
	return netip.AddrPort{}
}

// wantSpread asks for exactly these counts of n connections from one CPU.
func wantSpread(t testing.TB, c *client, dst string, want counts) {
	t.Helper()
	n := 0
	for _, v := range want {
		n += v
	}
	if got := c.spread(dst, n); !maps.Equal(got, want) {
		t.Errorf("%d connections to %s went\n%v, want\n%v", n, dst, got, want)
	}
}

// wantReach asks for one connection to dst to reach this address.
func wantReach(t testing.TB, c *client, dst, want string) {
	t.Helper()
	if got := c.reach(dst); got != want {
		t.Errorf("a connection to %s reached %s, want %s", dst, got, want)
	}
}

// begin starts a connect and does not wait for its end.
func begin(dst string) (int, error) {
	to := netip.MustParseAddrPort(dst)
	fd, err := unix.Socket(family(to), unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	return fd, unix.Connect(fd, sockaddr(to))
}

// impatient is connect with the kernel giving up after a second instead of minutes.
func impatient(dst string) string {
	c, err := dialFor(netip.MustParseAddrPort(dst), time.Second/2)
	if err != nil {
		return err.Error()
	}
	defer c.close()
	return c.peer.String()
}
