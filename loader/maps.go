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
	// entries is the configured number of entries; nil: the object's. A map of
	// another number gives way to a new one, so its content must follow from that
	// of others.
	entries func(*Config) uint32
	// with names the map of entries that this one is replaced together with.
	with string
}

// mapTable is every map, by mode.
var mapTable = []mapRow{
	{name: "km_counter"},
	{name: "km_netns"},
	{name: "km_netns_slot"},
	{name: "km_own"},
	{name: "km_config"},

	{mode: Ads, name: "km_listener", env: "Listener"},
	{mode: Ads, name: "km_cluster", env: "Cluster"},
	{mode: Ads, name: "km_route", env: "RouteConfiguration"},
	{mode: Ads, name: "km_outer", env: "OUTTER_MAP_ID"},
	{mode: Ads, name: "km_inner", env: "INNER_MAP_ID"},
	{mode: Ads, name: "km_lroot", env: "KMESH_LISTENER_ROOT"},
	{mode: Ads, name: "km_meta", env: "KMESH_META"},
	{mode: Ads, name: "km_ports", env: "KMESH_PORTS"},
	{mode: Ads, name: "km_conn"},
	{mode: Ads, name: "km_stats"},
	{mode: Ads, name: "km_scratch", perLoad: true},
	{mode: Ads, name: "km_tail4", perLoad: true, tails: true},
	{mode: Ads, name: "km_tail6", perLoad: true, tails: true},

	{mode: Workload, name: "km_frontend"},
	{mode: Workload, name: "km_block"},
	{mode: Workload, name: "km_peer"},
	{mode: Workload, name: "km_policy", entries: func(c *Config) uint32 { return 2 * c.PolicySlots }},
	// Programs of the load before go on by the shift of their own km_policy.
	{mode: Workload, name: "km_pstate", with: "km_policy"},
	{mode: Workload, name: "km_flow", entries: func(c *Config) uint32 { return c.FlowEntries }},
	{mode: Workload, name: "km_denied"},
	{mode: Workload, name: "km_wstats"},
	{mode: Workload, name: "km_track"},
	{mode: Workload, name: "km_event"},
	{mode: Workload, name: "km_reader"},
	{mode: Workload, name: "km_node"},
	{mode: Workload, name: "km_res"},
	{mode: Workload, name: "km_wmeta"},
	{mode: Workload, name: "km_sock"},
	{mode: Workload, name: "km_msg_store"},
	// It outlives loads: the programs of sockets that are in km_sock already
	// tail-call through it.
	{mode: Workload, name: "km_tail_msg", tails: true},
}

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
