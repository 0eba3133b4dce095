// SPDX-License-Identifier: Apache-2.0

package xdp

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func at(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }

var (
	nowhere = netip.AddrPort{}
	servers = []netip.Addr{server4, server6}
	clients = map[netip.Addr]netip.Addr{server4: client4, server6: client6}
)

// everyKind runs a test over both families, in generic and native mode.
func everyKind(t *testing.T, f func(t *testing.T, n *node, server netip.Addr)) {
	for _, native := range []bool{false, true} {
		for _, server := range servers {
			t.Run(fmt.Sprintf("native=%v/%s", native, server), func(t *testing.T) {
				n := newNode(t, native)
				if native {
					// veth's driver sends only to an end that runs NAPI.
					if !hasGRO(t) {
						t.Skip("this kernel's veth runs NAPI only under a program: before 5.13")
					}
					must(t, n.client.ethtool(setGRO, true))
				}
				f(t, n, server)
			})
		}
	}
}

func hasGRO(t *testing.T) bool {
	t.Helper()
	var u unix.Utsname
	must(t, unix.Uname(&u))
	var major, minor int
	_, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor)
	must(t, err)
	return major > 5 || major == 5 && minor >= 13
}

const setGRO, setTxChecksum = 0x2c, 0x17 // ETHTOOL_SGRO, ETHTOOL_STXCSUM

// talk sends a line each way.
func talk(t *testing.T, a, b *socket) {
	t.Helper()
	for _, way := range [][2]*socket{{a, b}, {b, a}} {
		must(t, way[0].write("x"))
		got, err := way[1].read()
		must(t, err)
		if got != "x" {
			t.Fatalf("read %q", got)
		}
	}
}

// connect opens a connection of the client to the pod.
func (n *node) connect(l *socket, to netip.AddrPort) (client, pod *socket) {
	n.t.Helper()
	client, err := n.client.dial(to, nowhere)
	must(n.t, err)
	pod = l.accept()
	n.t.Cleanup(func() { client.close(); pod.close() })
	return client, pod
}

// TestSyn: an allowed connection works; a denied one is refused at once, also where
// checksums are partial and where they are not.
func TestSyn(t *testing.T) {
	everyKind(t, func(t *testing.T, n *node, server netip.Addr) {
		n.attach()
		n.apply(policies(t, denyPort(81)))
		l := n.pod.listen(at(server, 80), 10)
		defer l.close()
		c, p := n.connect(l, at(server, 80))
		talk(t, c, p)
		for _, whole := range []bool{false, true} {
			must(t, n.client.ethtool(setTxChecksum, !whole))
			before, start := n.denied(1), time.Now()
			_, err := n.client.dial(at(server, 81), nowhere)
			if !errors.Is(err, syscall.ECONNREFUSED) || time.Since(start) > 500*time.Millisecond {
				t.Fatalf("whole checksum %v: connect: %v after %v, want a refusal at once", whole, err, time.Since(start))
			}
			if n.denied(1) != before+1 {
				t.Fatalf("counted %d times", n.denied(1)-before)
			}
		}
		talk(t, c, p)
	})
}

// TestStanding: a policy that comes later resets both ends, as soon as there is data from
// either, and leaves the pod's own connection alone.
func TestStanding(t *testing.T) {
	for _, first := range []string{"client", "pod"} {
		t.Run(first, func(t *testing.T) {
			everyKind(t, func(t *testing.T, n *node, server netip.Addr) {
				n.attach()
				n.apply(policies(t, denyPort(81)))
				l := n.pod.listen(at(server, 80), 10)
				defer l.close()
				c, p := n.connect(l, at(server, 80))
				talk(t, c, p)
				n.apply(policies(t, denyAll))
				from, to := c, p
				if first == "pod" {
					from, to = p, c
				}
				must(t, from.write("y"))
				if first == "client" {
					if got, err := to.read(); !errors.Is(err, syscall.ECONNRESET) {
						t.Fatalf("pod: read %q: %v, want a reset", got, err)
					}
					if got, err := from.read(); !errors.Is(err, syscall.ECONNRESET) {
						t.Fatalf("client: read %q: %v, want a reset", got, err)
					}
				} else {
					// The acknowledgement of what the pod sends resets the client,
					// whose kernel then answers the pod with a reset.
					reset(t, "client", c)
					must(t, p.write("z"))
					reset(t, "pod", p)
				}
				if n.denied(1) != 1 {
					t.Fatalf("counted %d times", n.denied(1))
				}
			})
		})
	}
}

// reset reads until the socket says that it was reset.
func reset(t *testing.T, who string, s *socket) {
	t.Helper()
	for range 3 {
		if _, err := s.read(); errors.Is(err, syscall.ECONNRESET) {
			return
		} else if err != nil {
			t.Fatalf("%s: %v, want a reset", who, err)
		}
	}
	t.Fatalf("%s: no reset", who)
}

// TestDirection: with everything denied, connections that stand when xdpauth comes, or
// whose entries are lost, are reset when a client opened them and only then.
func TestDirection(t *testing.T) {
	everyKind(t, func(t *testing.T, n *node, server netip.Addr) {
		client := clients[server]
		clientListens := n.client.listen(at(client, 90), 10)
		defer clientListens.close()
		outgoing := map[string]netip.AddrPort{"unbound": nowhere, "bound to an address": at(server, 0), "bound to a port": at(server, 5000)}
		own := map[string][2]*socket{}
		for name, from := range outgoing {
			p, err := n.pod.dial(at(client, 90), from)
			must(t, err)
			c := clientListens.accept()
			defer p.close()
			defer c.close()
			own[name] = [2]*socket{c, p}
		}
		incoming := map[string][2]*socket{}
		for i, how := range []string{"listening", "closed since", "backlog 0", "backlog 1, closed since"} {
			backlog := []int{10, 10, 0, 1}[i]
			l := n.pod.listen(at(server, uint16(80+i)), backlog)
			c, p := n.connect(l, at(server, uint16(80+i)))
			incoming[how] = [2]*socket{c, p}
			if i%2 == 1 {
				l.close()
			} else {
				defer l.close()
			}
		}
		n.attach()
		n.apply(policies(t, denyAll))
		for name, s := range own {
			talk(t, s[0], s[1])
			n.forget(flowEntries)
			talk(t, s[0], s[1])
			n.rejudge()
			talk(t, s[0], s[1])
			t.Log("own", name, "talks")
		}
		if n.denied(1) != 0 {
			t.Fatalf("denied %d of the pod's own", n.denied(1))
		}
		for name, s := range incoming {
			must(t, s[0].write("x"))
			reset(t, "pod, "+name, s[1])
			reset(t, "client, "+name, s[0])
		}
		fresh, err := n.pod.dial(at(client, 90), nowhere)
		must(t, err)
		c := clientListens.accept()
		talk(t, c, fresh)
		fresh.close()
		c.close()
	})
}

// TestTold: the pod's end of a denied connection is told by the first data; whatever follows
// resets the client, though the pod's socket may still be there.
func TestTold(t *testing.T) {
	for _, server := range servers {
		n := newNode(t, false)
		l := n.pod.listen(at(server, 80), 10)
		defer l.close()
		c, _ := n.connect(l, at(server, 80))
		n.apply(policies(t, denyAll))
		f := frame{src: clients[server], dst: server, sport: c.port(), dport: 80, flags: ack | psh, seq: 7, ack: 9, data: []byte("x")}
		var verdicts [2]uint32
		var out [2][]byte
		// The program looks for sockets where it is run from.
		n.pod.in(func() error {
			for i := range out {
				verdicts[i], out[i] = n.run(f.bytes())
			}
			return nil
		})
		if o := out[0]; verdicts[0] != pass || o[len(o)-7] != rst || be.Uint16(o[len(o)-20:]) != f.sport {
			t.Fatalf("first data: verdict %d, %x, want a reset of the pod", verdicts[0], o)
		}
		if verdicts[1] != back {
			t.Fatalf("more data: verdict %d, want a reset of the client", verdicts[1])
		}
		same(t, out[1], frame{src: f.dst, dst: f.src, sport: f.dport, dport: f.sport, flags: rst, seq: f.ack}, 2, 1)
	}
}
