// SPDX-License-Identifier: Apache-2.0

package xdp

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
)

// TestNodeTraffic: the node's own addresses are let in unjudged, and that is counted, only
// where the loader says so and a policy has something to say.
func TestNodeTraffic(t *testing.T) {
	a := load(t, 64)
	a.apply(policies(t, denyAll))
	a.peer(client4, peer{flags: peerNode})
	for _, exempt := range []bool{false, true} {
		a.state.exempt = 0
		want, counted := uint32(back), a.stats().exempted
		if exempt {
			a.state.exempt = 1
			want = pass
			counted++
		}
		if got, _ := a.run(syn4().bytes()); got != want || a.stats().exempted != counted {
			t.Errorf("exempt %v: verdict %d, want %d; exempted %d, want %d", exempt, got, want, a.stats().exempted, counted)
		}
	}
	a.apply(policies(t, allowNone)) // of a namespace: the pod, unknown, is not in it
	before := a.stats().exempted
	if got, _ := a.run(syn4().bytes()); got != pass || a.stats().exempted != before {
		t.Errorf("a pod without policies: verdict %d, exempted %d, want %d", got, a.stats().exempted, before)
	}
}

// TestTornPeer: an entry that does not open, because it is another's by now, lets nobody in.
func TestTornPeer(t *testing.T) {
	a := load(t, 64)
	a.apply(policies(t, denyFrom(alice)))
	a.peer(server4, peer{identity: 2, pset: 1})
	for _, tt := range []struct {
		name  string
		value []byte
		want  uint32
	}{
		{"another address's", sealed(&peer{identity: 2}, client6), drop},
		{"whole", sealed(&peer{identity: 2}, client4), pass},
		{"whole, denied", sealed(&peer{identity: 1}, client4), back},
	} {
		before := a.stats()
		must(t, bpfmap.Update(a.fd("km_peer"), ipKey(client4), tt.value))
		got, _ := a.run(syn4().bytes())
		after := a.stats()
		if got != tt.want || (after.unsealed > before.unsealed) != (tt.want == drop) || (after.reread > before.reread) != (tt.want == drop) {
			t.Errorf("%s: verdict %d, want %d; before %+v, after %+v", tt.name, got, tt.want, before, after)
		}
	}
}

// TestBrokenImage: an image that refers to slots that are not there lets nobody in.
func TestBrokenImage(t *testing.T) {
	a := load(t, 64)
	a.apply(policies(t, denyFrom(alice)))
	a.peer(server4, peer{identity: 2, pset: 1})
	if got, _ := a.run(syn4().bytes()); got != pass {
		t.Fatalf("verdict %d, want pass", got)
	}
	head := unsafe.Slice((*uint32)(unsafe.Pointer(&a.image[uint64(a.state.word&1)<<halfShift*64])), 16)
	head[6] = 1 << 30 // identities
	if got, _ := a.run(syn4().bytes()); got != drop || a.stats().unsealed != 1 {
		t.Fatalf("verdict %d, want a drop; %+v", got, a.stats())
	}
}

// TestDeniedEvent: whoever reads events hears of a denial, and nobody else is told.
func TestDeniedEvent(t *testing.T) {
	a := load(t, 64)
	a.apply(policies(t, denyPort(443), denyAll))
	ring := a.ring()
	until := (*uint64)(unsafe.Pointer(&a.memory("km_reader", os.Getpagesize())[0]))
	a.run(syn6().bytes())
	var now unix.Timespec
	must(t, unix.ClockGettime(unix.CLOCK_MONOTONIC, &now))
	*until = uint64(now.Nano() + time.Minute.Nanoseconds())
	f := syn6()
	a.run(f.bytes())
	const size = unsafe.Sizeof(event{})
	if written := ring.written(); written != uint64(8+size) {
		t.Fatalf("%d bytes of events, want one of %d", written, size)
	}
	e := (*event)(unsafe.Pointer(&ring.data[8]))
	if e._type != typeDenied || e.policy != 2 || e.netns != 0 || e.resource != 0 ||
		[16]byte(bytesOf(&e.src)) != f.src.As16() || [16]byte(bytesOf(&e.dst)) != f.dst.As16() ||
		be.Uint16(bytesOf(&e.sport)) != f.sport || be.Uint16(bytesOf(&e.dport)) != f.dport {
		t.Fatalf("event %+v", *e)
	}
}

// ring is the producer's side of km_event: records of 8 bytes and an event each.
type ring struct{ producer, data []byte }

func (r ring) written() uint64 { return binary.NativeEndian.Uint64(r.producer) }

func (a *auth) ring() ring {
	a.t.Helper()
	page := os.Getpagesize()
	b, err := unix.Mmap(a.fd("km_event"), int64(page), page+eventBytes, unix.PROT_READ, unix.MAP_SHARED)
	must(a.t, err)
	a.t.Cleanup(func() { must(a.t, unix.Munmap(b)) })
	return ring{b, b[page:]}
}

// TestLostEntries: with room for two verdicts, ten connections that are allowed talk, also
// while policies change, and what is denied is refused.
func TestLostEntries(t *testing.T) {
	n := newNodeOf(t, false, 2)
	n.attach()
	n.apply(policies(t, denyPort(81)))
	for _, server := range servers {
		l := n.pod.listen(at(server, 80), 20)
		defer l.close()
		var pairs [][2]*socket
		for range 10 {
			c, p := n.connect(l, at(server, 80))
			pairs = append(pairs, [2]*socket{c, p})
		}
		for range 3 {
			for _, s := range pairs {
				talk(t, s[0], s[1])
			}
			n.apply(policies(t, denyPort(81)))
		}
		if _, err := n.client.dial(at(server, 81), netip.AddrPort{}); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("connect: %v, want a refusal", err)
		}
	}
}

// TestDeniedSynLeavesNoEntry: however many there are, they cost no other its verdict.
func TestDeniedSynLeavesNoEntry(t *testing.T) {
	a := load(t, 2)
	a.apply(policies(t, denyPort(81)))
	a.run(syn4().bytes())
	before := a.flows(2)
	for i := range 100 {
		a.run(with(syn4(), func(f *frame) { f.sport, f.dport = uint16(i), 81 }).bytes())
	}
	if after := a.flows(2); after != before {
		t.Fatalf("before %x\nafter  %x", before, after)
	}
	if before == string(make([]byte, 2*flowBytes)) {
		t.Fatal("an allowed SYN has no entry")
	}
}

func (a *auth) flows(n int) string {
	a.t.Helper()
	b := make([]byte, n*flowBytes)
	for i := range n {
		must(a.t, bpfmap.Lookup(a.fd("km_flow"), binary.NativeEndian.AppendUint32(nil, uint32(i)), b[i*flowBytes:(i+1)*flowBytes]))
	}
	return string(b)
}
