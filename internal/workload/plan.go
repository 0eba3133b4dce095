// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/kmesh-net/kmesh-node/internal/authz"
)

// change is a resource that comes (new), goes (old), or is replaced.
type change struct {
	old, new *resource
}

// plan is what one publication writes, all of it known before the first write.
type plan struct {
	chunkKeys []chunkKeyC
	chunks    []chunkC
	garbage   garbage // once the publication is committed

	blockKeys []blockKeyC
	blocks    []blockC
	retired   []blockKeyC // once no connect can see them

	keys   []frontendKeyC
	values []frontendC
	gone   []frontendKeyC

	peerKeys  [][16]byte
	peers     []peerC
	peersGone [][16]byte
	waypoints bool // which peers are waypoints changed

	image      *authz.Image
	replaced   bool     // another image was in use before
	denied     []uint32 // to be made
	deniedGone []uint32
}

// judges says whether verdicts may change.
func (p *plan) judges() bool { return p.image != nil || len(p.peers)+len(p.peersGone) > 0 }

func (p *plan) empty() bool {
	return len(p.chunks)+len(p.blocks)+len(p.values)+len(p.gone)+len(p.retired)+len(p.denied)+len(p.deniedGone) == 0 &&
		!p.judges() && p.garbage.empty()
}

// plan compares what the model wants with what the maps hold, used being the image in
// use, and changes live to what they will hold.
func (l *live) plan(changes []change, used []byte) (*plan, error) {
	p := &plan{}
	l.planChunks(p, changes)
	keys := l.model.dirty.keys
	maps.Copy(keys, l.unchecked.keys)
	l.planFrontends(p, slices.SortedFunc(maps.Keys(keys), func(a, b frontendKey) int {
		return netip.AddrPortFrom(a.addr, a.port).Compare(netip.AddrPortFrom(b.addr, b.port))
	}))
	l.planBlocks(p)
	peers := l.model.dirty.peers
	maps.Copy(peers, l.unchecked.peers)
	l.planPeers(p, slices.SortedFunc(maps.Keys(peers), netip.Addr.Compare))
	l.planDenied(p)
	if err := l.planImage(p, used); err != nil {
		return nil, err
	}
	l.unchecked = dirty{}
	l.model.clean()
	return p, nil
}

func (l *live) planChunks(p *plan, changes []change) {
	for _, c := range changes {
		s := &stored{id: l.nextResource, generation: l.generation + 1}
		l.nextResource++
		if c.new != nil {
			s.kind, s.data, s.tag = c.new.kind, c.new.wire, c.new.num
			c.new.id, c.new.chunks = s.id, chunksOf(len(s.data))
		} else {
			s.kind, s.tombstone, s.data = c.old.kind, true, []byte(c.old.name)
		}
		at := len(p.chunkKeys)
		p.chunkKeys, p.chunks = chunked(p.chunkKeys, p.chunks, s)
		if s.tombstone {
			p.garbage.tombstones = append(p.garbage.tombstones, p.chunkKeys[at:]...)
		}
		if c.old != nil {
			for i := range c.old.chunks {
				p.garbage.messages = append(p.garbage.messages, chunkKeyC{id: u32(c.old.id), index: u32(i)})
			}
		}
	}
}

// planFrontends decides which frontends differ.
func (l *live) planFrontends(p *plan, keys []frontendKey) {
	for _, k := range keys {
		old := l.frontends[k]
		claims := l.model.claims[k]
		if len(claims) == 0 {
			if old != nil {
				p.gone = append(p.gone, k.encode())
				l.release(old)
				delete(l.frontends, k)
			}
			continue
		}
		if k.port == 0 && old == nil {
			l.anyPort++
		}
		c := claims[0]
		f := &frontend{direct: l.use(c.direct), via: l.use(c.via)}
		f.value.resource = u32(c.owner.num)
		if c.owner.kind == Service {
			f.value.flags = flagService
		}
		if f.via != nil {
			f.value.flags |= flagWaypoint
		}
		var before frontend
		if old != nil {
			before = *old
		}
		f.value.direct = l.setValue(f.direct, before.value.direct.counter)
		f.value.via = l.setValue(f.via, before.value.via.counter)
		f.value.seal = u64(k.seal(&f.value))
		if old == nil || old.value != f.value {
			p.keys, p.values = append(p.keys, k.encode()), append(p.values, f.value)
		}
		if old != nil {
			l.releaseSets(old)
			for _, c := range [][2]u32{{before.value.direct.counter, f.value.direct.counter}, {before.value.via.counter, f.value.via.counter}} {
				if c[0] != c[1] {
					l.counters.give(uint32(c[0]))
				}
			}
		}
		l.frontends[k] = f
	}
	for _, k := range p.gone {
		if k.port == 0 {
			l.anyPort--
		}
	}
}

func (l *live) release(f *frontend) {
	l.releaseSets(f)
	l.counters.give(uint32(f.value.direct.counter))
	l.counters.give(uint32(f.value.via.counter))
}

func (l *live) releaseSets(f *frontend) {
	for _, s := range []*set{f.direct, f.via} {
		if s != nil {
			s.refs--
		}
	}
}

// use returns the set of a spec for one more frontend; nil for no endpoints.
func (l *live) use(s spec) *set {
	if s.n == 0 {
		return nil
	}
	t := l.sets[s]
	if t == nil {
		t = &set{id: l.nextSet, spec: s}
		l.nextSet++
		l.sets[s] = t
	}
	t.refs++
	return t
}

func (l *live) setValue(s *set, counter u32) setC {
	if s == nil {
		return setC{}
	}
	v := setC{id: u32(s.id), n: u32(s.spec.n), total: u32(s.spec.total), step: u64(s.spec.step)}
	if uint64(s.spec.n)*uint64(s.spec.total) > 1 {
		if v.counter = counter; counter == 0 || counter >= maxCounters {
			v.counter = u32(l.counters.take())
		}
	}
	return v
}

// planBlocks writes the blocks of new sets, and retires those of sets that no frontend
// has any more.
func (l *live) planBlocks(p *plan) {
	used := map[uint32]bool{}
	for s, t := range l.sets {
		if t.refs <= 0 {
			delete(l.sets, s)
			continue
		}
		used[t.id] = true
		if _, written := l.blocks[t.id]; written {
			continue
		}
		n := len(s.blocks) / size[blockC]()
		for i := range n {
			p.blockKeys = append(p.blockKeys, blockKeyC{set: u32(t.id), block: u32(i)})
			p.blocks = append(p.blocks, as[blockC]([]byte(s.blocks[i*size[blockC]():][:size[blockC]()])))
		}
		l.blocks[t.id] = n
	}
	for id, n := range l.blocks {
		if used[id] {
			continue
		}
		for i := range n {
			p.retired = append(p.retired, blockKeyC{set: u32(id), block: u32(i)})
		}
		delete(l.blocks, id)
	}
}

func (l *live) planPeers(p *plan, addrs []netip.Addr) {
	for _, a := range addrs {
		old, was := l.peers[a]
		want, ok := l.model.peerOf(a)
		var v peerC
		if ok {
			v.identity, v.pset = u32(l.identities.take(want.identity)), u32(l.policySets.take(want.set))
			v.flags, v.workload = u32(want.flags), u32(want.workload)
			v.seal = u64(peerSeal(a, &v))
			l.peers[a] = v
			if v != old {
				p.peerKeys, p.peers = append(p.peerKeys, mapped(a)), append(p.peers, v)
			}
		}
		if was {
			l.identities.give(uint32(old.identity))
			l.policySets.give(uint32(old.pset))
		}
		if was && !ok {
			p.peersGone = append(p.peersGone, mapped(a))
			delete(l.peers, a)
		}
		p.waypoints = p.waypoints || (v.flags^old.flags)&peerWaypoint != 0
	}
}
