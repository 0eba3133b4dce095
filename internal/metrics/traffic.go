// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"math"

	"github.com/kmesh-net/kmesh-node/internal/workload"
	"github.com/kmesh-net/kmesh-node/loader"
)

// PolicyRows are those of what policies denied.
func PolicyRows(f *workload.Figures) []Row {
	rows := []Row{{Name: noPolicy, Counts: [maxCounts]uint64{f.NoPolicy}, Weight: math.MaxUint64}} // it is always named
	for name, n := range f.Denied {
		rows = append(rows, Row{Name: name, Counts: [maxCounts]uint64{n}, Weight: n})
	}
	return rows
}

func aboutPolicies() group {
	return group{"Authorization", "Absent in ads mode. Policies that deny are named, `--metrics-services` of them at most.", []metric{
		{name: "denied_total", kind: counter, unit: "ops", labels: []string{"policy"},
			help: "Connections denied, by the policy that did; `" + noPolicy + "` where policies allow, and none allowed this one.",
			read: func(s *Snapshot, put put) {
				if s.Policies != nil {
					s.Policies.each(func(r *Row) { put(float64(r.Counts[0]), r.Name) })
				}
			}},
	}}
}

// noPolicy stands for a policy where none allowed a connection. No policy is called so:
// their names hold a slash.
const noPolicy = "none"

func aboutRare() group {
	return group{"What should be rare", "Counted by the programs.", []metric{
		{name: "rare_events_total", kind: counter, unit: "ops", labels: []string{"event"},
			help: "Events that should be rare. In ads mode restart (a chain began again), overtaken (gave up restarting), uncounted (no room to count a connection), " +
				"all_ejected; in workload mode reread, unsealed (gave up reading), no_waypoint (without the metadata it should carry), early_data, " +
				"silent (closed at a waypoint before the client wrote), unparsed (packets dropped), exempted (the node's own, let in).",
			read: func(s *Snapshot, put put) {
				if s.Kernel == nil {
					return
				}
				for _, e := range rare(s.Kernel) {
					put(float64(e.count), e.name)
				}
			}},
		{name: "events_lost_total", kind: counter, unit: "short",
			help: "Events that found the ring full: nobody read them in time. Workload mode.",
			read: func(s *Snapshot, put put) {
				if s.Kernel != nil && s.Kernel.Workload != nil {
					put(float64(s.Kernel.Workload.Rare.LostEvents))
				}
			}},
	}}
}

type event struct {
	name  string
	count uint64
}

func rare(st *loader.Status) []event {
	if st.Workload == nil {
		r := &st.Rare
		return []event{{"restart", r.Restarts}, {"overtaken", r.Overtaken}, {"uncounted", r.Uncounted}, {"all_ejected", r.AllEjected}}
	}
	r := &st.Workload.Rare
	return []event{{"reread", r.Reread}, {"unsealed", r.Unsealed}, {"no_waypoint", r.NoWaypoint}, {"early_data", r.EarlyData},
		{"silent", r.Silent}, {"unparsed", r.Unparsed}, {"exempted", r.Exempted}}
}
