// SPDX-License-Identifier: Apache-2.0

package metrics

import "github.com/kmesh-net/kmesh-node/loader"

func aboutPolicies() group {
	return group{"Authorization", "Absent in ads mode.", []metric{
		{name: "denied_total", kind: counter, unit: "ops", labels: []string{"policy"},
			help: "Connections denied, by the policy that did; `" + NoPolicy + "` where policies allow, and none allowed this one.",
			read: func(s *Snapshot, put put) {
				if s.Workload == nil {
					return
				}
				put(float64(s.Workload.NoPolicy), NoPolicy)
				for name, n := range s.Workload.Denied {
					put(float64(n), name)
				}
			}},
	}}
}

// NoPolicy stands for a policy where none allowed a connection. No policy is called so:
// their names hold a slash.
const NoPolicy = "none"

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
