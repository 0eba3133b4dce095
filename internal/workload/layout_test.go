// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// Seals as the programs compute them: from bpf/seal.h, by hand. A change of either side
// fails here.
func TestSeals(t *testing.T) {
	step := func(s, w uint64) uint64 { return ((s ^ w) * 0x9e3779b97f4a7c15) ^ ((s ^ w) >> 29) }
	var f frontendC
	for i := range raw(&f) {
		raw(&f)[i] = byte(i * 7)
	}
	k := frontendKey{netip.MustParseAddr("10.1.2.3"), 258}
	// ::ffff:10.1.2.3 as it lies in memory of a little-endian host, and 258 as 01 02.
	s := uint64(0x6b6d6573686e6f64)
	for _, w := range []uint64{0, 0x0302010affff0000, 0x0201} {
		s = step(s, w)
	}
	for i := range 7 {
		s = step(s, as[uint64](raw(&f)[8*i:]))
	}
	if got := k.seal(&f); got != s {
		t.Errorf("frontend: %#x, want %#x", got, s)
	}
	p := peerC{identity: 1, pset: 2, flags: 3, workload: 4}
	s = uint64(0x6b6d6573686e6f64)
	for _, w := range []uint64{0, 0x0302010affff0000, 2<<32 | 1, 4<<32 | 3} {
		s = step(s, w)
	}
	if got := peerSeal(k.addr, &p); got != s {
		t.Errorf("peer: %#x, want %#x", got, s)
	}
	e := k.encode()
	if b := raw(&e); fmt.Sprintf("%x", b) != "00000000000000000000ffff0a01020301020000" {
		t.Errorf("key: %x", b)
	}
	if back := decodeFrontendKey(raw(&e)); back != k {
		t.Errorf("%v, want %v", back, k)
	}
}

// Shares are exact over one period, whatever the weights, and no position is lost.
func TestShares(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		weights := make([]uint32, 1+r.IntN(40))
		var sum uint64
		for i := range weights {
			weights[i] = 1 + r.Uint32N([]uint32{1, 3, 100, 1 << 20}[r.IntN(4)])
			sum += uint64(weights[i])
		}
		places, total := shares(weights)
		n := uint64(len(weights))
		if uint64(len(places)) != n || total == 0 {
			t.Fatalf("%v: %d places of %d", weights, len(places), total)
		}
		cells := make([]uint64, n)
		for i, p := range places {
			if p.cut > total || uint64(p.alias) >= n {
				t.Fatalf("%v: place %+v of %d", weights, p, total)
			}
			cells[i] += uint64(p.cut)
			cells[p.alias] += uint64(total - p.cut)
		}
		for i, w := range weights {
			if cells[i]*sum != uint64(w)*n*uint64(total) {
				t.Fatalf("%v: endpoint %d has %d of %d", weights, i, cells[i], n*uint64(total))
			}
		}
		if s := step(n * uint64(total)); gcd(s, n*uint64(total)) != 1 {
			t.Fatalf("step %d of %d", s, n*uint64(total))
		}
	}
	if _, total := shares([]uint32{5, 5, 5}); total != 1 {
		t.Errorf("equal weights have a total of %d, want 1", total)
	}
	// Sums beyond 32 bits lose precision, not endpoints.
	places, total := shares([]uint32{1<<32 - 1, 1<<32 - 2, 1})
	if len(places) != 3 || total == 0 || places[2].cut == 0 {
		t.Errorf("%v of %d", places, total)
	}
}
