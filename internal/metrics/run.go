// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"runtime"
	"time"
)

func aboutRun() group {
	return group{"The process and its loop", "`run` itself. The usual `process_*` metrics (memory, CPU, descriptors) come with them.", []metric{
		{name: "build_info", kind: gauge, unit: "none", labels: []string{"version", "commit", "mode"},
			help: "1, with what was built and the mode that is up.",
			read: func(s *Snapshot, put put) { put(1, s.Version, s.Commit, string(s.Mode)) }},
		{name: "ready", kind: gauge, unit: "bool",
			help: "1 where programs, links and configuration are what they should be, as /readyz says.",
			read: func(s *Snapshot, put put) {
				if s.Looked {
					put(yes(len(s.Reasons) == 0))
				}
			}},
		{name: "unready_reasons", kind: gauge, unit: "short",
			help: "Lines of /readyz: reasons why the node is not ready.",
			read: func(s *Snapshot, put put) {
				if s.Looked {
					put(float64(len(s.Reasons)))
				}
			}},
		{name: "turns_total", kind: counter, unit: "ops",
			help: "Turns of the loop since the start: each compares what is loaded and attached, and repairs.",
			read: one(func(s *Snapshot) float64 { return float64(s.Loop.Turns) })},
		{name: "last_turn_timestamp_seconds", kind: gauge, unit: "dateTimeFromNow",
			help: "When the last turn ended, in seconds since 1970. Absent before the first one.",
			read: func(s *Snapshot, put put) { putTime(put, s.Loop.Ended) }},
		{name: "turn_failed", kind: gauge, unit: "bool",
			help: "1 where the last turn could not repair what it found.",
			read: one(func(s *Snapshot) float64 { return yes(s.Loop.Failed) })},
		{name: "repairs_total", kind: counter, unit: "short",
			help: "Repairs since the start: something was put back that somebody took away, or that went.",
			read: one(func(s *Snapshot) float64 { return float64(s.Loop.Repairs) })},
		{name: "goroutines", kind: gauge, unit: "short",
			help: "Goroutines of the process.",
			read: one(func(*Snapshot) float64 { return float64(runtime.NumGoroutine()) })},
		{name: "scrape_success", kind: gauge, unit: "bool", labels: []string{"group"},
			help: "1 where a group of readings (ready, maps) was had; 0 where some of its metrics are missing from this scrape.",
			read: func(s *Snapshot, put put) {
				for _, g := range s.Groups {
					put(yes(g.Err == nil), g.Name)
				}
			}},
		{name: "scrape_seconds", kind: gauge, unit: "s", labels: []string{"group"},
			help: "How long a group of readings took, waiting included.",
			read: func(s *Snapshot, put put) {
				for _, g := range s.Groups {
					put(g.Took.Seconds(), g.Name)
				}
			}},
	}}
}

// putTime puts a time, where there is one.
func putTime(put put, t time.Time, labels ...string) {
	if !t.IsZero() {
		put(float64(t.UnixMilli())/1000, labels...)
	}
}
