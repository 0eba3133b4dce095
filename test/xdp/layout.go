// SPDX-License-Identifier: Apache-2.0

// Package xdp tests bpf/xdpauth.bpf.c by itself: on frames made by hand and on real
// connections over veth.
package xdp

/*
#define __always_inline inline
#include "bpf/seal.h"
#include "bpf/workload.h"
*/
import "C"

import (
	"net/netip"
	"unsafe"
)

type (
	peer   = C.struct_kw_peer
	pstate = C.struct_kw_pstate
	stats  = C.struct_kw_stats
	event  = C.struct_kw_event
	word   = C.__u32
	wide   = C.__u64
)

const (
	halfShift  = 12 // KW_POLICY_SLOTS slots
	peerNode   = C.KW_PEER_NODE
	flowBytes  = C.sizeof_struct_kw_flow
	typeDenied = C.KW_E_DENIED
	eventBytes = C.KW_EVENT_BYTES
)

func ipKey(a netip.Addr) []byte {
	b := a.As16()
	return b[:]
}

// sealed makes p the value of its address.
func sealed(p *peer, a netip.Addr) []byte {
	var key C.union_kw_ip
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&key)), 16), ipKey(a))
	p.seal = C.peer_seal(&key, p)
	return bytesOf(p)
}

func bytesOf[T any](v *T) []byte { return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v)) }
