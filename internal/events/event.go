// SPDX-License-Identifier: Apache-2.0

// Package events follows what the programs of workload mode report: connections
// opened, closed, refused, timed out, failed and denied. They report only while somebody
// reads, which Follow says by a lease that it renews.
package events

/*
#include "bpf/workload.h"
*/
import "C"

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"syscall"
	"time"
	"unsafe"
)

// Type is what happened.
type Type uint16

// The types of events.
const (
	Opened   Type = C.KW_E_OPENED
	Closed   Type = C.KW_E_CLOSED
	Refused  Type = C.KW_E_REFUSED
	TimedOut Type = C.KW_E_TIMEDOUT
	Denied   Type = C.KW_E_DENIED
	Failed   Type = C.KW_E_FAILED // any other end of a connect
)

// String is the type as commands print it.
func (t Type) String() string {
	switch t {
	case Opened:
		return "opened"
	case Closed:
		return "closed"
	case Refused:
		return "refused"
	case TimedOut:
		return "timed out"
	case Denied:
		return "denied"
	case Failed:
		return "failed"
	}
	return fmt.Sprintf("type %d", uint16(t))
}

// Event is one report. What its type does not tell is zero.
type Event struct {
	Type        Type
	Time        time.Duration  // CLOCK_MONOTONIC
	Netns       uint64         // cookie of the pod's network namespace
	Source      netip.AddrPort // a zero address where it was not known
	Destination netip.AddrPort // the endpoint
	Original    netip.AddrPort // as the application asked
	Resource    uint32         // that the original address belongs to; 0: none
	Policy      uint32         // of Denied; 0: no ALLOW policy matched
	Errno       syscall.Errno  // of Failed; 0: given up by the application
	Waypoint    bool           // the endpoint is a waypoint's
	Sent        uint64         // bytes
	Received    uint64
	Duration    time.Duration // Opened: of the connect; else since then
	RTT         time.Duration // smoothed
}

const eventSize = int(unsafe.Sizeof(C.struct_kw_event{}))

// decode reads an event as the kernel wrote it.
func decode(b []byte) (Event, error) {
	if len(b) < eventSize {
		return Event{}, fmt.Errorf("decode event: %d bytes, want %d", len(b), eventSize)
	}
	var c C.struct_kw_event
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&c)), eventSize), b)
	e := Event{
		Type:        Type(c._type),
		Time:        time.Duration(c.time),
		Netns:       uint64(c.netns),
		Source:      addrPort(c.src, c.sport),
		Destination: addrPort(c.dst, c.dport),
		Original:    addrPort(c.orig, c.orig_port),
		Resource:    uint32(c.resource),
		Waypoint:    c.flags&C.KW_F_WAYPOINT != 0,
		Sent:        uint64(c.sent),
		Received:    uint64(c.received),
		Duration:    time.Duration(c.duration),
		RTT:         time.Duration(c.rtt) * time.Microsecond,
	}
	if e.Type == Failed {
		e.Errno = syscall.Errno(c.policy)
	} else {
		e.Policy = uint32(c.policy)
	}
	return e, nil
}

func addrPort(ip C.union_kw_ip, port C.__be16) netip.AddrPort {
	var be [2]byte
	binary.NativeEndian.PutUint16(be[:], uint16(port))
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(ip)).Unmap(), binary.BigEndian.Uint16(be[:]))
}
