// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// disconnect makes a socket one that was never connected, and can connect again.
func disconnect(fd int) error {
	var unspec unix.RawSockaddr
	_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&unspec)), unsafe.Sizeof(unspec))
	if errno != 0 {
		return fmt.Errorf("disconnect: %w", errno)
	}
	return nil
}

// received is what came of a connection whose client has ended its side.
func received(records <-chan []byte) ([]byte, error) {
	select {
	case data := <-records:
		return data, nil
	case <-time.After(patience):
		return nil, errors.New("nothing was received")
	}
}

// A socket that connects more than once carries what belongs to the connection that it
// is at: metadata to a waypoint, each time, and nothing where it goes directly, though
// it was on its way to a waypoint before.
func TestSocketIsConnectedAgain(t *testing.T) {
	m := newMesh(t)
	c := m.enrolled(clientIP).client(0)
	const gone = "10.4.0.9"
	way := m.pod(gone)
	wayGot, otherGot, plainGot := way.record(at(wp1, plainPort)), way.record(at(wp2, plainPort)), way.record(at(wp2, 8080))
	m.apply(wds(serviceA("waypoint", byIP(wp1)), with(wsvc("b", vips("10.96.0.2"), wport(80, 8080)), "waypoint", byIP(gone)),
		a1(), wpod("b1", ip2, serves("b", wport(80, 8080)))))
	const vipB = "10.96.0.2:80"
	meta := append(metadata(vipA), 'x')

	connect := func(fd int, dst string) error { return unix.Connect(fd, sockaddr(netip.MustParseAddrPort(dst))) }
	step := func(fd int, dst string, records <-chan []byte, want []byte) error {
		if err := connect(fd, dst); err != nil {
			return fmt.Errorf("connect to %s: %w", dst, err)
		}
		if err := errors.Join(writeAll(fd, []byte("x")), unix.Shutdown(fd, unix.SHUT_WR)); err != nil {
			return err
		}
		got, err := received(records)
		if err == nil && !bytes.Equal(got, want) {
			err = fmt.Errorf("%s received % x, want % x", dst, got, want)
		}
		return err
	}
	for name, fn := range map[string]func(fd int) error{
		"through the waypoint each time": func(fd int) error {
			for range 3 {
				if err := errors.Join(step(fd, vipA, wayGot, meta), disconnect(fd)); err != nil {
					return err
				}
			}
			return nil
		},
		"refused by a waypoint, then directly to its port": func(fd int) error {
			if err := connect(fd, vipB); !errors.Is(err, unix.ECONNREFUSED) {
				return fmt.Errorf("connect to %s: %v, want a refusal", vipB, err)
			}
			return step(fd, at(wp2, plainPort), otherGot, []byte("x"))
		},
		"to a waypoint without a word, then directly": func(fd int) error {
			if err := errors.Join(connect(fd, vipA), disconnect(fd)); err != nil {
				return err
			}
			if _, err := received(wayGot); err != nil { // it ends there with a reset
				return err
			}
			return step(fd, at(wp2, 8080), plainGot, []byte("x"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.do(func() {
				fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
				if err != nil {
					t.Error(err)
					return
				}
				if err := errors.Join(fn(fd), unix.Close(fd)); err != nil {
					t.Error(err)
				}
			})
		})
	}
	if got := m.counted("no_waypoint"); got != 0 {
		t.Errorf("no_waypoint is %d", got)
	}
}
