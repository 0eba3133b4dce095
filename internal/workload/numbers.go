// SPDX-License-Identifier: Apache-2.0

package workload

import "iter"

// numbers gives out ids of 32 bits, in their order. Once they are used up, which takes
// years, it begins anew, and leaves out those that are in use then.
type numbers struct {
	next uint32
	used map[uint32]struct{} // that next may come to; nil for none
}

// resume begins where another process ended; inUse are the ids that are in use.
func (n *numbers) resume(next uint32, inUse iter.Seq[uint32]) {
	n.next = max(next, 1)
	n.avoid(inUse)
}

func (n *numbers) avoid(inUse iter.Seq[uint32]) {
	n.used = nil
	for id := range inUse {
		if id < n.next {
			continue
		}
		if n.used == nil {
			n.used = map[uint32]struct{}{}
		}
		n.used[id] = struct{}{}
	}
}

// take returns an id that is not in use.
func (n *numbers) take(inUse iter.Seq[uint32]) uint32 {
	for {
		id := n.next
		if n.next++; n.next == 0 {
			n.next = 1 // 0 is none
			n.avoid(inUse)
		}
		if _, used := n.used[id]; !used {
			return id
		}
	}
}

// setsInUse are the ids of sets that km_block has, or may have.
func (l *live) setsInUse(yield func(uint32) bool) {
	for id := range l.blocks {
		if !yield(id) {
			return
		}
	}
	for _, s := range l.touched {
		if !yield(s.id) {
			return
		}
	}
	for _, r := range []*retired{&l.retired, &l.leaving} {
		for _, k := range r.blocks {
			if !yield(uint32(k.set)) {
				return
			}
		}
	}
}

// resourcesInUse are the numbers of resources, and the ids of messages that km_res has
// until changes are published.
func (l *live) resourcesInUse(changes []change) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for num, r := range l.model.nums {
			if !yield(num) || !yield(r.id) {
				return
			}
		}
		for _, c := range changes {
			if c.old != nil && (!yield(c.old.num) || !yield(c.old.id)) {
				return
			}
		}
		for _, keys := range [][]chunkKeyC{l.garbage.messages, l.garbage.tombstones} {
			for _, k := range keys {
				if !yield(uint32(k.id)) {
					return
				}
			}
		}
	}
}
