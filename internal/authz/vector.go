// SPDX-License-Identifier: Apache-2.0

package authz

import (
	"fmt"
	"slices"
	"sort"
)

// block is one row slot of a vector.
type block [rowsSlot / 64]uint64

// classes is what a dimension is cut into: in each class the same rows' conditions hold,
// so that a class has one vector. Class i begins at starts[i].
type classes struct {
	starts  []key
	vectors []uint32 // offsets, by class
	def     uint32   // offset of the default vector
}

func (k *classes) of(p key) uint32 {
	i := sort.Search(len(k.starts), func(i int) bool { return p.less(k.starts[i]) })
	return k.vectors[i-1]
}

// cut finds where the classes of dimension d begin.
func (c *compiler) cut(d int) ([]key, error) {
	seen := make([]bool, len(c.lines[d].sets))
	starts := []key{{}}
	var widest cond
	for _, r := range c.rows {
		s := r.box[d]
		if seen[s] {
			continue
		}
		seen[s] = true
		if len(c.lines[d].sets[s]) > len(c.lines[d].sets[widest]) {
			widest = s
		}
		for _, p := range c.lines[d].sets[s] {
			starts = append(starts, p.from)
			if n, ok := p.to.next(); ok && !c.lines[d].last.less(n) {
				starts = append(starts, n)
			}
		}
	}
	slices.SortFunc(starts, key.compare)
	starts = slices.Compact(starts)
	if len(starts) > maxRanges {
		for _, r := range c.rows {
			if r.box[d] == widest {
				return nil, &TooLarge{nameOf(r.name), fmt.Sprintf("all policies have more than %d ranges in one dimension, it has most of them", maxRanges)}
			}
		}
	}
	return starts, nil
}

// chain is a vector under construction: what it has of its own, the last slot first.
type chain struct {
	before uint32
	slot   uint8
	block  block
}

// vectorsOf makes the vectors of dimension d. def is the class whose vector is to be the
// default, -1 for that which makes the others smallest.
func (c *compiler) vectorsOf(d int, starts []key, def int, w *writer) (*classes, error) {
	n, slots := len(starts), (len(c.rows)+rowsSlot-1)/rowsSlot
	chains := []chain{{}} // 0 is the default
	names := map[chain]uint32{}
	state := make([]uint32, n)
	blocks := make([]block, n)
	base := make([]block, slots)
	m := newMatrix(rowsSlot, n)
	ranges := map[cond][][2]int{}
	for s := range slots {
		m.clear()
		for i, r := range c.rows[s*rowsSlot : min(len(c.rows), (s+1)*rowsSlot)] {
			for _, run := range c.runs(d, r.box[d], starts, ranges) {
				m.set(i, run[0], run[1])
			}
		}
		m.columns(blocks)
		if def >= 0 {
			base[s] = blocks[def]
		} else {
			base[s] = commonest(blocks)
		}
		for i, b := range blocks {
			if b == base[s] {
				continue
			}
			next := chain{state[i], uint8(s), b}
			id, ok := names[next]
			if !ok {
				id = uint32(len(chains))
				names[next] = id
				chains = append(chains, next)
			}
			state[i] = id
		}
		if len(chains) > maxSlots {
			return nil, &TooLarge{nameOf(c.rows[s*rowsSlot].name), "with it all policies need too many vectors"}
		}
	}
	k := &classes{starts: starts, vectors: make([]uint32, n), def: w.vector(base, nil, 0)}
	offsets := map[uint32]uint32{0: k.def}
	for i, id := range state {
		at, ok := offsets[id]
		if !ok {
			at = w.vector(base, chains, id)
			offsets[id] = at
		}
		k.vectors[i] = at
		if w.slots() > maxSlots {
			return nil, &TooLarge{nameOf(c.rows[len(c.rows)-1].name), "with it all policies need too many vectors"}
		}
	}
	return k, nil
}

// runs is a condition as runs of classes, the end not included.
func (c *compiler) runs(d int, s cond, starts []key, known map[cond][][2]int) [][2]int {
	r, ok := known[s]
	if !ok {
		for _, p := range c.lines[d].sets[s] {
			from, _ := slices.BinarySearchFunc(starts, p.from, key.compare)
			to := len(starts)
			if n, ok := p.to.next(); ok {
				to, _ = slices.BinarySearchFunc(starts, n, key.compare)
			}
			r = append(r, [2]int{from, to})
		}
		known[s] = r
	}
	return r
}

func commonest(blocks []block) block {
	count := map[block]int{}
	best, most := block{}, 0
	for _, b := range blocks {
		count[b]++
	}
	for _, b := range blocks { // in order: the image is the same for the same input
		if count[b] > most {
			best, most = b, count[b]
		}
	}
	return best
}
