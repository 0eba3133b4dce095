// SPDX-License-Identifier: Apache-2.0

package store

/*
#include <stdlib.h>
#include "deserial.h"
*/
import "C"

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unsafe"

	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
	"github.com/kmesh-net/kmesh-node/internal/config"
)

// Use is how much of a limit is in use.
type Use struct {
	Used  uint64 `json:"used"`
	Limit uint64 `json:"limit"`
}

// Slots are the store's memory, 64 bytes each, in the slabs that there are.
type Slots struct {
	Total   uint64 `json:"total"`
	Used    uint64 `json:"used"`
	Free    uint64 `json:"free"`
	Pending uint64 `json:"pending"` // retired, until no connect can hold them
}

// Stats is what the store has in use.
type Stats struct {
	Generation uint64 `json:"generation"` // of the last publication, 0: none ever
	Slabs      Use    `json:"slabs"`
	Slots      Slots  `json:"slots"`
	Listeners  Use    `json:"listeners"`
	Clusters   Use    `json:"clusters"`
	Routes     Use    `json:"routes"`
	Counters   Use    `json:"counters"` // of round robin
	// References counts names that are referred to and not there.
	References struct {
		Clusters uint64 `json:"clusters"`
		Routes   uint64 `json:"routes"`
	} `json:"references"`
	Descriptors int `json:"descriptors"` // held by an open store
}

func use(u C.struct_deserial_use) Use { return Use{uint64(u.used), uint64(u.limit)} }

// Stats returns what the store has in use.
func (s *Store) Stats() (Stats, error) {
	var c C.struct_deserial_stats
	if err := call(func() C.int { return C.deserial_stats(&c) }); err != nil {
		return Stats{}, fmt.Errorf("read use of the store: %w", err)
	}
	st := Stats{
		Generation: uint64(c.generation),
		Slabs:      use(c.slabs),
		Slots: Slots{
			Total:   uint64(c.slots.limit),
			Used:    uint64(c.slots.used),
			Free:    uint64(c.slots_free),
			Pending: uint64(c.slots_pending),
		},
		Listeners:   use(c.listeners),
		Clusters:    use(c.clusters),
		Routes:      use(c.routes),
		Counters:    use(c.counters),
		Descriptors: int(c.descriptors),
	}
	st.References.Clusters = uint64(c.cluster_references)
	st.References.Routes = uint64(c.route_references)
	return st, nil
}

// EndpointState is what connects saw of an endpoint. Counts begin when the
// cluster gets that address, and outlive publications as long as it has it.
type EndpointState struct {
	Address    netip.AddrPort `json:"address"`
	Group      uint32         `json:"group"`  // rank of its priority within its address family, from 0
	Weight     uint32         `json:"weight"` // its share of Total
	Total      uint32         `json:"total"`
	Active     uint32         `json:"active"` // connections open, LEAST_REQUEST only
	OK         uint64         `json:"ok"`
	LatencyAvg time.Duration  `json:"latency_avg_ns"` // of connect, 0 when none was ok
	LatencyMax time.Duration  `json:"latency_max_ns"`
	Refused    uint64         `json:"refused"`
	Timeouts   uint64         `json:"timeouts"`
	Errors     uint64         `json:"errors"`   // any other result
	Failures   uint32         `json:"failures"` // in a row
	Ejections  uint64         `json:"ejections"`
	EjectedFor time.Duration  `json:"ejected_for_ns"` // still; 0: not ejected
}

// Endpoints returns the endpoints of a cluster that take connections, IPv4 first,
// by priority. ErrNotFound when there is no such cluster.
func (s *Store) Endpoints(cluster string) ([]EndpointState, error) {
	name := C.CString(cluster)
	defer C.free(unsafe.Pointer(name))
	var array *C.struct_deserial_endpoint
	var n C.size_t
	err := call(func() C.int { return C.deserial_endpoints(name, &array, &n) })
	if err != nil {
		return nil, fmt.Errorf("get endpoints: %w", err)
	}
	defer C.free(unsafe.Pointer(array))

	now, err := bpfmap.Now()
	if err != nil {
		return nil, err
	}
	l := make([]EndpointState, 0, int(n))
	for _, e := range unsafe.Slice(array, int(n)) {
		l = append(l, endpointState(&e, now))
	}
	return l, nil
}

func endpointState(e *C.struct_deserial_endpoint, now time.Duration) EndpointState {
	ip := *(*[16]byte)(unsafe.Pointer(&e.ip))
	st := EndpointState{
		Address:    netip.AddrPortFrom(netip.AddrFrom16(ip).Unmap(), uint16(e.port)),
		Group:      uint32(e.group),
		Weight:     uint32(e.weight),
		Total:      uint32(e.total),
		Active:     uint32(e.active),
		OK:         uint64(e.ok),
		LatencyMax: time.Duration(e.latency_max_ns),
		Refused:    uint64(e.refused),
		Timeouts:   uint64(e.timeouts),
		Errors:     uint64(e.errors),
		Failures:   uint32(e.fails),
		Ejections:  uint64(e.ejections),
	}
	if e.ok > 0 {
		st.LatencyAvg = time.Duration(e.latency_ns / e.ok)
	}
	if until := time.Duration(e.ejected_until); until > now {
		st.EjectedFor = until - now
	}
	return st
}

// sortByKey sorts by the key that people read.
func sortByKey(l []proto.Message) {
	keys := make(map[proto.Message]string, len(l))
	for _, m := range l {
		keys[m] = config.KeyOf(m)
	}
	slices.SortFunc(l, func(a, b proto.Message) int { return strings.Compare(keys[a], keys[b]) })
}
