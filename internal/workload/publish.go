// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
	"github.com/kmesh-net/kmesh-node/internal/exit"
)

// publish makes changes, which the model has, those of the maps. What it writes, it
// writes in this order: a writer that is killed on the way leaves writing set, and the
// next one makes all of it anew from the messages that are committed.
func (s *Store) publish(l *live, changes []change) error {
	p, err := l.plan(changes, s.maps.image(true))
	if err == nil && p.empty() && !l.repair && l.garbage.empty() {
		return s.markWaypoints(l, p.waypoints)
	}
	if err == nil {
		err = s.checkRoom(l, p)
	}
	if err != nil && p != nil && !(l.retired.empty() && l.leaving.empty()) {
		if err = s.retire(l); err == nil {
			err = s.checkRoom(l, p)
		}
	}
	if err != nil {
		s.live = nil // it is what was not published
		return err
	}
	if err := s.write(l, p); err != nil {
		return &exit.Error{Code: exit.NotReady, Step: "publish", Object: "configuration", Err: err, Remedy: s.takeBack()}
	}
	return nil
}

// takeBack undoes a publication that failed: what is derived is made anew from the
// messages that are committed.
func (s *Store) takeBack() (remedy string) {
	err := s.load()
	if err == nil {
		var p *plan
		if p, err = s.live.plan(nil, s.maps.image(true)); err == nil {
			err = s.write(s.live, p)
		}
	}
	if err != nil {
		s.live = nil
		return fmt.Sprintf("the next apply or up takes back what was written of it, for now: %v", err)
	}
	return "what was there before stays; try again"
}

// write publishes p. What fails after the commit is for the next writer, which finds
// writing set.
func (s *Store) write(l *live, p *plan) error {
	m := s.maps
	// A packet may still be in the image that is to be written.
	switch {
	case l.repair || l.grace:
		if err := bpfmap.Grace(); err != nil {
			return err
		}
		l.grace = false
	case p.image != nil && (l.retired.image || l.leaving.image):
		if err := s.retire(l); err != nil {
			return err
		}
	}
	next := l.generation + 1
	l.chunks += p.chunks
	m.meta.abi = abiVersion
	atomic.StoreUint64(word(&m.meta.writing), next)
	m.meta.next_set, m.meta.next_resource = u32(l.setIDs.next), u32(l.resources.next)
	committed := false
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"sweep", func() error { return s.sweep(&l.garbage) }},
		{"messages", func() error { return m.writeMessages(p, next) }},
		{"blocks", func() error { return m.writeBlocks(p.sets) }},
		{"denied", func() error { return s.writeDenied(p) }},
		{"served", func() error { return s.writeServed(p) }},
		{"image", func() error { return s.writeImage(l, p) }},
		{"peers", func() error { return s.writePeers(p) }},
		{"frontends", func() error { return s.writeFrontends(l, p) }},
		{"waypoints", func() error { return s.markWaypoints(l, p.waypoints || l.repair) }},
		{"commit", func() error {
			atomic.StoreUint64(word(&m.meta.generation), next)
			committed = true
			return nil
		}},
		{"retire", func() error {
			l.retired.add(&p.retired)
			s.maps.setLeaving(!l.retired.empty() || !l.leaving.empty())
			if err := s.sweep(&p.garbage); err != nil || s.later {
				return err
			}
			return s.retire(l)
		}},
		{"end", func() error { return nil }},
	} {
		err := s.step(step.name)
		if err == nil {
			err = step.do()
		}
		if err != nil && committed {
			s.live = nil
			s.warn("published; what nothing refers to any more is left for the next writer: %v", err)
			return nil
		}
		if err != nil {
			return err
		}
	}
	atomic.StoreUint64(word(&m.meta.writing), 0)
	l.generation, l.repair = next, false
	l.identities.fresh, l.policySets.fresh = false, false
	for _, c := range p.changes {
		if c.new != nil {
			c.new.published()
		}
	}
	return nil
}

// sweep removes what does not count from km_res.
func (s *Store) sweep(g *garbage) error {
	s.live.chunks -= len(g.messages) + len(g.tombstones)
	err := remove(s.maps, "km_res", g.messages)
	if err == nil {
		err = s.step("tombstones")
	}
	if err == nil {
		err = remove(s.maps, "km_res", g.tombstones)
	}
	*g = garbage{}
	return err
}

func (s *Store) writeDenied(p *plan) error {
	for _, id := range p.denied {
		var zero uint64
		err := bpfmap.Insert(s.maps.fd["km_denied"], raw(&id), raw(&zero))
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("write km_denied: %w", err)
		}
	}
	return nil
}

func (s *Store) writeImage(l *live, p *plan) error {
	atomic.StoreUint64(word(&s.maps.meta.view), l.model.view())
	if p.image == nil {
		return nil
	}
	old := as[imageC](s.maps.image(true))
	p.retired.image = old.abi != 0
	half := s.maps.image(false)
	clear(half[copy(half, p.image.Bytes()):])
	if err := s.step("flip"); err != nil {
		return err
	}
	s.maps.judgeAnew(true)
	return nil
}

func (s *Store) writePeers(p *plan) error {
	if len(p.peers)+len(p.peersGone) == 0 {
		return nil
	}
	if err := put(s.maps, "km_peer", p.peerKeys, p.peers); err != nil {
		return err
	}
	if err := s.step("peers gone"); err != nil {
		return err
	}
	if err := remove(s.maps, "km_peer", p.peersGone); err != nil {
		return err
	}
	if err := s.step("verdicts"); err != nil {
		return err
	}
	s.maps.judgeAnew(false)
	return nil
}

// writeFrontends keeps any_port not less than the frontends of port 0.
func (s *Store) writeFrontends(l *live, p *plan) error {
	anyPort := word(&s.maps.meta.any_port)
	if n := uint64(l.anyPort); n > atomic.LoadUint64(anyPort) {
		atomic.StoreUint64(anyPort, n)
	}
	if err := s.step("any port"); err != nil {
		return err
	}
	if err := put(s.maps, "km_frontend", p.keys, p.values); err != nil {
		return err
	}
	if err := s.step("frontends gone"); err != nil {
		return err
	}
	if err := remove(s.maps, "km_frontend", p.gone); err != nil {
		return err
	}
	atomic.StoreUint64(anyPort, uint64(l.anyPort))
	return nil
}

// spareChunks of km_res are left by what comes, so that something can always go: also what
// says so has to be written, with its name.
const spareChunks = 16

// checkRoom refuses what does not fit before anything is written. Old and new stand
// side by side for a moment.
func (s *Store) checkRoom(l *live, p *plan) error {
	spare := 0
	if slices.ContainsFunc(p.messages, func(m message) bool { return !m.tombstone }) {
		spare = spareChunks
	}
	for _, c := range []struct {
		name, of string
		need     int
		each     int // workloads for each of its entries that there is room for
		spare    int
	}{
		{"km_res", "parts of messages, old and new", l.chunks + p.chunks, 1, spare},
		{"km_block", "blocks of endpoints, old and new", l.blockCount + len(p.retired.blocks) + len(l.retired.blocks) + len(l.leaving.blocks) + l.model.beyond, 2, 0},
		{"km_frontend", "addresses and ports of services, old and new", len(l.frontends) + len(p.gone), 1, 0},
		{"km_peer", "addresses, old and new", len(l.peers) + len(p.peersGone), 1, 0},
	} {
		limit := s.maps.room[c.name] - c.spare
		if c.need > limit {
			workloads := 1
			for workloads < (c.need+c.spare)*c.each {
				workloads *= 2
			}
			return &exit.Error{Code: exit.Rejected, Step: "check configuration", Object: c.name,
				Err:    fmt.Errorf("%d %s are more than the limit of %d", c.need, c.of, limit),
				Remedy: fmt.Sprintf("what was there before stays; up --workloads %d makes room", workloads)}
		}
	}
	return nil
}
