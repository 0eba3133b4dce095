// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
	"github.com/kmesh-net/kmesh-node/proto/security"
)

// PolicyView is a policy as it was sent, and how often it denied.
type PolicyView struct {
	Name     string        `json:"name"`
	Scope    string        `json:"scope"`
	Action   string        `json:"action"`
	Groups   int           `json:"groups"`
	Denied   uint64        `json:"denied"`
	Notes    []string      `json:"notes"`
	Resource proto.Message `json:"-"`
}

// Policies reads all policies back, by name.
func (s *Store) Policies() ([]PolicyView, error) {
	var list []PolicyView
	err := s.fresh(func(l *live) error {
		for _, r := range l.model.sorted(Policy) {
			v := PolicyView{Name: r.name, Scope: strings.ToLower(r.more.policy.GetScope().String()),
				Action: strings.ToLower(r.more.policy.GetAction().String()), Groups: len(r.more.policy.GetGroups()),
				Notes: l.model.told(r), Resource: r.more.policy}
			var err error
			if v.Denied, err = s.deniedBy(r.num); err != nil {
				return err
			}
			list = append(list, v)
		}
		return nil
	})
	return list, err
}

// DeniedByNone returns how many connections were denied because no ALLOW policy matched.
func (s *Store) DeniedByNone() (n uint64, err error) {
	err = s.locked(func() error {
		n, err = s.deniedBy(0)
		return err
	})
	return n, err
}

func (s *Store) deniedBy(policy uint32) (uint64, error) {
	var n uint64
	err := bpfmap.Lookup(s.maps.fd["km_denied"], raw(&policy), raw(&n))
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return 0, fmt.Errorf("read km_denied: %w", err)
	}
	return n, nil
}

// applies says whether a policy applies to a workload.
func applies(p *resource, w *traits) bool {
	switch p.more.policy.GetScope() {
	case security.Scope_GLOBAL:
		return true
	case security.Scope_NAMESPACE:
		return p.more.policy.GetNamespace() == w.namespace()
	case security.Scope_WORKLOAD_SELECTOR:
		return slices.Contains(w.policies(), p.name)
	}
	return false
}

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
	u.Locality = strings.TrimRight(strings.Join([]string{here.region, here.zone, here.subzone}, "/"), "/")
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
