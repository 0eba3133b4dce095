// SPDX-License-Identifier: Apache-2.0

package loader

/*
#include "bpf/abi.h"
*/
import "C"

import "slices"

// hookKind is how a program comes to run.
type hookKind int

const (
	byTailCall      hookKind = iota // only from another program
	onCgroup                        // a link on the cgroup of Config.Cgroup2Path
	onBtfTracepoint                 // tp_btf: the program names its tracepoint
	onRawTracepoint
	onTracepoint // category/name, through a perf event: Linux 5.15 for a link
	onSockMap    // on the sockets of a map, by a link from Linux 6.12 on
	onPodNIC     // XDP on every Ethernet device of every enrolled namespace
)

// hook is where a program is attached.
type hook struct {
	kind       hookKind
	attachType uint32
	target     string // a tracepoint or a map; names the hook to people
}

// tail is a program's place in a prog array.
type tail struct {
	array string
	index uint32
}

// variant is how the result of connect() is learnt; "" is a program of every variant.
type variant string

// The variants. sock_state is what every stock kernel has.
const (
	variantConnectRet variant = "connect_ret"
	variantSockState  variant = "sock_state"
	variantSysExit    variant = ConnectRetSysExit
	variantOff        variant = ConnectRetOff
)

// program is one row: a BPF function, which is also the name of its pins.
type program struct {
	mode   Mode
	object string // bpf/OBJECT.bpf.c
	name   string
	hook   hook
	tail   *tail
	only   variant
}

// programs is every program; a new one is one row and its source. The rows of a
// mode are attached in this order and detached in reverse: what counts results or
// sends the metadata is there before what redirects.
var programs = []program{
	{mode: Ads, object: "connect_ret", name: "connect_ret", only: variantConnectRet,
		hook: hook{kind: onRawTracepoint, target: "connect_ret"}},
	{mode: Ads, object: "sock_state", name: "sock_state", only: variantSockState,
		hook: hook{kind: onBtfTracepoint, attachType: traceRawTp, target: "inet_sock_set_state"}},
	{mode: Ads, object: "exit_connect", name: "exit_connect", only: variantSysExit,
		hook: hook{kind: onTracepoint, attachType: perfEvent, target: "syscalls/sys_exit_connect"}},
	{mode: Ads, object: "sockops", name: "sock_ops", hook: hook{kind: onCgroup, attachType: cgroupSockOps}},

	{mode: Ads, object: "sockconn4", name: "restart4", tail: &tail{"km_tail4", C.KM_TAIL_RESTART}},
	{mode: Ads, object: "sockconn4", name: "filter_chain4", tail: &tail{"km_tail4", C.KM_TAIL_FILTER_CHAIN}},
	{mode: Ads, object: "sockconn4", name: "filter4", tail: &tail{"km_tail4", C.KM_TAIL_FILTER}},
	{mode: Ads, object: "sockconn4", name: "route_config4", tail: &tail{"km_tail4", C.KM_TAIL_ROUTE_CONFIG}},
	{mode: Ads, object: "sockconn4", name: "cluster4", tail: &tail{"km_tail4", C.KM_TAIL_CLUSTER}},
	{mode: Ads, object: "sockconn4", name: "search4", tail: &tail{"km_tail4", C.KM_TAIL_SEARCH}},
	{mode: Ads, object: "sockconn6", name: "restart6", tail: &tail{"km_tail6", C.KM_TAIL_RESTART}},
	{mode: Ads, object: "sockconn6", name: "filter_chain6", tail: &tail{"km_tail6", C.KM_TAIL_FILTER_CHAIN}},
	{mode: Ads, object: "sockconn6", name: "filter6", tail: &tail{"km_tail6", C.KM_TAIL_FILTER}},
	{mode: Ads, object: "sockconn6", name: "route_config6", tail: &tail{"km_tail6", C.KM_TAIL_ROUTE_CONFIG}},
	{mode: Ads, object: "sockconn6", name: "cluster6", tail: &tail{"km_tail6", C.KM_TAIL_CLUSTER}},
	{mode: Ads, object: "sockconn6", name: "search6", tail: &tail{"km_tail6", C.KM_TAIL_SEARCH}},
	{mode: Ads, object: "sockconn4", name: "sockconn4",
		hook: hook{kind: onCgroup, attachType: cgroupConnect4}},
	{mode: Ads, object: "sockconn6", name: "sockconn6",
		hook: hook{kind: onCgroup, attachType: cgroupConnect6}},

	{mode: Workload, object: "xdpauth", name: "xdpauth",
		hook: hook{kind: onPodNIC, attachType: xdpAttach}},
	{mode: Workload, object: "sendmsg", name: "metadata", tail: &tail{"km_tail_msg", 0}},
	{mode: Workload, object: "sendmsg", name: "sendmsg",
		hook: hook{kind: onSockMap, attachType: skMsgVerdict, target: "km_sock"}},
	{mode: Workload, object: "wsockops", name: "sock_ops", hook: hook{kind: onCgroup, attachType: cgroupSockOps}},
	{mode: Workload, object: "wconn4", name: "sockconn4",
		hook: hook{kind: onCgroup, attachType: cgroupConnect4}},
	{mode: Workload, object: "wconn6", name: "sockconn6",
		hook: hook{kind: onCgroup, attachType: cgroupConnect6}},
}

// programsOf lists the rows of a mode, of all its variants.
func programsOf(m Mode) []program {
	var l []program
	for _, p := range programs {
		if p.mode == m {
			l = append(l, p)
		}
	}
	return l
}

// wanted lists the rows of a mode that are loaded with variant v.
func wanted(m Mode, v variant) []program {
	return slices.DeleteFunc(programsOf(m), func(p program) bool { return p.only != "" && p.only != v })
}

// mapsObject holds every map of the mode that outlives a load, and no program.
func mapsObject(m Mode) string {
	if m == Workload {
		return "wmaps"
	}
	return "maps"
}

// objects lists the objects that rows of a mode need, each once: the maps, then
// those of programs in their order.
func objects(m Mode, rows []program) []string {
	l := []string{mapsObject(m)}
	for _, p := range rows {
		if !slices.Contains(l, p.object) {
			l = append(l, p.object)
		}
	}
	return l
}

func knownProgram(m Mode, name string) bool {
	return slices.ContainsFunc(programsOf(m), func(p program) bool { return p.name == name })
}
