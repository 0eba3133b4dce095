// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"fmt"
	"net/netip"
	"slices"
)

// live is what the maps hold, and the model that it follows from.
type live struct {
	generation uint64
	grace      bool // the writer before did not wait for who uses what it gave up
	repair     bool // a publication was not finished: everything is made anew
	garbage    garbage
	chunks     int // of messages, garbage included

	model *model

	frontends  map[frontendKey]*frontend
	sets       map[spec]*set
	blocks     map[uint32]int // number of blocks by set id
	blockCount int            // of all sets
	touched    []*set         // whose number of frontends changed
	orphans    []uint32       // sets of no frontend, as they were read
	retired    retired        // by publications before
	leaving    retired        // and is being waited for
	leavings   int            // how many times something was
	counters   counters
	anyPort    int // frontends of port 0

	peers      map[netip.Addr]peerC
	identities *table[identity]
	policySets *table[string]
	denied     map[uint32]struct{}
	served     map[uint32]struct{}
	room       map[string]int // of the maps
	// countersChecked says that denied and served have been compared with what there is.
	countersChecked bool
	image           bool // has to be written

	setIDs, resources numbers // of resources and of messages

	// unchecked is what has not been compared with the maps since they were read.
	unchecked dirty
}

// frontend is one of km_frontend.
type frontend struct {
	value       frontendC
	direct, via *set // nil for none
}

// set is a set of endpoints.
type set struct {
	id   uint32
	spec spec
	refs int

	touched bool
}

func newLive() *live {
	return &live{
		model:     newModel(),
		frontends: map[frontendKey]*frontend{}, sets: map[spec]*set{}, blocks: map[uint32]int{},
		counters:   newCounters(),
		peers:      map[netip.Addr]peerC{},
		identities: newTable[identity](), policySets: newTable[string](),
		denied: map[uint32]struct{}{},
		served: map[uint32]struct{}{},
		setIDs: numbers{next: 1}, resources: numbers{next: 1},
	}
}

// load reads the maps. It is called with the lock held.
func (s *Store) load() error {
	m := s.maps
	if abi := uint32(m.meta.abi); abi != 0 && abi != abiVersion {
		return fmt.Errorf("read km_wmeta: its layout is %d, this kmesh-node's is %d; run up again", abi, abiVersion)
	}
	s.live = nil
	l := newLive()
	l.model.maxBlocks = m.room["km_block"]
	l.room = m.room
	l.grace = m.leaving()
	l.generation, l.repair = m.generation(), m.writing() != 0
	list, err := readStored(m)
	if err != nil {
		return err
	}
	for _, p := range list {
		l.chunks += len(p.keys)
	}
	var kept []*resource
	kept, l.garbage = valid(list, l.generation)
	for _, step := range []func(*kernelMaps) error{l.readFrontends, l.readPeers, l.readDenied, l.readServed} {
		if err := step(m); err != nil {
			return err
		}
	}
	if err := s.readHost(l); err != nil {
		return err
	}
	for _, r := range kept {
		l.model.put(r)
	}
	l.model.derive()
	l.adopt()
	head := as[imageC](m.image(true))
	// Seen from another place, an index in the image may be somebody else's.
	l.image = l.repair || head.abi != abiVersion || l.generation > 0 && uint64(m.meta.view) != l.model.view()
	l.setIDs.resume(uint32(m.meta.next_set), l.setsInUse)
	l.resources.resume(uint32(m.meta.next_resource), l.resourcesInUse(nil))
	l.unchecked = l.model.dirty
	l.unchecked.policies = false
	l.model.clean()
	s.live = l
	return nil
}

// readHost takes what the loader and the host say: settings, enrolments and addresses.
func (s *Store) readHost(l *live) error {
	if err := s.readNode(l); err != nil {
		return err
	}
	hosts := map[netip.Addr]struct{}{}
	if s.opts.HostAddresses == nil {
		for a, p := range l.peers {
			if p.flags&peerNode != 0 {
				hosts[a] = struct{}{}
			}
		}
		l.model.setHosts(hosts)
		return nil
	}
	now, err := s.opts.HostAddresses()
	if err != nil {
		return err
	}
	for _, a := range now {
		hosts[a.Unmap().WithZone("")] = struct{}{}
	}
	l.model.setHosts(hosts)
	return nil
}

// readNode takes what the loader says, at any time: settings and enrolments.
func (s *Store) readNode(l *live) error {
	node, err := s.maps.settings()
	if err != nil {
		return err
	}
	if node != l.model.node {
		l.model.node = node
		l.model.allDirty()
	}
	pods, err := s.maps.enrolments()
	if err != nil {
		return err
	}
	enrolled := map[netip.Addr][]netip.Addr{}
	for _, e := range pods {
		for _, a := range e.addrs {
			enrolled[a] = append(enrolled[a], e.addrs...)
		}
	}
	l.model.setEnrolled(enrolled)
	return nil
}

func (l *live) readFrontends(m *kernelMaps) error {
	blocks := map[blockKeyC]int{} // where in content
	var content []blockC
	err := each(m, "km_block", func(k blockKeyC, b *blockC) error {
		blocks[k] = len(content)
		content = append(content, *b)
		l.setBlocks(uint32(k.set), max(l.blocks[uint32(k.set)], int(k.block)+1))
		return nil
	})
	if err != nil {
		return err
	}
	// What is not there leaves no set's spec.
	specOf := func(c *setC) spec {
		n := (int(c.n) + blockSize - 1) / blockSize
		if n != l.blocks[uint32(c.id)] {
			return spec{}
		}
		list := make([]blockC, n)
		for i := range list {
			at, ok := blocks[blockKeyC{set: c.id, block: u32(i)}]
			if !ok {
				return spec{}
			}
			list[i] = content[at]
		}
		return spec{uint32(c.n), uint32(c.total), uint64(c.step), string(rawAll(list))}
	}
	byID := map[uint32]*set{}
	use := func(c *setC) *set {
		if c.n == 0 {
			return nil
		}
		t := byID[uint32(c.id)]
		if t == nil {
			t = &set{id: uint32(c.id), spec: specOf(c)}
			byID[t.id] = t
			if same := l.sets[t.spec]; t.spec.n > 0 && (same == nil || same.id > t.id) {
				l.sets[t.spec] = t
			}
		}
		t.refs++
		l.counters.hold(uint32(c.counter))
		return t
	}
	err = each(m, "km_frontend", func(key frontendKeyC, v *frontendC) error {
		k := decodeFrontendKey(raw(&key))
		if k.port == 0 {
			l.anyPort++
		}
		l.frontends[k] = &frontend{*v, use(&v.direct), use(&v.via)}
		return nil
	})
	for id := range l.blocks {
		if byID[id] == nil {
			l.orphans = append(l.orphans, id)
		}
	}
	return err
}

func (l *live) readPeers(m *kernelMaps) error {
	return each(m, "km_peer", func(key [16]byte, p *peerC) error {
		l.peers[unmapped(key[:])] = *p
		return nil
	})
}

func (l *live) readDenied(m *kernelMaps) error {
	return each(m, "km_denied", func(id uint32, _ *uint64) error {
		l.denied[id] = struct{}{}
		return nil
	})
}

// adopt finds out what the indexes in peers stand for, and has everything compared.
func (l *live) adopt() {
	addrs := make([]netip.Addr, 0, len(l.peers))
	for a := range l.peers {
		addrs = append(addrs, a)
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	for _, a := range addrs {
		have := l.peers[a]
		want, _ := l.model.peerOf(a)
		l.identities.adopt(want.identity, uint32(have.identity))
		l.policySets.adopt(want.set, uint32(have.pset))
		l.model.dirty.peers[a] = struct{}{}
	}
	l.identities.adopted()
	l.policySets.adopted()
	for k := range l.frontends {
		l.model.dirty.keys[k] = struct{}{}
	}
}
