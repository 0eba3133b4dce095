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
	if !l.countersChecked {
		l.countersChecked = true
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

// Served returns what connects of this node's pods came to, by service name. It does not
// wait for who writes, unless there are services that it has not seen before.
func (s *Store) Served() ([]served.Counters, error) {
	byNumber, err := s.readCounters()
	if err != nil {
		return nil, err
	}
	list, known := s.named(byNumber)
	if !known {
		err = s.current(func(l *live) error {
			// The number of a service is no other's, ever.
			s.names = make(map[uint32]string, len(byNumber))
			for num := range byNumber {
				if r := l.model.nums[num]; r != nil {
					s.names[num] = r.name
				}
			}
			return nil
		})
		list, _ = s.named(byNumber)
	}
	served.Sort(list)
	return list, err
}

func (s *Store) readCounters() (map[uint32]servedC, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.gaveWay(); err != nil {
		return nil, err
	}
	m := map[uint32]servedC{}
	err := each(s.maps, "km_served", func(num uint32, c *servedC) error {
		m[num] = *c
		return nil
	})
	return m, err
}

// named are counters by name, and whether all of them have one.
func (s *Store) named(byNumber map[uint32]servedC) (list []served.Counters, all bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for num, c := range byNumber {
		if name, known := s.names[num]; known {
			list = append(list, countersOf(name, &c))
		}
	}
	return list, len(list) == len(byNumber)
}

func countersOf(name string, c *servedC) served.Counters {
	return served.Counters{Service: name, Connects: uint64(c.ok), Latency: time.Duration(c.latency_ns),
		Refused: uint64(c.refused), Timeouts: uint64(c.timeouts), Errors: uint64(c.errors)}
}

// Denials returns how many connections were denied, by any policy and by none.
func (s *Store) Denials() (sum uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.gaveWay(); err != nil {
		return 0, err
	}
	err = each(s.maps, "km_denied", func(_ uint32, n *u64) error {
		sum += uint64(*n)
		return nil
	})
	return sum, err
}
