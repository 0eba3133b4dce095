// SPDX-License-Identifier: Apache-2.0

package loader

import "slices"

// mapRow is one map of the objects.
type mapRow struct {
	mode Mode   // empty: each mode has its own one
	name string // in every object, and of the pin
	// env is the documented variable of the hand-off; empty: not handed over.
	env string
	// perLoad maps belong to one load of the programs: another load gets its
	// own, so that old and new programs never meet in them. All others outlive
	// the programs.
	perLoad bool
	// tails says that the map is a prog array: the kernel empties it when its last
	// pin or descriptor goes.
	tails bool
	// entries is the configured number of entries; nil: the object's.
	entries func(*Config) uint32

	// differs is what becomes of a map that another build laid out otherwise, or that
	// has another number of entries: migrate, rebuild or refuse.
	differs fate
	why     string // rebuild: why nothing is lost, or what
	// with names the maps that this one gives way with, because their contents belong
	// together or a writer has all of them open.
	with []string
	// live says that programs write it: what the old ones wrote after it was copied is
	// brought over as well. adds: as numbers that they raise.
	live, adds bool
}

// Writers of workload mode that have maps open which give way find that in km_pstate.
var writtenByWriter = []string{"km_policy", "km_peer", "km_frontend", "km_block", "km_denied", "km_served", "km_res", "km_wmeta", "km_netns"}

// Writers of ads mode find it in km_meta.
var writtenByStore = []string{"km_listener", "km_cluster", "km_route", "km_outer", "km_lroot", "km_ports"}

// mapTable is every map, by mode.
var mapTable = []mapRow{
	{name: "km_counter", differs: migrate, live: true, adds: true},
	{name: "km_netns", differs: migrate, live: true, with: []string{"km_netns_slot"}},
	{name: "km_netns_slot", differs: rebuild, why: "it follows from km_netns", with: []string{"km_netns"}},
	{name: "km_own", differs: rebuild, why: "it is about connects that are under way"},
	{name: "km_config", differs: rebuild, why: "it holds the settings"},
	{name: "km_log", differs: rebuild, why: "lines of the data plane's log that nobody has read yet are lost"},
	{name: "km_watch", differs: rebuild, why: "the data plane's log begins anew", with: []string{"km_log"}},

	{mode: Ads, name: "km_listener", env: "Listener", differs: migrate},
	{mode: Ads, name: "km_cluster", env: "Cluster", differs: migrate},
	{mode: Ads, name: "km_route", env: "RouteConfiguration", differs: migrate},
	{mode: Ads, name: "km_outer", env: "OUTTER_MAP_ID", differs: migrate},
	// Handles, and how nodes are made up, depend on it: KM_ABI_VERSION.
	{mode: Ads, name: "km_inner", env: "INNER_MAP_ID", differs: refuse},
	{mode: Ads, name: "km_lroot", env: "KMESH_LISTENER_ROOT", differs: migrate},
	{mode: Ads, name: "km_meta", env: "KMESH_META", differs: migrate, with: writtenByStore},
	{mode: Ads, name: "km_ports", env: "KMESH_PORTS", differs: migrate},
	{mode: Ads, name: "km_conn", differs: migrate, live: true},
	{mode: Ads, name: "km_stats", differs: migrate, live: true, adds: true},
	{mode: Ads, name: "km_scratch", perLoad: true},
	{mode: Ads, name: "km_tail4", perLoad: true, tails: true},
	{mode: Ads, name: "km_tail6", perLoad: true, tails: true},

	{mode: Workload, name: "km_frontend", differs: rebuild, why: derived, with: []string{"km_block"},
		entries: func(c *Config) uint32 { return c.Workloads }},
	{mode: Workload, name: "km_block", differs: rebuild, why: derived, with: []string{"km_frontend"},
		entries: func(c *Config) uint32 { return c.Workloads / 2 }},
	{mode: Workload, name: "km_peer", differs: rebuild, why: derived, entries: func(c *Config) uint32 { return c.Workloads }},
	{mode: Workload, name: "km_policy", differs: rebuild, why: derived, with: []string{"km_pstate"},
		entries: func(c *Config) uint32 { return 2 * c.PolicySlots }},
	// Programs of the load before go on by the shift of their own km_policy.
	{mode: Workload, name: "km_pstate", differs: rebuild, why: derived, with: writtenByWriter},
	{mode: Workload, name: "km_flow", differs: rebuild, why: "what stands is judged once more",
		entries: func(c *Config) uint32 { return c.FlowEntries }},
	{mode: Workload, name: "km_denied", differs: migrate, live: true, adds: true,
		entries: func(c *Config) uint32 { return c.Workloads / 4 }},
	{mode: Workload, name: "km_wstats", differs: migrate, live: true, adds: true},
	{mode: Workload, name: "km_served", differs: migrate, live: true, adds: true,
		entries: func(c *Config) uint32 { return c.Workloads / 2 }},
	{mode: Workload, name: "km_opening", differs: rebuild, why: "connects that are under way are not counted"},
	{mode: Workload, name: "km_track", differs: migrate, live: true},
	{mode: Workload, name: "km_event", differs: rebuild, why: "events that nobody has read yet are lost"},
	{mode: Workload, name: "km_reader", differs: rebuild, why: "who reads events begins anew", with: []string{"km_event"}},
	{mode: Workload, name: "km_node", differs: rebuild, why: "it holds the settings"},
	{mode: Workload, name: "km_res", differs: migrate, entries: func(c *Config) uint32 { return c.Workloads }},
	{mode: Workload, name: "km_wmeta", differs: migrate},
	{mode: Workload, name: "km_sock", differs: rebuild, why: unwritten},
	{mode: Workload, name: "km_msg_store", differs: rebuild, why: unwritten},
	// It outlives loads: the programs of sockets that are in km_sock already
	// tail-call through it.
	{mode: Workload, name: "km_tail_msg", tails: true, differs: rebuild, why: unwritten},
}

const (
	derived   = "it follows from the messages in km_res"
	unwritten = "connections to waypoints that have not written yet go without metadata"
)

// mapsOf lists the maps of a mode.
func mapsOf(m Mode) []mapRow {
	return slices.DeleteFunc(slices.Clone(mapTable), func(r mapRow) bool { return r.mode != "" && r.mode != m })
}

func mapByName(m Mode, name string) (mapRow, bool) {
	for _, r := range mapsOf(m) {
		if r.name == name {
			return r, true
		}
	}
	return mapRow{}, false
}
