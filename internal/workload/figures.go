// SPDX-License-Identifier: Apache-2.0

package workload

import "strconv"

// Figures are what the writer knows of the maps, without reading them anew where it
// wrote them last.
type Figures struct {
	Usage
	// Denied are connections denied by policy, NoPolicy for want of one that allows.
	Denied   map[string]uint64
	NoPolicy uint64
}

// Figures reads how full the maps are, and what policies denied.
func (s *Store) Figures() (Figures, error) {
	f := Figures{Denied: map[string]uint64{}}
	err := s.current(func(l *live) error {
		f.Usage = s.usage(l)
		return each(s.maps, "km_denied", func(id uint32, n *uint64) error {
			switch r := l.model.nums[id]; {
			case id == 0:
				f.NoPolicy = *n
			case r != nil:
				f.Denied[r.name] = *n
			default: // of a publication that was not finished
				f.Denied[strconv.Itoa(int(id))] = *n
			}
			return nil
		})
	})
	return f, err
}
