// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"time"

	"github.com/kmesh-net/kmesh-node/loader"
)

func aboutKernel() group {
	k := func(do func(*loader.Status, put)) func(*Snapshot, put) {
		return func(s *Snapshot, put put) {
			if s.Kernel != nil {
				do(s.Kernel, put)
			}
		}
	}
	programs := func(do func(*loader.ProgramStatus) float64) func(*Snapshot, put) {
		return k(func(st *loader.Status, put put) {
			for i := range st.Programs {
				put(do(&st.Programs[i]), st.Programs[i].Name)
			}
		})
	}
	maps := func(do func(*loader.MapStatus) float64) func(*Snapshot, put) {
		return k(func(st *loader.Status, put put) {
			for i := range st.Maps {
				put(do(&st.Maps[i]), st.Maps[i].Name)
			}
		})
	}
	program, ofMap := []string{"program"}, []string{"map"}
	return group{"Programs, links and maps", "Read from the kernel.", []metric{
		{name: "program_stats_enabled", kind: gauge, unit: "bool",
			help: "1 while the kernel counts runs of programs: sysctl kernel.bpf_stats_enabled, which costs each run some 20 ns.",
			read: func(s *Snapshot, put put) {
				if s.Kernel != nil {
					put(yes(s.Counting))
				}
			}},
		{name: "program_runs_total", kind: counter, unit: "ops", labels: program,
			help: "Runs of a program while the kernel counts them; tail calls count where the chain began.",
			read: programs(func(p *loader.ProgramStatus) float64 { return float64(p.RunCount) })},
		{name: "program_run_seconds_total", kind: counter, unit: "s", labels: program,
			help: "Time in a program while the kernel counts it.",
			read: programs(func(p *loader.ProgramStatus) float64 { return time.Duration(p.RunTime).Seconds() })},
		{name: "links", kind: gauge, unit: "short", labels: []string{"state"},
			help: "Links by whether what they are attached to is there: attached or gone. One for each hook, in workload mode also for each device of a pod.",
			read: k(func(st *loader.Status, put put) {
				alive := 0
				for _, l := range st.Links {
					if l.Alive {
						alive++
					}
				}
				put(float64(alive), "attached")
				put(float64(len(st.Links)-alive), "gone")
			})},
		{name: "enrolled_pods", kind: gauge, unit: "short",
			help: "Network namespaces under management.",
			read: k(func(st *loader.Status, put put) { put(float64(st.Enrolled)) })},
		{name: "map_capacity", kind: gauge, unit: "short", labels: ofMap, help: "Entries that a map can have.",
			read: maps(func(m *loader.MapStatus) float64 { return float64(m.Entries) })},
		{name: "map_memory_bytes", kind: gauge, unit: "bytes", labels: ofMap,
			help: "Memory that the kernel accounts for a map. Slabs that the store of ads mode adds are not in it: see store_used.",
			read: maps(func(m *loader.MapStatus) float64 { return float64(m.Memory) })},
		{name: "map_entries", kind: gauge, unit: "short", labels: ofMap,
			help: "Entries of those maps that are counted: enrolments, and in workload mode what the writer keeps (km_policy: slots of the image).",
			read: func(s *Snapshot, put put) {
				if s.Kernel != nil {
					put(float64(s.Kernel.Enrolled), "km_netns")
				}
				if s.Workload != nil {
					for _, m := range s.Workload.Maps {
						put(float64(m.Entries), m.Map)
					}
				}
			}},
	}}
}
