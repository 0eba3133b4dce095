// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"fmt"
	"strconv"

	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
	"github.com/kmesh-net/kmesh-node/internal/served"
)

// Figures are how full the maps are, and what the data plane counted.
type Figures struct {
	Usage
	// Denied are connections denied by policy, NoPolicy for want of one that allows.
	Denied   map[string]uint64
	NoPolicy uint64
	Served   []served.Counters // by service name
}

// Reader reads Figures again and again: the counters each time, and what follows from the
// messages, which takes long, from a Store when a publication has changed it.
type Reader struct {
	usage Usage
	names map[uint32]string // of services and policies; nil: not known
}

// Learn takes from s how full the maps are, and what services and policies are called.
func (r *Reader) Learn(s *Store) error {
	return s.current(func(l *live) error {
		r.usage, r.names = s.usage(l), map[uint32]string{}
		for _, k := range []Kind{Service, Policy} {
			for _, x := range l.model.res[k] {
				r.names[x.num] = x.name
			}
		}
		return nil
	})
}

// Current says whether the maps are as they were at the last Learn; fd returns the
// descriptor of a map.
func (r *Reader) Current(fd func(string) int) (bool, error) {
	if r.names == nil {
		return false, nil
	}
	var zero [4]byte
	var m metaC
	if err := bpfmap.Lookup(fd("km_wmeta"), zero[:], raw(&m)); err != nil {
		return false, fmt.Errorf("read km_wmeta: %w", err)
	}
	return uint64(m.generation) == r.usage.Generation && m.writing == 0, nil
}

// Figures reads the counters. One of a publication that Learn has not seen has its number
// for a name.
func (r *Reader) Figures(fd func(string) int) (*Figures, error) {
	f := &Figures{Usage: r.usage, Denied: map[string]uint64{}}
	m := &kernelMaps{fd: map[string]int{"km_denied": fd("km_denied"), "km_served": fd("km_served")}}
	err := each(m, "km_denied", func(num uint32, n *u64) error {
		if num == 0 {
			f.NoPolicy = uint64(*n)
		} else {
			f.Denied[r.name(num)] = uint64(*n)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = each(m, "km_served", func(num uint32, c *servedC) error {
		f.Served = append(f.Served, countersOf(r.name(num), c))
		return nil
	})
	served.Sort(f.Served)
	return f, err
}

func (r *Reader) name(num uint32) string {
	if name, ok := r.names[num]; ok {
		return name
	}
	return strconv.FormatUint(uint64(num), 10)
}
