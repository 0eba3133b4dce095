// SPDX-License-Identifier: Apache-2.0

package workload

import "math"

// place is one position of a set of endpoints: below cut it is its own endpoint's, from
// there to the set's total that of the endpoint at alias.
type place struct {
	cut, alias uint32
}

// shares lays weights, none of them 0, out as positions of equal size, so that each
// endpoint has exactly its share of len(weights) * total. It returns 0 positions for
// no weights.
func shares(weights []uint32) (places []place, total uint32) {
	n := uint64(len(weights))
	if n == 0 {
		return nil, 0
	}
	w, sum := fit(weights)
	g := gcd(n, sum)
	total, each := uint32(sum/g), n/g
	places = make([]place, n)
	// Each endpoint has w * each cells; a position has total of them.
	have := make([]uint64, n)
	var small, large []uint32
	for i := range w {
		have[i] = w[i] * each
		places[i] = place{total, uint32(i)}
		if have[i] < uint64(total) {
			small = append(small, uint32(i))
		} else {
			large = append(large, uint32(i))
		}
	}
	for len(small) > 0 && len(large) > 0 {
		s, l := small[0], large[len(large)-1]
		small = small[1:]
		places[s] = place{uint32(have[s]), l}
		have[l] -= uint64(total) - have[s]
		if have[l] < uint64(total) {
			large = large[:len(large)-1]
			small = append(small, l)
		}
	}
	return places, total
}

// fit divides weights by what they have in common, and further where their sum is more
// than a total can be: shares are then right to one in 2^31.
func fit(weights []uint32) (w []uint64, sum uint64) {
	var g uint64
	for _, x := range weights {
		g = gcd(g, uint64(x))
	}
	w = make([]uint64, len(weights))
	for i, x := range weights {
		w[i] = uint64(x) / g
		sum += w[i]
	}
	if sum <= math.MaxUint32 {
		return w, sum
	}
	d, all := sum/(1<<31)+1, uint64(0)
	for i := range w {
		w[i] = max(w[i]/d, 1)
		all += w[i]
	}
	return w, all
}

// step returns a number coprime to n that is near n divided by the golden ratio: taken
// in turn, positions spread well.
func step(n uint64) uint64 {
	const golden = 0.6180339887498949
	s := max(uint64(float64(n)*golden), 1)
	for gcd(s, n) != 1 {
		s++
	}
	return s
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
