// SPDX-License-Identifier: Apache-2.0

package loader

// mapRow is one map of the objects.
type mapRow struct {
	name string // in every object, and of the pin
	// env is the documented variable of the hand-off; empty: not handed over.
	env string
	// perLoad maps belong to one load of the programs: another load gets its
	// own, so that old and new programs never meet in them. All others outlive
	// the programs.
	perLoad bool
}

// mapTable is every map of ads mode.
var mapTable = []mapRow{
	{name: "km_listener", env: "Listener"},
	{name: "km_cluster", env: "Cluster"},
	{name: "km_route", env: "RouteConfiguration"},
	{name: "km_outer", env: "OUTTER_MAP_ID"},
	{name: "km_inner", env: "INNER_MAP_ID"},
	{name: "km_lroot", env: "KMESH_LISTENER_ROOT"},
	{name: "km_meta", env: "KMESH_META"},
	{name: "km_ports", env: "KMESH_PORTS"},
	{name: "km_counter"},
	{name: "km_conn"},
	{name: "km_netns"},
	{name: "km_netns_slot"},
	{name: "km_own"},
	{name: "km_config"},
	{name: "km_stats"},
	{name: "km_scratch", perLoad: true},
	{name: "km_tail4", perLoad: true},
	{name: "km_tail6", perLoad: true},
}

func mapByName(name string) (mapRow, bool) {
	for _, m := range mapTable {
		if m.name == name {
			return m, true
		}
	}
	return mapRow{}, false
}
