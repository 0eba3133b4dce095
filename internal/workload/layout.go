// SPDX-License-Identifier: Apache-2.0

package workload

/*
#include "bpf/workload.h"
*/
import "C"

import (
	"net/netip"
	"unsafe"

	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
)

// The layout's types, from the header that programs include.
type (
	frontendKeyC = C.struct_km_addr
	frontendC    = C.struct_kw_frontend
	setC         = C.struct_kw_set
	blockKeyC    = C.struct_kw_block_key
	blockC       = C.struct_kw_block
	endpointC    = C.struct_kw_endpoint
	peerC        = C.struct_kw_peer
	pstateC      = C.struct_kw_pstate
	chunkKeyC    = C.struct_kw_chunk_key
	chunkC       = C.struct_kw_chunk
	metaC        = C.struct_kw_meta
	imageC       = C.struct_kw_image
	nodeC        = C.struct_kw_node
	servedC      = C.struct_kw_served
	netnsC       = C.struct_km_netns
	u32          = C.__u32
	u64          = C.__u64
)

const (
	abiVersion = C.KW_ABI_VERSION

	maxFrontends = C.KW_MAX_FRONTENDS
	maxBlocks    = C.KW_MAX_BLOCKS
	maxPeers     = C.KW_MAX_PEERS
	maxChunks    = C.KW_MAX_CHUNKS
	maxCounters  = C.KW_MAX_COUNTERS

	blockSize = C.KW_BLOCK // endpoints in a block
	chunkData = C.KW_CHUNK_DATA
	slotBytes = C.sizeof_struct_kw_image

	flagService  = C.KW_F_SERVICE
	flagWaypoint = C.KW_F_WAYPOINT

	peerNode     = C.KW_PEER_NODE
	peerWaypoint = C.KW_PEER_WAYPOINT
	peerWorkload = C.KW_PEER_WORKLOAD

	netnsWaypoint = C.KM_NETNS_WAYPOINT
	netnsAsk      = C.KM_NETNS_ASK
	netnsAddrs    = C.KM_NETNS_ADDRS
	netnsShift    = C.KM_NETNS_SLOT_SHIFT

	sealStart = C.KW_SEAL_START
	sealPrime = C.KW_SEAL_PRIME
)

// raw is the memory of a value of the layout.
func raw[T any](v *T) []byte { return bpfmap.Bytes(v) }

// rawAll is the memory of several, one behind the other.
func rawAll[T any](v []T) []byte {
	var e T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), len(v)*int(unsafe.Sizeof(e)))
}

// as copies a value of the layout out of memory.
func as[T any](b []byte) T {
	var v T
	copy(raw(&v), b)
	return v
}

func size[T any]() int {
	var v T
	return int(unsafe.Sizeof(v))
}

// mapped is an address as maps hold it: IPv4 as ::ffff:a.b.c.d.
func mapped(a netip.Addr) [16]byte { return a.As16() }

// netOrder is a port as it lies in memory in network byte order.
func netOrder(p uint16) C.__be16 {
	b := [2]byte{byte(p >> 8), byte(p)}
	return as[C.__be16](b[:])
}

// hostOrder is the inverse of netOrder.
func hostOrder(p C.__be16) uint16 {
	b := raw(&p)
	return uint16(b[0])<<8 | uint16(b[1])
}

// unmapped is the inverse of mapped.
func unmapped(b []byte) netip.Addr { return netip.AddrFrom16([16]byte(b)).Unmap() }

// seal continues s over words as they lie in memory: KW_SEAL_STEP.
func seal(s uint64, words []byte) uint64 {
	for ; len(words) >= 8; words = words[8:] {
		s ^= *(*uint64)(unsafe.Pointer(&words[0]))
		s = (s * sealPrime) ^ (s >> 29)
	}
	return s
}

// netnsSlot is KM_NETNS_SLOT.
func netnsSlot(cookie uint64) uint32 { return uint32(cookie * 0x9e3779b97f4a7c15 >> netnsShift) }

// frontendKey is a key of km_frontend.
type frontendKey struct {
	addr netip.Addr
	port uint16 // 0: every port of a workload's address
}

func (k frontendKey) encode() frontendKeyC {
	var c frontendKeyC
	b := mapped(k.addr)
	copy(raw(&c.ip), b[:])
	c.port = netOrder(k.port)
	return c
}

func (k frontendKey) seal(f *frontendC) uint64 {
	c := k.encode()
	port := uint64(c.port)
	s := seal(sealStart, raw(&c.ip))
	s = seal(s, raw(&port))
	return seal(s, raw(f)[:unsafe.Offsetof(f.seal)])
}

func (k frontendKey) String() string { return netip.AddrPortFrom(k.addr, k.port).String() }

func decodeFrontendKey(b []byte) frontendKey {
	c := as[frontendKeyC](b)
	return frontendKey{unmapped(raw(&c.ip)), hostOrder(c.port)}
}

func peerSeal(a netip.Addr, p *peerC) uint64 {
	b := mapped(a)
	return seal(seal(sealStart, b[:]), raw(p)[:unsafe.Offsetof(p.seal)])
}

func setKind(c *chunkC, k Kind, tombstone bool) {
	c.kind = C.__u16(k)
	if tombstone {
		c.tombstone = 1
	}
}
