// SPDX-License-Identifier: Apache-2.0

package metrics

import "github.com/kmesh-net/kmesh-node/internal/xdsclient"

func aboutConfiguration() group {
	return group{"Configuration", "What the kernel's maps hold, whoever wrote it.", []metric{
		{name: "publications_total", kind: counter, unit: "ops",
			help: "Publications into the maps: each changed what connects see as a whole. Those of all writers; it outlives the process.",
			read: func(s *Snapshot, put put) {
				switch {
				case s.Store != nil:
					put(float64(s.Store.Generation))
				case s.Workload != nil:
					put(float64(s.Workload.Generation))
				}
			}},
		{name: "resources", kind: gauge, unit: "short", labels: []string{"kind"},
			help: "Resources in the maps: listener, cluster and route in ads mode, else service, workload and policy.",
			read: func(s *Snapshot, put put) {
				if st := s.Store; st != nil {
					put(float64(st.Listeners.Used), "listener")
					put(float64(st.Clusters.Used), "cluster")
					put(float64(st.Routes.Used), "route")
				}
				if u := s.Workload; u != nil {
					put(float64(u.Services), "service")
					put(float64(u.Workloads), "workload")
					put(float64(u.Policies), "policy")
				}
			}},
		{name: "config_resources", kind: gauge, unit: "short",
			help: "Resources that are in force because --config names them.",
			read: one(func(s *Snapshot) float64 { return float64(s.Loop.Configured) })},
		{name: "config_failed", kind: gauge, unit: "bool",
			help: "1 where what --config names now could not be brought into force, and what was before is.",
			read: one(func(s *Snapshot) float64 { return yes(s.Loop.ConfigFailed) })},
	}}
}

func aboutControlPlane() group {
	x := func(do func(*xdsclient.State, put)) func(*Snapshot, put) {
		return func(s *Snapshot, put put) {
			if s.XDS != nil {
				do(s.XDS, put)
			}
		}
	}
	byType := func(do func(*xdsclient.TypeState, put, string)) func(*Snapshot, put) {
		return x(func(st *xdsclient.State, put put) {
			for i := range st.Types {
				do(&st.Types[i], put, st.Types[i].TypeURL)
			}
		})
	}
	label := []string{"type"}
	return group{"Control plane", "The stream of `--xds-address`; absent without it. Types are type URLs.", []metric{
		{name: "xds_connected", kind: gauge, unit: "bool", help: "1 where a stream is open.",
			read: x(func(st *xdsclient.State, put put) { put(yes(st.Connected)) })},
		{name: "xds_since_timestamp_seconds", kind: gauge, unit: "dateTimeFromNow",
			help: "Since when the stream has been open, or away, in seconds since 1970.",
			read: x(func(st *xdsclient.State, put put) { putTime(put, st.Since) })},
		{name: "xds_synced", kind: gauge, unit: "bool", help: "1 once all that was asked for has come and is in force.",
			read: x(func(st *xdsclient.State, put put) { put(yes(st.Synced)) })},
		{name: "xds_streams_total", kind: counter, unit: "short", help: "Streams that were opened and delivered, the first one included.",
			read: x(func(st *xdsclient.State, put put) { put(float64(st.Streams)) })},
		{name: "xds_failures_total", kind: counter, unit: "short", help: "Attempts to connect that failed, and streams that the other end or the way to it ended.",
			read: x(func(st *xdsclient.State, put put) { put(float64(st.Failures)) })},
		{name: "xds_responses_total", kind: counter, unit: "ops", labels: label, help: "Responses (pushes) that came.",
			read: byType(func(t *xdsclient.TypeState, put put, name string) { put(float64(t.Responses), name) })},
		{name: "xds_nacks_total", kind: counter, unit: "short", labels: label, help: "Responses of which at least one resource was refused.",
			read: byType(func(t *xdsclient.TypeState, put put, name string) { put(float64(t.NACKs), name) })},
		{name: "xds_resources", kind: gauge, unit: "short", labels: label, help: "Resources that the control plane has sent and not removed.",
			read: byType(func(t *xdsclient.TypeState, put put, name string) { put(float64(t.Resources), name) })},
		{name: "xds_last_update_timestamp_seconds", kind: gauge, unit: "dateTimeFromNow", labels: label,
			help: "When the last response came, in seconds since 1970. Absent before the first one.",
			read: byType(func(t *xdsclient.TypeState, put put, name string) { putTime(put, t.LastUpdate, name) })},
	}}
}
