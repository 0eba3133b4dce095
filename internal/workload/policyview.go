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
