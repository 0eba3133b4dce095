// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
)

// markWaypoints makes the flags of enrolments say which pods serve as waypoints. A
// namespace with flags has its slot ask for them.
func (s *Store) markWaypoints(l *live, changed bool) error {
	if !changed {
		return nil
	}
	pods, err := s.maps.enrolments()
	if err != nil {
		return err
	}
	for _, e := range pods {
		flags := e.value.flags &^ netnsWaypoint
		for _, a := range e.addrs {
			if l.peers[a].flags&peerWaypoint != 0 {
				flags |= netnsWaypoint
			}
		}
		if flags == e.value.flags && (flags == 0 || s.asks(e.cookie)) {
			continue
		}
		e.value.flags = flags
		if err := s.setFlags(&e); err != nil {
			return fmt.Errorf("mark waypoint: %w", err)
		}
	}
	return nil
}

func (s *Store) asks(cookie uint64) bool {
	var have uint64
	i := netnsSlot(cookie)
	return bpfmap.Lookup(s.maps.fd["km_netns_slot"], raw(&i), raw(&have)) == nil && have == netnsAsk
}

// setFlags writes flags, then the slot. One that left meanwhile is not brought back,
// and finds a slot that asks.
func (s *Store) setFlags(e *enrolment) error {
	netns, slots := s.maps.fd["km_netns"], s.maps.fd["km_netns_slot"]
	err := bpfmap.Replace(netns, raw(&e.cookie), raw(&e.value))
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	i, ask := netnsSlot(e.cookie), uint64(netnsAsk)
	if e.value.flags != 0 {
		return bpfmap.Update(slots, raw(&i), raw(&ask))
	}
	if err := bpfmap.Update(slots, raw(&i), raw(&e.cookie)); err != nil {
		return err
	}
	var now netnsC
	err = bpfmap.Lookup(netns, raw(&e.cookie), raw(&now))
	if errors.Is(err, unix.ENOENT) || err == nil && now.flags != 0 {
		return bpfmap.Update(slots, raw(&i), raw(&ask))
	}
	return err
}
