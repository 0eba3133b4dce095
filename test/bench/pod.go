// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Addresses in a pod. All are local to its loopback device, so that a connection
// works with and without a program that rewrites it.
var (
	service  = netip.MustParseAddrPort("198.51.100.10:8080") // configured
	otherIP  = netip.MustParseAddrPort("198.51.100.11:8080") // a configured port
	nothing  = netip.MustParseAddrPort("198.51.100.10:9090") // nothing on the port
	fleetNet = netip.MustParseAddr("10.0.0.1")               // of all fleets
	backends = []netip.AddrPort{
		netip.MustParseAddrPort("203.0.113.1:8080"),
		netip.MustParseAddrPort("203.0.113.2:8080"),
		netip.MustParseAddrPort("203.0.113.3:8080"),
	}
)

// A pod is a network namespace with listeners on every address of its own.
type pod struct {
	path      string // a bind mount of the namespace
	ns        int
	host      int // the namespace to come back to
	listeners map[uint16]int
	cookie    uint64
}

// newPod makes a namespace. The calling goroutine must own its thread.
func newPod(name string) (p *pod, err error) {
	p = &pod{path: filepath.Join(baseDir, "netns-"+name), listeners: map[uint16]int{}}
	if p.host, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return nil, fmt.Errorf("open own network namespace: %w", err)
	}
	if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("make network namespace: %w", err)
	}
	defer func() { err = errors.Join(err, p.leave()) }()
	if err = os.WriteFile(p.path, nil, 0o600); err != nil {
		return nil, err
	}
	if err = unix.Mount("/proc/thread-self/ns/net", p.path, "", unix.MS_BIND, ""); err != nil {
		return nil, fmt.Errorf("bind network namespace to %s: %w", p.path, err)
	}
	if p.ns, err = unix.Open(p.path, unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return nil, fmt.Errorf("open %s: %w", p.path, err)
	}
	if err = setLoopback(service.Addr(), backends[0].Addr(), fleetNet); err != nil {
		return nil, err
	}
	for _, port := range []uint16{service.Port(), nothing.Port()} {
		fd, err := listen(port)
		if err != nil {
			return nil, err
		}
		p.listeners[port] = fd
		if p.cookie, err = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE); err != nil {
			return nil, fmt.Errorf("read network namespace cookie: %w", err)
		}
	}
	return p, nil
}

func (p *pod) leave() error {
	if err := unix.Setns(p.host, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("leave network namespace: %w", err)
	}
	return nil
}

// inside calls f in the pod, on one CPU.
func (p *pod) inside(f func() error) (err error) {
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return fmt.Errorf("read CPU affinity: %w", err)
	}
	for cpu := range 1024 {
		if all.IsSet(cpu) {
			one.Set(cpu)
			break
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return fmt.Errorf("pin to a CPU: %w", err)
	}
	defer func() { err = errors.Join(err, unix.SchedSetaffinity(0, &all)) }()
	if err := unix.Setns(p.ns, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter %s: %w", p.path, err)
	}
	defer func() { err = errors.Join(err, p.leave()) }()
	return f()
}

// setLoopback brings lo up and gives it addresses; the classful /24 of each becomes
// local as a whole.
func setLoopback(addrs ...netip.Addr) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open control socket: %w", err)
	}
	defer closeFD(fd)
	up, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	up.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, up); err != nil {
		return fmt.Errorf("bring lo up: %w", err)
	}
	for i, a := range addrs {
		r, err := unix.NewIfreq(fmt.Sprintf("lo:%d", i+1))
		if err != nil {
			return err
		}
		if err := r.SetInet4Addr(a.AsSlice()); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(fd, unix.SIOCSIFADDR, r); err != nil {
			return fmt.Errorf("give %s to lo: %w", a, err)
		}
	}
	return nil
}

func listen(port uint16) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(port)}); err != nil {
		return -1, fmt.Errorf("bind port %d: %w", port, err)
	}
	if err := unix.Listen(fd, 128); err != nil {
		return -1, fmt.Errorf("listen on port %d: %w", port, err)
	}
	return fd, nil
}
