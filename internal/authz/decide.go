// SPDX-License-Identifier: Apache-2.0

package authz

import (
	"math/bits"
	"sort"
)

// Decide reads the image as bpf/classify.h does: by the indexes that struct kw_peer holds
// of the source (identity) and of the pod (pset). p.Identity is not looked at.
func (img *Image) Decide(identity, pset uint32, p Packet) Decision {
	if len(img.Slots) == 0 {
		return Decision{Allowed: true}
	}
	h := &entries[imageHead](img, 0, 1)[0]
	if h.abi == 0 || h.rows == 0 {
		return Decision{Allowed: true}
	}
	if pset >= uint32(h.n_psets) {
		pset = 0
	}
	if identity >= uint32(h.n_identities) {
		identity = 0
	}
	set := entries[setEntry](img, uint32(h.psets), int(h.n_psets))[pset]
	var vectors [dims]uint32
	for d := range dims {
		if h.dims&(1<<d) == 0 {
			continue
		}
		switch d {
		case dimSet:
			vectors[d] = uint32(set.vector)
		case dimIdentity:
			vectors[d] = uint32(entries[word](img, uint32(h.identities), int(h.n_identities))[identity])
		case dimSource:
			vectors[d] = img.inRanges(uint32(h.sources), int(h.n_sources), addressKey(p.Source))
		case dimDest:
			vectors[d] = img.inRanges(uint32(h.dests), int(h.n_dests), addressKey(p.Destination))
		case dimPort:
			vectors[d] = img.ofPort(h, uint32(p.Port))
		}
	}
	row, ok := img.firstRow(h, vectors)
	switch {
	case ok && row < uint32(h.deny):
		return Decision{Policy: uint32(entries[word](img, uint32(h.policies), int(h.rows))[row])}
	case !ok && set.flags&setAllow != 0:
		return Decision{}
	}
	return Decision{Allowed: true}
}

func (img *Image) inRanges(at uint32, n int, k key) uint32 {
	r := entries[rangeEntry](img, at, n)
	i := sort.Search(n, func(i int) bool { return k.less(key{uint64(r[i].hi), uint64(r[i].lo)}) })
	return uint32(r[i-1].vector)
}

func (img *Image) ofPort(h *imageHead, port uint32) uint32 {
	for _, c := range entries[portCell](img, uint32(h.ports)+portSlot(port)&uint32(h.port_mask), portCells) {
		if c.vector != 0 && uint32(c.port) == port {
			return uint32(c.vector)
		}
	}
	return img.defaultOf(h, dimPort)
}

func (img *Image) defaultOf(h *imageHead, d int) uint32 {
	return uint32(entries[word](img, uint32(h.defaults), dims)[d])
}

// firstRow is the first row whose conditions all hold. Vector 0 is of a dimension in which
// no row has one.
func (img *Image) firstRow(h *imageHead, vectors [dims]uint32) (row uint32, ok bool) {
	slots := ^uint64(0) >> (63 - (uint(h.rows)-1)/rowsSlot)
	for _, v := range vectors {
		if v != 0 {
			slots &= uint64(entries[vectorHead](img, v, 1)[0].nonempty)
		}
	}
	for ; slots != 0; slots &= slots - 1 {
		k := bits.TrailingZeros64(slots)
		rows := block{}
		for i := range rows {
			rows[i] = ^uint64(0)
		}
		for d, v := range vectors {
			if v != 0 {
				for i, w := range img.rowSlot(v, img.defaultOf(h, d), k) {
					rows[i] &= w
				}
			}
		}
		for i, w := range rows {
			if r := uint32(k*rowsSlot + i*64 + bits.TrailingZeros64(w)); w != 0 && r < uint32(h.rows) {
				return r, true
			}
		}
	}
	return 0, false
}

func (img *Image) rowSlot(v, def uint32, k int) *block {
	head := entries[vectorHead](img, v, 1)[0]
	if head.own&(1<<k) == 0 {
		v = def
		head = entries[vectorHead](img, v, 1)[0]
	}
	lower := bits.OnesCount64(uint64(head.own) & (1<<k - 1))
	return &entries[block](img, v+1+uint32(lower), 1)[0]
}
