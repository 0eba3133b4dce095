// SPDX-License-Identifier: Apache-2.0

package loader

/*
#include <arpa/inet.h>
#include "bpf/workload.h"

static __u16 from_net(__be16 v) { return ntohs(v); }
*/
import "C"

import (
	"fmt"
	"net/netip"
	"strings"
	"unsafe"
)

// WorkloadStatus is what only workload mode has to tell.
type WorkloadStatus struct {
	WaypointPort uint16 `json:"waypoint_port"`
	NodeTraffic  string `json:"node_traffic"` // "exempt" or "judge"
	// Exempt are the node's own addresses, with "exempt".
	Exempt      []netip.Addr `json:"exempt,omitempty"`
	NodeName    string       `json:"node_name"`
	Locality    string       `json:"locality"` // as configured; empty: that of the node's workloads
	XDPMode     string       `json:"xdp_mode"`
	FlowEntries uint32       `json:"flow_entries"`
	PolicySlots uint32       `json:"policy_slots"`
	// Workloads is how many there is room for.
	Workloads uint32 `json:"workloads"`

	Rare WorkloadRare `json:"rare"`
}

// WorkloadRare sums what should be rare over the CPUs; see struct kw_stats.
type WorkloadRare struct {
	Reread     uint64 `json:"reread"`      // a value changed while it was read: read again
	Unsealed   uint64 `json:"unsealed"`    // gave up reading again: as asked, or dropped
	NoWaypoint uint64 `json:"no_waypoint"` // connections without the metadata that they should carry
	EarlyData  uint64 `json:"early_data"`  // data was under way before the metadata
	Silent     uint64 `json:"silent"`      // closed at a waypoint before the client wrote
	Unparsed   uint64 `json:"unparsed"`    // packets dropped that hide TCP's header
	LostEvents uint64 `json:"lost_events"`
	Exempted   uint64 `json:"exempted"` // first packets of the node's own, let in unjudged
}

func (w *WorkloadStatus) read(name string, fd int, info mapInfo) error {
	switch name {
	case "km_flow":
		w.FlowEntries = info.MaxEntries
	case "km_peer":
		w.Workloads = info.MaxEntries
	case "km_policy":
		w.PolicySlots = info.MaxEntries / 2
	case "km_pstate":
		w.NodeTraffic = "judge"
		err := withPstate(fd, func(p *kwPstate) {
			if p.exempt != 0 {
				w.NodeTraffic = "exempt"
			}
		})
		if err == nil && w.NodeTraffic == "exempt" {
			w.Exempt, err = HostAddresses()
		}
		return err
	case "km_node":
		return w.readNode(fd)
	case "km_wstats":
		return w.Rare.read(fd)
	}
	return nil
}

func (w *WorkloadStatus) readNode(fd int) error {
	var n kwNode
	if err := mapLookup(fd, uint32(0), &n); err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	w.WaypointPort = uint16(C.from_net(n.waypoint_port))
	w.NodeName = C.GoString(&n.name[0])
	var parts []string
	for _, s := range []*C.char{&n.region[0], &n.zone[0], &n.subzone[0]} {
		if p := C.GoString(s); p != "" {
			parts = append(parts, p)
		}
	}
	w.Locality = strings.Join(parts, "/")
	return nil
}

func (r *WorkloadRare) read(fd int) error {
	n, err := possibleCPUs()
	if err != nil {
		return fmt.Errorf("count CPUs: %w", err)
	}
	const size = unsafe.Sizeof(kwStats{})
	b := make([]byte, n*int(size))
	if err := mapLookupBytes(fd, uint32(0), b); err != nil {
		return fmt.Errorf("read km_wstats: %w", err)
	}
	for i := range n {
		s := (*kwStats)(unsafe.Pointer(&b[i*int(size)]))
		r.Reread += uint64(s.reread)
		r.Unsealed += uint64(s.unsealed)
		r.NoWaypoint += uint64(s.no_waypoint)
		r.EarlyData += uint64(s.early_data)
		r.Silent += uint64(s.silent)
		r.Unparsed += uint64(s.unparsed)
		r.LostEvents += uint64(s.lost_events)
		r.Exempted += uint64(s.exempted)
	}
	return nil
}
