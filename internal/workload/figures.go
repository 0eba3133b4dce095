// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"fmt"
	"strconv"

	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
	"github.com/kmesh-net/kmesh-node/internal/served"
)

// Use is how full a map is.
type Use struct {
	Map      string `json:"map"`
	Entries  int    `json:"entries"`
	Capacity int    `json:"capacity"`
}

// Usage is what the maps hold.
type Usage struct {
	Generation uint64 `json:"generation"`
	// Unfinished says that a writer ended before its publication was whole.
	Unfinished bool  `json:"unfinished"`
	Maps       []Use `json:"maps"`
	Services   int   `json:"services"`
	Workloads  int   `json:"workloads"`
	Policies   int   `json:"policies"`
	// Locality is where this node is, as far as it is known: REGION/ZONE/SUBZONE.
	Locality string `json:"locality"`
	Node     string `json:"node"`
	Network  string `json:"network"`
	Cluster  string `json:"cluster"`
}

// Stats reads how full the maps are. km_policy counts slots of the image in use.
func (s *Store) Stats() (Usage, error) {
	var u Usage
	err := s.fresh(func(l *live) error {
		u = s.usage(l)
		return nil
	})
	return u, err
}

func (s *Store) usage(l *live) Usage {
	var u Usage
	u.Unfinished = s.maps.writing() != 0
	u.Generation = l.generation
	u.Services, u.Workloads, u.Policies = len(l.model.res[Service]), len(l.model.res[Workload]), len(l.model.res[Policy])
	here := l.model.here
	u.Locality = here.String()
	u.Node, u.Network, u.Cluster = here.node, here.network, here.cluster
	for _, of := range []struct {
		name    string
		entries int
	}{{"km_res", l.chunks}, {"km_frontend", len(l.frontends)}, {"km_block", l.blockCount}, {"km_peer", len(l.peers)}, {"km_denied", len(l.denied)}, {"km_served", len(l.served)}} {
		u.Maps = append(u.Maps, Use{of.name, of.entries, s.maps.room[of.name]})
	}
	u.Maps = append(u.Maps, Use{"km_policy", usedSlots(s.maps.image(true)), s.maps.half / slotBytes})
	return u
}

// usedSlots is how many slots of a half are not all zero, from its start.
func usedSlots(half []byte) int {
	n := len(half)
	for n > 0 && half[n-1] == 0 {
		n--
	}
	return (n + slotBytes - 1) / slotBytes
}

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
