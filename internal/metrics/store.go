// SPDX-License-Identifier: Apache-2.0

package metrics

import "github.com/kmesh-net/kmesh-node/internal/store"

func aboutStore() group {
	uses := func(do func(store.Use) uint64) func(*Snapshot, put) {
		return func(s *Snapshot, put put) {
			st := s.Store
			if st == nil {
				return
			}
			for _, u := range []struct {
				what string
				use  store.Use
			}{{"listeners", st.Listeners}, {"clusters", st.Clusters}, {"routes", st.Routes}, {"counters", st.Counters}, {"slabs", st.Slabs}} {
				put(float64(do(u.use)), u.what)
			}
		}
	}
	return group{"Store of ads mode", "Absent in workload mode.", []metric{
		{name: "store_used", kind: gauge, unit: "short", labels: []string{"what"},
			help: "In use: listeners, clusters and routes (with those that are referred to), counters of round robin, slabs.",
			read: uses(func(u store.Use) uint64 { return u.Used })},
		{name: "store_limit", kind: gauge, unit: "short", labels: []string{"what"}, help: "The most there can be of it.",
			read: uses(func(u store.Use) uint64 { return u.Limit })},
		{name: "store_slots", kind: gauge, unit: "short", labels: []string{"state"},
			help: "Slots of 64 bytes in the slabs: used, free, or pending until no connect can hold them.",
			read: func(s *Snapshot, put put) {
				if s.Store != nil {
					put(float64(s.Store.Slots.Used), "used")
					put(float64(s.Store.Slots.Free), "free")
					put(float64(s.Store.Slots.Pending), "pending")
				}
			}},
		{name: "store_missing_references", kind: gauge, unit: "short", labels: []string{"kind"},
			help: "Names that are referred to and not there: cluster, route. Connections that come to them go as asked.",
			read: func(s *Snapshot, put put) {
				if s.Store != nil {
					put(float64(s.Store.References.Clusters), "cluster")
					put(float64(s.Store.References.Routes), "route")
				}
			}},
	}}
}
