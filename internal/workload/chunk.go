// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"errors"

	"github.com/kmesh-net/kmesh-node/internal/xds"
)

// stored is one message of km_res as it is read.
type stored struct {
	id         uint32
	generation uint64
	kind       Kind
	tombstone  bool
	tag        uint32
	data       []byte
	chunks     int // found
	keys       []chunkKeyC
	res        *resource
}

// name is that of the resource, whether it is there or gone.
func (p *stored) name() string {
	if p.tombstone {
		return string(p.data)
	}
	if p.res == nil {
		return ""
	}
	return p.res.name
}

func chunksOf(bytes int) int { return max((bytes+chunkData-1)/chunkData, 1) }

// readStored reads every message that km_res holds whole. What a writer left
// unfinished is returned as well, with res nil and no tombstone.
func readStored(m *kernelMaps) ([]*stored, error) {
	byID := map[uint32]*stored{}
	err := each(m, "km_res", func(k chunkKeyC, c *chunkC) error {
		p := byID[uint32(k.id)]
		if p == nil {
			p = &stored{id: uint32(k.id), generation: uint64(c.generation), kind: Kind(c.kind), tombstone: c.tombstone != 0, tag: uint32(c.tag)}
			byID[p.id] = p
		}
		p.keys = append(p.keys, k)
		total := int(c.total)
		at := int(k.index) * chunkData
		if total > maxChunks*chunkData || int(k.index) >= chunksOf(total) {
			return nil
		}
		if p.data == nil {
			p.data = make([]byte, total)
		}
		if len(p.data) != total {
			return nil
		}
		copy(p.data[at:], raw(&c.data))
		p.chunks++
		return nil
	})
	if err != nil {
		return nil, err
	}
	list := make([]*stored, 0, len(byID))
	for _, p := range byID {
		list = append(list, p)
	}
	errs := make([]error, len(list))
	xds.Each(len(list), func(i int) {
		p := list[i]
		if p.tombstone || p.data == nil || p.chunks != chunksOf(len(p.data)) {
			return
		}
		p.res, errs[i] = decodeResource(p.kind, p.data)
		if p.res != nil {
			p.res.num, p.res.id, p.res.chunks = p.tag, p.id, p.chunks
		}
	})
	return list, errors.Join(errs...)
}

// garbage is what of km_res does not count. What a tombstone removes has to go before it.
type garbage struct {
	messages, tombstones []chunkKeyC
}

func (g *garbage) add(p *stored) {
	if p.tombstone {
		g.tombstones = append(g.tombstones, p.keys...)
	} else {
		g.messages = append(g.messages, p.keys...)
	}
}

func (g *garbage) empty() bool { return len(g.messages)+len(g.tombstones) == 0 }

// valid picks of each name the message that counts at a generation.
func valid(list []*stored, generation uint64) (kept []*resource, rest garbage) {
	type key struct {
		kind Kind
		name string
	}
	last := map[key]*stored{}
	for _, p := range list {
		if p.generation > generation || p.res == nil && !p.tombstone {
			rest.add(p)
			continue
		}
		k := key{p.kind, p.name()}
		old := last[k]
		if old == nil || old.generation < p.generation {
			last[k], p = p, old
		}
		if p != nil {
			rest.add(p)
		}
	}
	for _, p := range last {
		if p.tombstone {
			rest.add(p)
		} else {
			kept = append(kept, p.res)
		}
	}
	return kept, rest
}

// chunked appends the chunks of one message.
func chunked(keys []chunkKeyC, chunks []chunkC, p *stored) ([]chunkKeyC, []chunkC) {
	for i := range chunksOf(len(p.data)) {
		c := chunkC{generation: u64(p.generation), total: u32(len(p.data)), tag: u32(p.tag)}
		setKind(&c, p.kind, p.tombstone)
		copy(raw(&c.data), p.data[i*chunkData:])
		keys = append(keys, chunkKeyC{id: u32(p.id), index: u32(i)})
		chunks = append(chunks, c)
	}
	return keys, chunks
}
