// SPDX-License-Identifier: Apache-2.0

package datalog

/*
#include "bpf/abi.h"
*/
import "C"

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
	"unsafe"
)

// What is what an entry tells.
type What uint16

// What entries tell. The values are those of enum km_log_what.
const (
	NoEndpoint   What = C.KM_LOG_NO_ENDPOINT
	AllEjected   What = C.KM_LOG_ALL_EJECTED
	Uncounted    What = C.KM_LOG_UNCOUNTED
	Unsealed     What = C.KM_LOG_UNSEALED
	NoWaypoint   What = C.KM_LOG_NO_WAYPOINT
	Unparsed     What = C.KM_LOG_UNPARSED
	Sent         What = C.KM_LOG_SENT
	SentWaypoint What = C.KM_LOG_SENT_WAYPOINT
	Denied       What = C.KM_LOG_DENIED
	Unmanaged    What = C.KM_LOG_UNMANAGED
	Protocol     What = C.KM_LOG_PROTOCOL
	NoListener   What = C.KM_LOG_NO_LISTENER
	NoRoute      What = C.KM_LOG_NO_ROUTE
	Passthrough  What = C.KM_LOG_PASSTHROUGH
)

// Entry is what a program told.
type Entry struct {
	Time  time.Duration // CLOCK_MONOTONIC
	What  What
	Level Level
	Netns uint64 // cookie of the network namespace; 0 of packets
	PID   uint32 // of the process that connects; 0 of packets
	// Original is where the application asked to go, of packets where they came from.
	Original netip.AddrPort
	// Destination is where a connection was sent; zero where it was left alone.
	Destination netip.AddrPort
	// Arg is of a target its number, of Protocol the IP protocol, of Denied the policy's
	// number.
	Arg uint32
}

const entrySize = int(unsafe.Sizeof(C.struct_km_log_entry{}))

// decode reads an entry as the kernel wrote it.
func decode(b []byte) Entry {
	var c C.struct_km_log_entry
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&c)), entrySize), b)
	return Entry{
		Time: time.Duration(c.time), What: What(c.what), Level: Level(c.level), Netns: uint64(c.netns), PID: uint32(c.pid),
		Original: addrPort(c.orig, c.orig_port), Destination: addrPort(c.dst, c.dst_port), Arg: uint32(c.arg),
	}
}

func addrPort(ip [4]C.__be32, port C.__be16) netip.AddrPort {
	var be [2]byte
	binary.NativeEndian.PutUint16(be[:], uint16(port))
	a := *(*[16]byte)(unsafe.Pointer(&ip))
	return netip.AddrPortFrom(netip.AddrFrom16(a).Unmap(), binary.BigEndian.Uint16(be[:]))
}

// Number is the number that has a name; 0: there is none.
func (e *Entry) Number() uint32 {
	switch e.What {
	case Unsealed, Unparsed, Unmanaged, Protocol, NoListener, NoRoute:
		return 0
	}
	return e.Arg
}

// Text says what happened; name is that of Number.
func (e *Entry) Text(name string) string {
	if e.Netns != 0 {
		return fmt.Sprintf("connect to %s: %s", e.Original, e.connect(name))
	}
	switch e.What {
	case Denied:
		if e.Arg == 0 {
			name = "no ALLOW policy matches"
		}
		return fmt.Sprintf("packet from %s to %s: denied: %s", e.Original, e.Destination, name)
	case Unparsed:
		return "packet: dropped: it hides TCP's header"
	case Unsealed:
		return fmt.Sprintf("packet from %s to %s: dropped: whose its addresses are changed all the while", e.Original, e.Destination)
	}
	return fmt.Sprintf("packet from %s to %s: %d", e.Original, e.Destination, e.What)
}

// connect says what became of a connect.
func (e *Entry) connect(name string) string {
	switch e.What {
	case Sent:
		return fmt.Sprintf("sent to %s of %s", e.Destination, name)
	case SentWaypoint:
		return fmt.Sprintf("sent to %s, the waypoint of %s", e.Destination, name)
	case NoEndpoint:
		return "left alone: " + name + " has no endpoint for it"
	case AllEjected:
		return "every endpoint of " + name + " is ejected: one is taken all the same"
	case Uncounted:
		return "its result will not be counted for " + name + ": too many connections are open"
	case Unsealed:
		return "left alone: what is configured for it changed all the while"
	case NoWaypoint:
		return "left alone: no room to remember it for the waypoint of " + name
	case Unmanaged:
		return "left alone: its network namespace is not enrolled"
	case Protocol:
		return fmt.Sprintf("left alone: IP protocol %d is not TCP", e.Arg)
	case NoListener:
		return "left alone: nothing is configured for it"
	case NoRoute:
		return "left alone: its listener leads nowhere"
	case Passthrough:
		return "left alone: " + name + " passes through"
	}
	return fmt.Sprintf("told of as %d, which this build does not know", e.What)
}
