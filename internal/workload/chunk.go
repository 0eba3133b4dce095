// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"errors"
	"fmt"

	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
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
		if total > m.room["km_res"]*chunkData || int(k.index) >= chunksOf(total) {
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
			p.res.num, p.res.id = p.tag, p.id
			p.res.published()
		}
	})
	return list, errors.Join(errs...)
}

// readMessage reads one message of so many bytes back.
func (m *kernelMaps) readMessage(id, bytes uint32) ([]byte, error) {
	b := make([]byte, bytes)
	for i := range chunksOf(len(b)) {
		k, c := chunkKeyC{id: u32(id), index: u32(i)}, chunkC{}
		if err := bpfmap.Lookup(m.fd["km_res"], raw(&k), raw(&c)); err != nil {
			return nil, fmt.Errorf("read km_res: %w", err)
		}
		copy(b[i*chunkData:], raw(&c.data))
	}
	return b, nil
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

// writeMessages puts messages into km_res, some chunks at a time.
func (m *kernelMaps) writeMessages(p *plan, generation uint64) error {
	many := min(p.chunks, 256)
	keys, chunks := make([]chunkKeyC, 0, many), make([]chunkC, 0, many)
	flush := func() error {
		err := put(m, "km_res", keys, chunks)
		keys, chunks = keys[:0], chunks[:0]
		return err
	}
	for _, p := range p.messages {
		for i := range chunksOf(len(p.data)) {
			c := chunkC{generation: u64(generation), total: u32(len(p.data)), tag: u32(p.tag)}
			setKind(&c, p.kind, p.tombstone)
			copy(raw(&c.data), p.data[i*chunkData:])
			keys = append(keys, chunkKeyC{id: u32(p.id), index: u32(i)})
			chunks = append(chunks, c)
			if len(keys) < many {
				continue
			}
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// writeBlocks puts the blocks of sets into km_block, some at a time.
func (m *kernelMaps) writeBlocks(sets []*set) error {
	n := 0
	for _, s := range sets {
		n += len(s.spec.blocks) / size[blockC]()
	}
	many := min(n, 256)
	keys, blocks := make([]blockKeyC, 0, many), make([]byte, 0, many*size[blockC]())
	flush := func() error {
		err := m.putRaw("km_block", rawAll(keys), blocks, len(keys))
		keys, blocks = keys[:0], blocks[:0]
		return err
	}
	for _, s := range sets {
		for i, rest := 0, s.spec.blocks; rest != ""; i, rest = i+1, rest[size[blockC]():] {
			keys = append(keys, blockKeyC{set: u32(s.id), block: u32(i)})
			blocks = append(blocks, rest[:size[blockC]()]...)
			if len(keys) < many {
				continue
			}
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}
