// SPDX-License-Identifier: Apache-2.0

package xdp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// netns is a network namespace that lives as long as its thread.
type netns struct {
	t   testing.TB
	tid int
	do  chan func()
}

func newNetns(t testing.TB) *netns {
	t.Helper()
	n := &netns{t: t, do: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this
		n.tid = unix.Gettid()
		ready <- unix.Unshare(unix.CLONE_NEWNET)
		for f := range n.do {
			f()
		}
	}()
	must(t, <-ready)
	t.Cleanup(func() { close(n.do) })
	n.ip("link set lo up")
	return n
}

// in runs f in the namespace.
func (n *netns) in(f func() error) {
	n.t.Helper()
	must(n.t, n.try(f))
}

func (n *netns) try(f func() error) error {
	done := make(chan error)
	n.do <- func() { done <- f() }
	return <-done
}

func (n *netns) ip(args string) {
	n.t.Helper()
	n.in(func() error {
		out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip %s: %w: %s", args, err, out)
		}
		return nil
	})
}

// node is a client's and a pod's namespace with a veth between them, and xdpauth on the
// pod's end.
type node struct {
	*auth
	client, pod *netns
	native      bool
	link        int
}

const xdpGeneric, xdpNative = 2, 4 // XDP_FLAGS_SKB_MODE, XDP_FLAGS_DRV_MODE

const flowEntries = 64

func newNode(t testing.TB, native bool) *node { return newNodeOf(t, native, flowEntries) }

func newNodeOf(t testing.TB, native bool, flows int) *node {
	t.Helper()
	n := &node{auth: load(t, flows), client: newNetns(t), pod: newNetns(t), native: native, link: -1}
	if native {
		n.state.native = 1
	}
	n.client.ip(fmt.Sprintf("link add eth0 type veth peer name eth0 netns %d", n.pod.tid))
	for _, s := range []struct {
		ns    *netns
		addrs []netip.Addr
	}{{n.client, []netip.Addr{client4, client6}}, {n.pod, []netip.Addr{server4, server6}}} {
		s.ns.ip(fmt.Sprintf("addr add %s/24 dev eth0", s.addrs[0]))
		s.ns.ip(fmt.Sprintf("addr add %s/64 dev eth0 nodad", s.addrs[1]))
		s.ns.ip("link set eth0 up")
	}
	for _, a := range []netip.Addr{client4, client6} {
		n.peer(a, peer{identity: 1})
	}
	for _, a := range []netip.Addr{server4, server6} {
		n.peer(a, peer{identity: 2, pset: 1})
	}
	return n
}

// attach puts xdpauth on the pod's NIC.
func (n *node) attach() {
	n.t.Helper()
	n.pod.in(func() error {
		dev, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		flags := uint32(xdpGeneric)
		if n.native {
			flags = xdpNative
		}
		attr := struct{ prog, ifindex, typ, flags uint32 }{uint32(n.prog.FileDescriptor()), uint32(dev.Index), 37 /* BPF_XDP */, flags}
		fd, _, e := unix.Syscall(unix.SYS_BPF, 28 /* BPF_LINK_CREATE */, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
		if e != 0 {
			return fmt.Errorf("attach xdpauth: %w", e)
		}
		n.link = int(fd)
		return nil
	})
	n.t.Cleanup(func() { must(n.t, unix.Close(n.link)) })
}

// ethtool sets one of a device's features by the old calls, which need no program.
func (n *netns) ethtool(command uint32, on bool) error {
	return n.try(func() (err error) {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, unix.Close(fd)) }()
		value := struct{ command, data uint32 }{command: command}
		if on {
			value.data = 1
		}
		req := struct {
			name [16]byte
			data unsafe.Pointer
			_    [16]byte
		}{data: unsafe.Pointer(&value)}
		copy(req.name[:], "eth0")
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req))); e != 0 {
			return e
		}
		return nil
	})
}

// listen opens a listener with the given backlog; 0 is one too.
func (n *netns) listen(addr netip.AddrPort, backlog int) *socket {
	n.t.Helper()
	var s *socket
	n.in(func() (err error) {
		fd, err := unix.Socket(family(addr), unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		s = &socket{n.t, fd}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return err
		}
		if err := unix.Bind(fd, sockaddr(addr)); err != nil {
			return err
		}
		return unix.Listen(fd, backlog)
	})
	return s
}

// dial connects, from a local address where one is given.
func (n *netns) dial(to netip.AddrPort, from netip.AddrPort) (*socket, error) {
	var s *socket
	err := n.try(func() error {
		fd, err := unix.Socket(family(to), unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		s = &socket{n.t, fd}
		if from.IsValid() {
			if err := unix.Bind(fd, sockaddr(from)); err != nil {
				return errors.Join(err, unix.Close(fd))
			}
		}
		tv := unix.NsecToTimeval((5 * time.Second).Nanoseconds())
		err = errors.Join(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv),
			unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv))
		if err == nil {
			err = unix.Connect(fd, sockaddr(to))
		}
		if err != nil {
			return errors.Join(err, unix.Close(fd))
		}
		return nil
	})
	return s, err
}

// socket is a socket that blocks.
type socket struct {
	t  testing.TB
	fd int
}

func (s *socket) accept() *socket {
	s.t.Helper()
	fd, _, err := unix.Accept4(s.fd, unix.SOCK_CLOEXEC)
	must(s.t, err)
	tv := unix.NsecToTimeval((5 * time.Second).Nanoseconds())
	must(s.t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv))
	return &socket{s.t, fd}
}

// port is the local one.
func (s *socket) port() uint16 {
	s.t.Helper()
	a, err := unix.Getsockname(s.fd)
	must(s.t, err)
	if a4, ok := a.(*unix.SockaddrInet4); ok {
		return uint16(a4.Port)
	}
	return uint16(a.(*unix.SockaddrInet6).Port)
}

func (s *socket) close() { must(s.t, unix.Close(s.fd)) }

func (s *socket) write(text string) error {
	_, err := unix.SendmsgN(s.fd, []byte(text), nil, nil, unix.MSG_NOSIGNAL)
	return err
}

// read returns what comes, and the error of the socket: EAGAIN after 5 s of nothing.
func (s *socket) read() (string, error) {
	b := make([]byte, 100)
	n, err := unix.Read(s.fd, b)
	return string(b[:max(n, 0)]), err
}

func family(a netip.AddrPort) int {
	if a.Addr().Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}
