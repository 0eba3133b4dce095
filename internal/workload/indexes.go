// SPDX-License-Identifier: Apache-2.0

package workload

// table gives keys their indexes in the image: stable while used, 0 for the zero key. An
// index that is no longer used keeps its key until another gets it, which is not
// before what named it is retired: peers of before may still do.
type table[K comparable] struct {
	index map[K]uint32
	slots []slot[K]
	free  []uint32 // unused indexes, and some that are used again
	fresh bool     // a key that the image may not have was taken
}

type slot[K comparable] struct {
	key    K
	refs   int
	held   int  // how many times it was given up and is not retired yet
	listed bool // in free
}

func newTable[K comparable]() *table[K] {
	return &table[K]{index: map[K]uint32{}, slots: make([]slot[K], 1)}
}

// take returns the index of key for one more peer.
func (t *table[K]) take(key K) uint32 {
	var zero K
	if key == zero {
		return 0
	}
	i, ok := t.index[key]
	if !ok {
		i = t.place(key)
	}
	// One that nothing needed for a while may have gone from the image.
	if at := &t.slots[i]; !ok || at.refs == 0 && at.held == 0 {
		t.fresh = true
	}
	t.slots[i].refs++
	return i
}

// maxIndex is above any index that is ever given out.
const maxIndex = 1 << 21

// adopt counts a peer that has index i already, and gives the index to key, which the
// peer should have, unless another key has it. An index of nobody stays in use.
func (t *table[K]) adopt(key K, i uint32) {
	var zero K
	if i == 0 || i > maxIndex {
		return
	}
	for i >= uint32(len(t.slots)) {
		t.slots = append(t.slots, slot[K]{})
	}
	t.slots[i].refs++
	if _, has := t.index[key]; has || key == zero || t.slots[i].key != zero {
		return
	}
	t.slots[i].key = key
	t.index[key] = i
}

// adopted is called after the last adopt.
func (t *table[K]) adopted() {
	for i := len(t.slots) - 1; i > 0; i-- {
		t.list(uint32(i))
	}
}

// list notes that an index may be given out, if it is unused.
func (t *table[K]) list(i uint32) {
	if s := &t.slots[i]; s.refs == 0 && s.held == 0 && !s.listed {
		s.listed = true
		t.free = append(t.free, i)
	}
}

func (t *table[K]) place(key K) uint32 {
	i := uint32(0)
	for i == 0 && len(t.free) > 0 {
		i = t.free[len(t.free)-1]
		t.free = t.free[:len(t.free)-1]
		t.slots[i].listed = false
		if t.slots[i].refs > 0 || t.slots[i].held > 0 {
			i = 0
		}
	}
	if i == 0 {
		i = uint32(len(t.slots))
		t.slots = append(t.slots, slot[K]{})
	}
	delete(t.index, t.slots[i].key)
	t.slots[i].key = key
	t.index[key] = i
	return i
}

// give takes one peer from an index; held says that nothing else had it: it is to be
// released once no program run can still see that peer.
func (t *table[K]) give(i uint32) (held bool) {
	if i == 0 || i >= uint32(len(t.slots)) {
		return false
	}
	s := &t.slots[i]
	s.refs--
	if s.refs == 0 {
		s.held++
	}
	return s.refs == 0
}

// release lets indexes that were held be given out.
func (t *table[K]) release(held []uint32) {
	for _, i := range held {
		t.slots[i].held--
		t.list(i)
	}
}

// keys are all keys by index; those that nothing needs are zero.
func (t *table[K]) keys() []K {
	list := make([]K, len(t.slots))
	for i, s := range t.slots {
		if s.refs > 0 || s.held > 0 {
			list[i] = s.key
		}
	}
	return list
}
