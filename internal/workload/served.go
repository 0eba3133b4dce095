// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"time"

	"github.com/kmesh-net/kmesh-node/internal/served"
)

// planServed keeps counters for each service. More than there is room for are not
// counted.
func (l *live) planServed(p *plan, changes []change) {
	gone := func(num uint32) {
		if _, has := l.served[num]; has {
			p.retired.served = append(p.retired.served, num)
			delete(l.served, num)
		}
	}
	want := func(r *resource) {
		used := len(l.served) + len(p.retired.served) + len(l.retired.served) + len(l.leaving.served)
		if _, has := l.served[r.num]; !has && l.fits("km_served", used) {
			p.served = append(p.served, r.num)
			l.served[r.num] = struct{}{}
		}
	}
	if !l.servedChecked {
		l.servedChecked = true
		for num := range l.served {
			if r := l.model.nums[num]; r == nil || r.kind != Service {
				gone(num)
			}
		}
		for _, r := range l.model.res[Service] {
			want(r)
		}
		return
	}
	for _, c := range changes {
		if c.new == nil && c.old.kind == Service {
			gone(c.old.num)
		}
	}
	for _, c := range changes {
		if c.new != nil && c.new.kind == Service {
			want(c.new)
		}
	}
}

// fits says whether a map of counters has room for one more.
func (l *live) fits(name string, used int) bool {
	room, known := l.room[name]
	return !known || used < room
}

func (s *Store) writeServed(p *plan) error {
	return put(s.maps, "km_served", p.served, make([]servedC, len(p.served)))
}

func (l *live) readServed(m *kernelMaps) error {
	return each(m, "km_served", func(num uint32, _ *servedC) error {
		l.served[num] = struct{}{}
		return nil
	})
}

// Served returns what connects of this node's pods came to, by service name.
func (s *Store) Served() ([]served.Counters, error) {
	var list []served.Counters
	err := s.current(func(l *live) error {
		return each(s.maps, "km_served", func(num uint32, c *servedC) error {
			if r := l.model.nums[num]; r != nil {
				list = append(list, served.Counters{Service: r.name, Connects: uint64(c.ok), Latency: time.Duration(c.latency_ns),
					Refused: uint64(c.refused), Timeouts: uint64(c.timeouts), Errors: uint64(c.errors)})
			}
			return nil
		})
	})
	served.Sort(list)
	return list, err
}
