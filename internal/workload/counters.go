// SPDX-License-Identifier: Apache-2.0

package workload

// counters says which round-robin counters are taken. Number 0 is none.
type counters struct {
	taken []bool
	free  int
	next  uint32 // where to look for a free one
}

func newCounters() counters {
	return counters{taken: make([]bool, maxCounters), free: maxCounters - 1, next: 1}
}

// take returns a counter that is free, 0 where none is: endpoints are then taken at
// random.
func (c *counters) take() uint32 {
	if c.free == 0 {
		return 0
	}
	for {
		i := c.next
		if c.next++; c.next == maxCounters {
			c.next = 1
		}
		if !c.taken[i] {
			c.hold(i)
			return i
		}
	}
}

// hold takes counter i, which a frontend has.
func (c *counters) hold(i uint32) {
	if i > 0 && i < maxCounters && !c.taken[i] {
		c.taken[i] = true
		c.free--
	}
}

func (c *counters) give(i uint32) {
	if i > 0 && i < maxCounters && c.taken[i] {
		c.taken[i] = false
		c.free++
	}
}
