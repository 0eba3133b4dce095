// SPDX-License-Identifier: Apache-2.0

package xdp

import (
	"bytes"
	"testing"
)

// with returns f after a change.
func with(f frame, change func(*frame)) frame {
	change(&f)
	return f
}

// TestParse: under a policy that denies everything, what is TCP is denied, however it
// is wrapped; what hides TCP is dropped; all else passes.
func TestParse(t *testing.T) {
	a := load(t, 64)
	a.apply(policies(t, denyAll))
	nops := func(n int) []byte { return bytes.Repeat([]byte{1}, n) }
	cut := func(b []byte, n int) []byte { return b[:n] }
	tests := []struct {
		name  string
		frame []byte
		want  uint32
	}{
		{"ipv4 SYN", syn4().bytes(), back},
		{"ipv6 SYN", syn6().bytes(), back},
		{"TCP options", with(syn4(), func(f *frame) { f.options = nops(40) }).bytes(), back},
		{"SYN with data", with(syn4(), func(f *frame) { f.data = make([]byte, 100) }).bytes(), back},
		{"IPv4 options", with(syn4(), func(f *frame) { f.ipOptions = nops(40) }).bytes(), back},
		{"one tag", with(syn4(), func(f *frame) { f.tags = []uint16{0x8100} }).bytes(), back},
		{"two tags", with(syn6(), func(f *frame) { f.tags = []uint16{0x88a8, 0x8100} }).bytes(), back},
		{"three tags", with(syn4(), func(f *frame) { f.tags = []uint16{0x88a8, 0x8100, 0x8100} }).bytes(), drop},
		{"tag cut", cut(with(syn4(), func(f *frame) { f.tags = []uint16{0x8100} }).bytes(), 16), pass},

		{"UDP", with(syn4(), func(f *frame) { f.proto = udpProto }).bytes(), pass},
		{"ICMP", with(syn4(), func(f *frame) { f.proto = 1 }).bytes(), pass},
		{"UDP over IPv6", with(syn6(), func(f *frame) { f.proto = udpProto }).bytes(), pass},
		{"ICMPv6 behind options", with(syn6(), func(f *frame) { f.proto, f.exts = icmp6, []ext{options(hopByHop, 8)} }).bytes(), pass},
		{"ARP", append(append([]byte{}, syn4().bytes()[:12]...), append([]byte{8, 6}, make([]byte, 46)...)...), pass},
		{"ESP", with(syn6(), func(f *frame) { f.proto = 50 }).bytes(), pass},

		{"SYN+ACK", with(syn4(), func(f *frame) { f.flags = syn | ack }).bytes(), pass},
		{"RST", with(syn4(), func(f *frame) { f.flags = rst }).bytes(), pass},
		{"ACK of nothing", with(syn4(), func(f *frame) { f.flags = ack }).bytes(), pass},

		{"first fragment", with(syn4(), func(f *frame) { f.frag, f.data = 0x2000, make([]byte, 28) }).bytes(), back},
		{"fragment at 8", with(syn4(), func(f *frame) { f.frag = 1 }).bytes(), drop},
		{"fragment at 16", with(syn4(), func(f *frame) { f.frag = 0x2002 }).bytes(), drop},
		{"fragment at 24", with(syn4(), func(f *frame) { f.frag = 3 }).bytes(), pass},
		{"UDP fragment at 8", with(syn4(), func(f *frame) { f.frag, f.proto = 1, udpProto }).bytes(), pass},
		{"first fragment, half a header", shorten4(with(syn4(), func(f *frame) { f.frag = 0x2000 }).bytes(), 12), drop},

		{"hop by hop", with(syn6(), func(f *frame) { f.exts = []ext{options(hopByHop, 8)} }).bytes(), back},
		{"many headers", with(syn6(), func(f *frame) {
			f.exts = []ext{options(hopByHop, 16), options(destOpts, 24), options(routing, 8), fragment6(0, false), authentication(24), options(destOpts, 8)}
		}).bytes(), back},
		{"eight headers", with(syn6(), func(f *frame) { f.exts = eight() }).bytes(), back},
		{"nine headers", with(syn6(), func(f *frame) { f.exts = append(eight(), options(destOpts, 8)) }).bytes(), drop},
		{"header cut", shorten6(with(syn6(), func(f *frame) { f.exts = []ext{options(destOpts, 64)} }).bytes(), 20), drop},
		{"header longer than the packet", with(syn6(), func(f *frame) { e := options(destOpts, 8); e.rest[0] = 40; f.exts = []ext{e} }).bytes(), drop},
		{"ipv6 first fragment", with(syn6(), func(f *frame) { f.exts = []ext{fragment6(0, true)} }).bytes(), back},
		{"ipv6 fragment at 8", with(syn6(), func(f *frame) { f.exts = []ext{fragment6(1, true)} }).bytes(), drop},
		{"ipv6 fragment at 16", with(syn6(), func(f *frame) { f.exts = []ext{fragment6(2, false)} }).bytes(), drop},
		{"ipv6 fragment at 24", with(syn6(), func(f *frame) { f.exts = []ext{fragment6(3, false)} }).bytes(), pass},
		{"ipv6 first fragment, half a header", shorten6(with(syn6(), func(f *frame) { f.exts = []ext{fragment6(0, true)} }).bytes(), 20), drop},

		{"no TCP header", shorten4(syn4().bytes(), 0), drop},
		{"longer than the frame", syn4().bytes()[:50], drop},
		{"data cut", cut(with(syn4(), func(f *frame) { f.data = make([]byte, 100) }).bytes(), 100), drop},
		{"ipv6 data cut", cut(with(syn6(), func(f *frame) { f.data = make([]byte, 100) }).bytes(), 100), drop},
		{"headers longer than the IPv6 length", poke(with(syn6(), func(f *frame) { f.exts = []ext{options(destOpts, 64)} }).bytes(), 19, 60), drop},
		{"padded", append(syn4().bytes(), 0, 0, 0, 0, 0, 0), back},
		{"offset too small", poke(syn4().bytes(), 14+20+12, 0x40), drop},
		{"offset beyond the packet", poke(syn4().bytes(), 14+20+12, 0xf0), drop},
		{"header length 4", poke(syn4().bytes(), 14, 0x44), drop},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := a.stats().unparsed
			got, _ := a.run(tt.frame)
			if got != tt.want {
				t.Fatalf("verdict %d, want %d", got, tt.want)
			}
			if counted := a.stats().unparsed - before; (tt.want == drop) != (counted == 1) {
				t.Fatalf("unparsed raised by %d", counted)
			}
		})
	}
}

func eight() (e []ext) {
	for range 8 {
		e = append(e, options(destOpts, 8))
	}
	return e
}

func poke(b []byte, at int, v byte) []byte {
	b[at] = v
	return b
}

// shorten4 and shorten6 leave n bytes behind the IP header, and its length says so.
func shorten4(b []byte, n int) []byte {
	be.PutUint16(b[16:], uint16(20+n))
	return b[:34+n]
}

func shorten6(b []byte, n int) []byte {
	be.PutUint16(b[18:], uint16(n))
	return b[:54+n]
}

// TestNoPolicies: without any, nothing is judged and no verdict is kept.
func TestNoPolicies(t *testing.T) {
	a := load(t, 64)
	for _, f := range []frame{syn4(), syn6()} {
		if got, _ := a.run(f.bytes()); got != pass {
			t.Errorf("verdict %d, want pass", got)
		}
	}
	a.apply(policies(t))
	if got, _ := a.run(syn4().bytes()); got != pass {
		t.Errorf("with an empty image: verdict %d, want pass", got)
	}
}
