// SPDX-License-Identifier: Apache-2.0

package authz

import (
	"math/bits"
	"slices"
	"unsafe"

	"github.com/kmesh-net/kmesh-node/proto/security"
)

// Slot is the unit of km_policy.
type Slot = [slotSize]byte

// Image is one half of km_policy.
type Image struct {
	Slots []Slot
}

// Bytes is the image's own memory.
func (img *Image) Bytes() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(img.Slots))), len(img.Slots)*slotSize)
}

// ImageOf reads b, an image or the half of km_policy that holds one, in place.
func ImageOf(b []byte) *Image {
	return &Image{unsafe.Slice((*Slot)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/slotSize)}
}

// writer puts an image together.
type writer struct {
	img  Image
	have map[string]uint32 // vectors by their bytes; dimensions share them
}

func (w *writer) slots() int { return len(w.img.Slots) }

// table adds room for n entries of type T, in whole slots, and returns their offset.
func table[T any](w *writer, n int) (uint32, []T) {
	var e T
	at, size := len(w.img.Slots), n*int(unsafe.Sizeof(e))
	w.img.Slots = append(w.img.Slots, make([]Slot, (size+slotSize-1)/slotSize)...)
	return uint32(at), entries[T](&w.img, uint32(at), n)
}

// entries is n entries at an offset. They are the image's memory until it grows.
func entries[T any](img *Image, at uint32, n int) []T {
	if n == 0 {
		return nil
	}
	var e T
	b := img.Bytes()[int(at)*slotSize:]
	b = b[:n*int(unsafe.Sizeof(e))]
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), n)
}

// vector adds a vector: of chain id what it has itself, of base what decides which row
// slots are empty. Chain 0 is base itself.
func (w *writer) vector(base []block, chains []chain, id uint32) uint32 {
	var head vectorHead
	var own []block
	for s, b := range base {
		if b != (block{}) {
			head.nonempty |= 1 << s
		}
		if id == 0 {
			head.own |= 1 << s
			own = append(own, b)
		}
	}
	for ; id != 0; id = chains[id].before {
		k := &chains[id]
		head.own |= 1 << k.slot
		head.nonempty &^= 1 << k.slot
		if k.block != (block{}) {
			head.nonempty |= 1 << k.slot
		}
		own = append(own, k.block)
	}
	if chains != nil {
		slices.Reverse(own)
	}
	raw := append(unsafe.Slice((*byte)(unsafe.Pointer(&head)), slotSize),
		unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(own))), len(own)*slotSize)...)
	if at, ok := w.have[string(raw)]; ok {
		return at
	}
	at, to := table[byte](w, len(raw))
	copy(to, raw)
	w.have[string(raw)] = at
	return at
}

func (c *compiler) encode() (*Image, error) {
	w := &writer{have: map[string]uint32{}}
	table[imageHead](w, 1)
	defaults, _ := table[word](w, dims)
	head := imageHead{abi: abiVersion, rows: word(len(c.rows)), deny: word(c.deny), defaults: word(defaults)}

	var cuts [dims]*classes
	for d := range dims {
		if !c.conditional(d) {
			continue
		}
		starts, err := c.cut(d)
		if err != nil {
			return nil, err
		}
		def := -1
		if d == dimPort {
			def = widest(starts, c.lines[d].last)
		}
		if cuts[d], err = c.vectorsOf(d, starts, def, w); err != nil {
			return nil, err
		}
		head.dims |= 1 << d
		entries[word](&w.img, defaults, dims)[d] = word(cuts[d].def)
	}
	c.putSets(w, &head, cuts[dimSet])
	c.putIdentities(w, &head, cuts[dimIdentity])
	head.sources, head.n_sources = putRanges(w, cuts[dimSource])
	head.dests, head.n_dests = putRanges(w, cuts[dimDest])
	head.ports, head.port_mask = putPorts(w, cuts[dimPort])
	c.putPolicies(w, &head)
	entries[imageHead](&w.img, 0, 1)[0] = head
	return &w.img, nil
}

// conditional says whether a row has a condition in dimension d.
func (c *compiler) conditional(d int) bool {
	return slices.ContainsFunc(c.rows, func(r row) bool { return r.box[d] != all })
}

func (c *compiler) putSets(w *writer, head *imageHead, k *classes) {
	n := max(len(c.in.Sets), 1)
	at, to := table[setEntry](w, n)
	head.psets, head.n_psets = word(at), word(n)
	if k != nil {
		for i := range to {
			to[i].vector = word(k.of(key{lo: uint64(i)}))
		}
	}
	reach := c.reach()
	for i := range c.in.Policies {
		if c.in.Policies[i].GetAction() != security.Action_ALLOW {
			continue
		}
		for _, p := range c.lines[dimSet].sets[reach[i]] {
			for s := p.from.lo; s <= p.to.lo; s++ {
				to[s].flags |= setAllow
			}
		}
	}
}

func (c *compiler) putIdentities(w *writer, head *imageHead, k *classes) {
	if k == nil {
		return
	}
	n := len(c.in.Identities)
	at, to := table[word](w, n)
	head.identities, head.n_identities = word(at), word(n)
	for i, rank := range c.people.ranks {
		to[i] = word(k.of(key{lo: uint64(rank)}))
	}
}

func putRanges(w *writer, k *classes) (at, n word) {
	if k == nil {
		return 0, 0
	}
	var out []rangeEntry
	for i, start := range k.starts {
		v := word(k.vectors[i])
		if len(out) == 0 || out[len(out)-1].vector != v {
			out = append(out, rangeEntry{hi: wide(start.hi), lo: wide(start.lo), vector: v})
		}
	}
	offset, to := table[rangeEntry](w, len(out))
	copy(to, out)
	return word(offset), word(len(out))
}

// widest is the class that holds most ports: its ports need no cell.
func widest(starts []key, last key) int {
	best, most := 0, uint64(0)
	for i, s := range starts {
		end := last.lo + 1
		if i+1 < len(starts) {
			end = starts[i+1].lo
		}
		if end-s.lo > most {
			best, most = i, end-s.lo
		}
	}
	return best
}

func putPorts(w *writer, k *classes) (at, mask word) {
	if k == nil {
		return 0, 0
	}
	var cells []portCell
	for i, s := range k.starts {
		end := uint64(65536)
		if i+1 < len(k.starts) {
			end = k.starts[i+1].lo
		}
		for p := s.lo; k.vectors[i] != k.def && p < end; p++ {
			cells = append(cells, portCell{port: word(p), vector: word(k.vectors[i])})
		}
	}
	slots := uint32(1) << bits.Len(uint(max(len(cells), 1)-1)/portCells)
	for !fits(cells, slots-1) {
		slots *= 2
	}
	offset, to := table[[portCells]portCell](w, int(slots))
	for _, c := range cells {
		row := &to[portSlot(uint32(c.port))&(slots-1)]
		row[slices.IndexFunc(row[:], func(o portCell) bool { return o.vector == 0 })] = c
	}
	return word(offset), word(slots - 1)
}

// fits says whether no slot gets more cells than it has room for. With 65536 slots none does.
func fits(cells []portCell, mask uint32) bool {
	n := make([]uint8, mask+1)
	for _, c := range cells {
		s := portSlot(uint32(c.port)) & mask
		if n[s]++; n[s] > portCells {
			return false
		}
	}
	return true
}

func (c *compiler) putPolicies(w *writer, head *imageHead) {
	at, to := table[word](w, len(c.rows))
	head.policies = word(at)
	for i, r := range c.rows {
		to[i] = word(r.policy)
	}
}
