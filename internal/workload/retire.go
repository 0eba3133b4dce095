// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
)

// retired is what nothing refers to any more, but a program run that is under way.
type retired struct {
	blocks           []blockKeyC
	denied, served   []uint32
	identities, sets []uint32 // indexes that no peer has
	image            bool     // another one was in use before
}

func (r *retired) empty() bool {
	return len(r.blocks)+len(r.denied)+len(r.served)+len(r.identities)+len(r.sets) == 0 && !r.image
}

func (r *retired) add(o *retired) {
	r.blocks = append(r.blocks, o.blocks...)
	r.denied = append(r.denied, o.denied...)
	r.served = append(r.served, o.served...)
	r.identities = append(r.identities, o.identities...)
	r.sets = append(r.sets, o.sets...)
	r.image = r.image || o.image
}

// Later leaves it to the caller of Retiring to remove what publications leave behind:
// that takes a wait for all program runs that are under way, and who publishes need not
// wait for it.
func (s *Store) Later() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.later = true
}

// Retiring returns what is to be called once bpfmap.Grace has returned; nil where there
// is nothing to remove.
func (s *Store) Retiring() (remove func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.live
	if l == nil || l.retired.empty() && l.leaving.empty() {
		return nil
	}
	l.leaving.add(&l.retired)
	l.retired = retired{}
	l.leavings++
	n := l.leavings
	return func() error {
		return s.locked(func() error {
			if s.live != l || l.leavings != n {
				return nil // read anew, or a later call brings these as well
			}
			return s.remove(l)
		})
	}
}

// retire waits, and removes what was retired.
func (s *Store) retire(l *live) error {
	l.leaving.add(&l.retired)
	l.retired = retired{}
	l.leavings++
	if l.leaving.empty() {
		return nil
	}
	if err := bpfmap.Grace(); err != nil {
		return err
	}
	return s.remove(l)
}

// remove removes what no program run can be using any more. The image that is not in
// use, and indexes that no peer has, are nobody's from then on as well.
func (s *Store) remove(l *live) error {
	if err := s.step("blocks gone"); err != nil {
		return err
	}
	if err := remove(s.maps, "km_block", l.leaving.blocks); err != nil {
		return err
	}
	if err := remove(s.maps, "km_denied", l.leaving.denied); err != nil {
		return err
	}
	if err := remove(s.maps, "km_served", l.leaving.served); err != nil {
		return err
	}
	l.identities.release(l.leaving.identities)
	l.policySets.release(l.leaving.sets)
	l.leaving = retired{}
	s.maps.setLeaving(!l.retired.empty())
	return nil
}
