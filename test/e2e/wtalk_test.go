// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"io"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// An application that reads and writes by turns, with a socket that blocks, is
// answered as if there were no waypoint.
func TestConnectionsThroughAWaypointTalkBothWays(t *testing.T) {
	m := newMesh(t)
	c := m.enrolled(clientIP).client(0)
	l := m.pod(wp1).listen(at(wp1, plainPort))
	m.apply(wds(a1("waypoint", byIP(wp1))))
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed: the test is over
			}
			go func() {
				defer conn.Close()
				if _, err := io.CopyN(io.Discard, conn, int64(len(metadata(at(ip1, 80))))); err != nil {
					return
				}
				io.Copy(conn, conn)
			}()
		}
	}()
	c.do(func() {
		conn, err := open(at(ip1, 80))
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.close()
		for _, n := range []int{1, 100, 4000, 60_000, 1, 200_000, 1} {
			want, got := pattern(n), make([]byte, n)
			if err := writeAll(conn.fd, want); err != nil {
				t.Errorf("write of %d bytes: %v", n, err)
				return
			}
			if _, err := io.ReadFull(reader(conn.fd), got); err != nil || !bytes.Equal(got, want) {
				t.Errorf("read of %d bytes: %v, right: %v", n, err, bytes.Equal(got, want))
				return
			}
		}
	})
}

// An application that ends its own side waits for the answer all the same, while
// the end of its side is acknowledged.
func TestHalfClosedConnectionToAWaypointWaitsForItsAnswer(t *testing.T) {
	m := newMesh(t)
	c := m.enrolled(clientIP).client(0)
	l := m.pod(wp1).listen(at(wp1, plainPort))
	m.apply(wds(a1("waypoint", byIP(wp1))))
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed: the test is over
			}
			go func() {
				defer conn.Close()
				if _, err := io.Copy(io.Discard, conn); err != nil {
					return
				}
				time.Sleep(50 * time.Millisecond)
				answer(conn, "all of it")
			}()
		}
	}()
	for range 5 {
		c.do(func() {
			conn, err := open(at(ip1, 80))
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.close()
			if err := writeAll(conn.fd, pattern(1000)); err != nil {
				t.Errorf("write: %v", err)
			}
			if err := unix.Shutdown(conn.fd, unix.SHUT_WR); err != nil {
				t.Error(err)
			}
			if got, err := conn.read(); got != "all of it" {
				t.Errorf("read %q, %v", got, err)
			}
		})
	}
}

// Data that goes out with the SYN leaves before there is a connection: it cannot have
// metadata in front, and is counted.
func TestFastOpenToAWaypointIsCounted(t *testing.T) {
	m := newMesh(t)
	c := m.enrolled(clientIP).client(0)
	got := m.pod().record(at(wp1, plainPort))
	m.apply(wds(a1("waypoint", byIP(wp1))))
	for i := range 2 { // for the cookie, and with it
		c.do(func() {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Error(err)
				return
			}
			defer unix.Close(fd)
			if err := unix.Sendto(fd, []byte("x"), unix.MSG_FASTOPEN, sockaddr(netip.MustParseAddrPort(at(ip1, 80)))); err != nil {
				t.Error(err)
			}
			if err := unix.Shutdown(fd, unix.SHUT_WR); err != nil {
				t.Error(err)
			}
			data := <-got
			right := bytes.Equal(data, append(metadata(at(ip1, 80)), 'x'))
			t.Logf("received % x", data)
			if n := m.counted("early_data"); !right && n != i+1 {
				t.Errorf("%d connections are counted, of %d without metadata", n, i+1)
			}
		})
	}
}
