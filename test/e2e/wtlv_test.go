// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// metadata is what a waypoint reads in front of the first bytes.
func metadata(dst string) []byte {
	a := netip.MustParseAddrPort(dst)
	ip := a.Addr().AsSlice()
	b := binary.BigEndian.AppendUint32([]byte{1}, uint32(len(ip)+2))
	b = append(b, ip...)
	b = binary.BigEndian.AppendUint16(b, a.Port())
	return append(b, 0xfe, 0, 0, 0, 0)
}

// record listens on addr and hands on all that a client has sent by the time it
// ended its side.
func (p *pod) record(addr string) <-chan []byte {
	p.t.Helper()
	p.addresses(addr)
	got := make(chan []byte, 64)
	l := p.listen(addr)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed: the test is over
			}
			go func() {
				defer c.Close()
				data, err := io.ReadAll(c)
				if err != nil {
					data = fmt.Appendf(data, "then %v", err)
				}
				got <- data
			}()
		}
	}()
	return got
}

// tell opens a connection to dst, has fn write to it, and ends its own side. What it
// sent is in records then, as far as it was received.
func (c *client) tell(dst string, records <-chan []byte, fn func(fd int) error) (data []byte, err error) {
	c.do(func() {
		conn, e := open(dst)
		if e != nil {
			err = e
			return
		}
		defer conn.close()
		if e := fn(conn.fd); e != nil {
			err = fmt.Errorf("write: %w", e)
			return
		}
		if err = unix.Shutdown(conn.fd, unix.SHUT_WR); err != nil {
			return
		}
		select {
		case data = <-records:
		case <-time.After(patience):
			err = errors.New("nothing was received")
		}
	})
	return data, err
}

// wantTold asks for exactly these bytes to be received, by one connection.
func wantTold(t testing.TB, c *client, dst string, records <-chan []byte, want []byte, fn func(fd int) error) {
	t.Helper()
	data, err := c.tell(dst, records, fn)
	if err != nil {
		t.Error(err)
		return
	}
	if bytes.Equal(data, want) {
		return
	}
	i := 0
	for i < min(len(data), len(want)) && data[i] == want[i] {
		i++
	}
	t.Errorf("received %d bytes, want %d; they differ from byte %d on: % x, want % x",
		len(data), len(want), i, data[i:min(len(data), i+40)], want[i:min(len(want), i+40)])
}

func writeAll(fd int, data []byte) error {
	for len(data) > 0 {
		n, err := unix.Write(fd, data)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// pattern has no two parts alike, so that what is lost or doubled shows.
func pattern(n int) []byte {
	b := make([]byte, 0, n+8)
	for i := uint64(0); len(b) < n; i++ {
		b = binary.BigEndian.AppendUint64(b, i*0x9e3779b97f4a7c15)
	}
	return b[:n]
}

// Each way of writing: what is sent, and how.
var ways = []struct {
	name string
	data []byte
	send func(t *testing.T, fd int, data []byte) error
}{
	{"1 byte", pattern(1), inOne},
	{"1 MiB", pattern(1 << 20), inOne},
	{"1 byte, then 1 MiB", pattern(1<<20 + 1), func(_ *testing.T, fd int, data []byte) error {
		return errors.Join(writeAll(fd, data[:1]), writeAll(fd, data[1:]))
	}},
	{"100 writes", pattern(100), func(_ *testing.T, fd int, data []byte) error {
		for i := range data {
			if err := writeAll(fd, data[i:i+1]); err != nil {
				return err
			}
		}
		return nil
	}},
	{"sendfile", pattern(300_000), func(t *testing.T, fd int, data []byte) error {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return sendFile(fd, int(f.Fd()), len(data))
	}},
	{"writev", pattern(5000), func(_ *testing.T, fd int, data []byte) error {
		n, err := unix.Writev(fd, [][]byte{data[:1], data[1:10], data[10:]})
		if err == nil && n != len(data) {
			err = fmt.Errorf("writev took %d of %d bytes", n, len(data))
		}
		return err
	}},
	{"more to come", pattern(3000), func(_ *testing.T, fd int, data []byte) error {
		return errors.Join(unix.Sendto(fd, data[:1], unix.MSG_MORE, nil), writeAll(fd, data[1:]))
	}},
	{"nothing", nil, inOne},
}

func say(text string) func(fd int) error {
	return func(fd int) error { return writeAll(fd, []byte(text)) }
}

func inOne(_ *testing.T, fd int, data []byte) error { return writeAll(fd, data) }

func sendFile(to, from, n int) error {
	for n > 0 {
		k, err := unix.Sendfile(to, from, nil, n)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err == nil && k == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		n -= k
	}
	return nil
}

func TestWaypointReadsTheDestinationBeforeTheFirstBytes(t *testing.T) {
	m := newMesh(t)
	c := m.enrolled(clientIP, clientIP6).client(0)
	way := m.pod()
	got := map[string]<-chan []byte{vipA: way.record(at(wp1, plainPort)), vipA6: way.record(at(wp1v6, plainPort))}
	m.apply(wds(with(wsvc("a", vips("10.96.0.1"), wport(80, 8080)), "waypoint", byIP(wp1)),
		with(wsvc("b", vips("fd00:96::1"), wport(80, 8080)), "waypoint", byIP(wp1v6)),
		wpod("a1", ip1, serves("a", wport(80, 8080))), wpod("b1", ip1v6, serves("b", wport(80, 8080)))))
	for dst, records := range got {
		for _, w := range ways {
			t.Run(dst+" "+w.name, func(t *testing.T) {
				want := append(metadata(dst), w.data...)
				if len(w.data) == 0 {
					want = nil
				}
				wantTold(t, c, dst, records, want, func(fd int) error { return w.send(t, fd, w.data) })
			})
		}
	}
	t.Run("IPv4 by an IPv6 socket", func(t *testing.T) {
		wantTold(t, c, "[::ffff:10.96.0.1]:80", got[vipA], append(metadata(vipA), 'x'), say("x"))
	})
	t.Run("a workload's address, any port", func(t *testing.T) {
		m.in(t).apply(wds(a1("waypoint", byIP(wp1))))
		for _, port := range []int{8080, 12345} {
			wantTold(t, c, at(ip1, port), got[vipA], append(metadata(at(ip1, port)), 'x'), say("x"))
		}
	})
}

// Who goes straight there has nothing in front.
func TestDirectConnectionsCarryNoMetadata(t *testing.T) {
	m := newMesh(t)
	c := m.enrolled(clientIP).client(0)
	server := m.pod()
	got := server.record(at(ip1, 8080))
	plain := server.record(at(ip2, plainPort))
	m.apply(wds(serviceA(), a1(), wpod("a2", ip2)))
	for dst, records := range map[string]<-chan []byte{vipA: got, at(ip1, 8080): got, at(ip2, plainPort): plain} {
		wantTold(t, c, dst, records, []byte("hello"), say("hello"))
	}
}

// A waypoint that is asked by name itself is no detour of somebody else's.
func TestConnectionsToTheWaypointItselfCarryNoMetadata(t *testing.T) {
	m := newMesh(t)
	c := m.enrolled(clientIP).client(0)
	way := m.pod()
	hbone, plain := way.record(at(wp1, 15008)), way.record(at(wp1, plainPort))
	w := waypoint()
	m.apply(wds(w[0], w[1], serviceA("waypoint", byHost("wp")), a1()))
	for dst, records := range map[string]<-chan []byte{at(wpVIP, 15008): hbone, at(wp1, plainPort): plain} {
		wantTold(t, c, dst, records, []byte("hello"), say("hello"))
	}
}

// Many connections that stand at once keep their own destinations.
func TestMetadataIsTheConnectionsOwn(t *testing.T) {
	m := newMesh(t)
	c := m.enrolled(clientIP).client(0)
	got := m.pod().record(at(wp1, plainPort))
	m.apply(wds(a1("waypoint", byIP(wp1))))
	const n = 60
	var all [][]byte
	c.do(func() {
		var conns []*conn
		for i := range n {
			conn, err := open(at(ip1, 1000+i))
			if err != nil {
				t.Error(err)
				return
			}
			conns = append(conns, conn)
		}
		for i := range conns { // not in the order of their opening
			j := (i * 7) % n
			if err := writeAll(conns[j].fd, []byte{byte(j)}); err != nil {
				t.Error(err)
			}
			if err := unix.Shutdown(conns[j].fd, unix.SHUT_WR); err != nil {
				t.Error(err)
			}
		}
		for range n {
			all = append(all, <-got)
		}
		release(conns)
	})
	for _, data := range all {
		i := int(data[len(data)-1])
		if want := append(metadata(at(ip1, 1000+i)), byte(i)); !bytes.Equal(data, want) {
			t.Errorf("connection %d: % x, want % x", i, data, want)
		}
	}
}
