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
	changes  []change
	messages []message
	chunks   int     // of messages
	garbage  garbage // once the publication is committed

	sets    []*set  // whose blocks are to be written
	retired retired // once no program run can see it

	keys   []frontendKeyC
	values []frontendC
	gone   []frontendKeyC

	peerKeys  [][16]byte
	peers     []peerC
	peersGone [][16]byte
	waypoints bool // which peers are waypoints changed

	image  *authz.Image
	denied []uint32 // to be made
	served []uint32 // as denied
}

// message is one for km_res, under an id of its own.
type message struct {
	id, tag   uint32
	kind      Kind
	tombstone bool
	data      []byte
}

// judges says whether verdicts may change.
func (p *plan) judges() bool { return p.image != nil || len(p.peers)+len(p.peersGone) > 0 }

func (p *plan) empty() bool {
	return len(p.messages)+len(p.sets)+len(p.values)+len(p.gone)+len(p.denied)+len(p.served) == 0 &&
		!p.judges() && p.retired.empty() && p.garbage.empty()
}

// plan compares what the model wants with what the maps hold, used being the image in
// use, and changes live to what they will hold.
func (l *live) plan(changes []change, used []byte) (*plan, error) {
	p := &plan{changes: changes, waypoints: l.model.dirty.pods}
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
	l.planServed(p, changes)
	if err := l.planImage(p, used); err != nil {
		return nil, err
	}
	l.unchecked = dirty{}
	l.model.clean()
	return p, nil
}

func (l *live) planChunks(p *plan, changes []change) {
	for _, c := range changes {
		m := message{id: l.resources.take(l.resourcesInUse(changes))}
		if c.new != nil {
			m.kind, m.tag, m.data = c.new.kind, c.new.num, c.new.wire()
			c.new.id = m.id
		} else {
			m.kind, m.tombstone, m.data = c.old.kind, true, []byte(c.old.name)
		}
		p.messages = append(p.messages, m)
		n := chunksOf(len(m.data))
		p.chunks += n
		if m.tombstone {
			p.garbage.tombstones = appendChunkKeys(p.garbage.tombstones, m.id, n)
		}
		if c.old != nil {
			p.garbage.messages = appendChunkKeys(p.garbage.messages, c.old.id, chunksOf(int(c.old.size)))
		}
	}
}

func appendChunkKeys(keys []chunkKeyC, id uint32, n int) []chunkKeyC {
	for i := range n {
		keys = append(keys, chunkKeyC{id: u32(id), index: u32(i)})
	}
	return keys
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
			l.touch(s)
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
		t = &set{id: l.setIDs.take(l.setsInUse), spec: s}
		l.sets[s] = t
		l.touch(t)
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

// touch has planBlocks look at a set.
func (l *live) touch(s *set) {
	if !s.touched {
		s.touched = true
		l.touched = append(l.touched, s)
	}
}

// planBlocks writes the blocks of new sets, and retires those of sets that no frontend
// has any more.
func (l *live) planBlocks(p *plan) {
	for _, t := range l.touched {
		t.touched = false
		_, written := l.blocks[t.id]
		switch {
		case t.refs > 0 && !written:
			p.sets = append(p.sets, t)
			l.setBlocks(t.id, len(t.spec.blocks)/size[blockC]())
		case t.refs <= 0:
			if l.sets[t.spec] == t {
				delete(l.sets, t.spec)
			}
			l.retireBlocks(p, t.id)
		}
	}
	for _, id := range l.orphans {
		l.retireBlocks(p, id)
	}
	l.touched, l.orphans = nil, nil
}

// setBlocks notes how many blocks a set has in the map; 0: none any more.
func (l *live) setBlocks(id uint32, n int) {
	l.blockCount += n - l.blocks[id]
	if n == 0 {
		delete(l.blocks, id)
		return
	}
	l.blocks[id] = n
}

func (l *live) retireBlocks(p *plan, id uint32) {
	for i := range l.blocks[id] {
		p.retired.blocks = append(p.retired.blocks, blockKeyC{set: u32(id), block: u32(i)})
	}
	l.setBlocks(id, 0)
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
			if i := uint32(old.identity); l.identities.give(i) {
				p.retired.identities = append(p.retired.identities, i)
			}
			if i := uint32(old.pset); l.policySets.give(i) {
				p.retired.sets = append(p.retired.sets, i)
			}
		}
		if was && !ok {
			p.peersGone = append(p.peersGone, mapped(a))
			delete(l.peers, a)
		}
		p.waypoints = p.waypoints || (v.flags^old.flags)&peerWaypoint != 0
	}
}
