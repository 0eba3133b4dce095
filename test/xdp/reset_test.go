// SPDX-License-Identifier: Apache-2.0

package xdp

import (
	"bytes"
	"fmt"
	"testing"
)

// TestReset: a denied packet comes back as a reset that its sender's TCP takes: whole,
// of no more than headers, with a checksum as the packet's was.
func TestReset(t *testing.T) {
	a := load(t, 64)
	a.apply(policies(t, denyAll))
	for _, base := range []frame{syn4(), syn6()} {
		for name, change := range map[string]func(*frame){
			"plain":   func(*frame) {},
			"options": func(f *frame) { f.options = bytes.Repeat([]byte{1}, 20) },
			"data":    func(f *frame) { f.data = make([]byte, 1000) },
			"tags":    func(f *frame) { f.tags = []uint16{0x88a8, 0x8100} },
			"wrapped": func(f *frame) {
				f.ipOptions = bytes.Repeat([]byte{1}, 12)
				f.exts = []ext{options(destOpts, 16), fragment6(0, false)}
			},
		} {
			for _, partial := range []bool{false, true} {
				for _, native := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s/%s/partial=%v/native=%v", base.src, name, partial, native), func(t *testing.T) {
						f := with(base, change)
						f.partial = partial
						wantVerdict := uint32(back)
						a.state.native = 0
						if native {
							a.state.native, wantVerdict = 1, redirect
						}
						got, out := a.run(f.bytes())
						if got != wantVerdict {
							t.Fatalf("verdict %d, want %d", got, wantVerdict)
						}
						want := frame{src: f.dst, dst: f.src, sport: f.dport, dport: f.sport, flags: rst | ack,
							ack: f.seq + 1 + uint32(len(f.data)), tags: f.tags, partial: partial && !native}
						same(t, out, want, 2, 1)
					})
				}
			}
		}
	}
	t.Run("with ACK", func(t *testing.T) {
		f := with(syn4(), func(f *frame) { f.flags, f.ack = syn, 555 })
		_, out := a.run(f.bytes())
		same(t, out, frame{src: f.dst, dst: f.src, sport: f.dport, dport: f.sport, flags: rst | ack, ack: f.seq + 1}, 2, 1)
	})
}

// same compares with a frame from the given last byte of a MAC address to another; what it
// leaves open is taken from the program: window 0, hop limit 64, IPv4's DF.
func same(t *testing.T, got []byte, want frame, from, to byte) {
	t.Helper()
	if want.src.Is4() {
		want.frag = 0x4000
	}
	w := want.bytes()
	w[5], w[11] = to, from
	tcp := len(w) - 20
	be.PutUint16(w[tcp+14:], 0) // window: 1000 in frames made here
	check := pseudo(want.src, want.dst, 20)
	be.PutUint16(w[tcp+16:], 0)
	if !want.partial {
		check = ^sum(w[tcp:], check)
	}
	be.PutUint16(w[tcp+16:], uint16(check))
	if !bytes.Equal(got, w) {
		t.Fatalf("got  %x\nwant %x", got, w)
	}
}
