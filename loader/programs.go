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
)

// hook is where a program is attached.
type hook struct {
	kind       hookKind
	attachType uint32
	target     string // of a tracepoint; names the hook to people
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
	object string // bpf/OBJECT.bpf.c
	name   string
	hook   hook
	tail   *tail
	only   variant
}

// programs is every program of ads mode; a new program is one row and its source.
// Rows are attached in this order and detached in reverse: what counts results
// is there before what redirects.
var programs = []program{
	{object: "connect_ret", name: "connect_ret", only: variantConnectRet,
		hook: hook{kind: onRawTracepoint, target: "connect_ret"}},
	{object: "sock_state", name: "sock_state", only: variantSockState,
		hook: hook{kind: onBtfTracepoint, attachType: traceRawTp, target: "inet_sock_set_state"}},
	{object: "exit_connect", name: "exit_connect", only: variantSysExit,
		hook: hook{kind: onTracepoint, attachType: perfEvent, target: "syscalls/sys_exit_connect"}},
	{object: "sockops", name: "sock_ops", hook: hook{kind: onCgroup, attachType: cgroupSockOps}},

	{object: "sockconn4", name: "restart4", tail: &tail{"km_tail4", C.KM_TAIL_RESTART}},
	{object: "sockconn4", name: "filter_chain4", tail: &tail{"km_tail4", C.KM_TAIL_FILTER_CHAIN}},
	{object: "sockconn4", name: "filter4", tail: &tail{"km_tail4", C.KM_TAIL_FILTER}},
	{object: "sockconn4", name: "route_config4", tail: &tail{"km_tail4", C.KM_TAIL_ROUTE_CONFIG}},
	{object: "sockconn4", name: "cluster4", tail: &tail{"km_tail4", C.KM_TAIL_CLUSTER}},
	{object: "sockconn4", name: "search4", tail: &tail{"km_tail4", C.KM_TAIL_SEARCH}},
	{object: "sockconn6", name: "restart6", tail: &tail{"km_tail6", C.KM_TAIL_RESTART}},
	{object: "sockconn6", name: "filter_chain6", tail: &tail{"km_tail6", C.KM_TAIL_FILTER_CHAIN}},
	{object: "sockconn6", name: "filter6", tail: &tail{"km_tail6", C.KM_TAIL_FILTER}},
	{object: "sockconn6", name: "route_config6", tail: &tail{"km_tail6", C.KM_TAIL_ROUTE_CONFIG}},
	{object: "sockconn6", name: "cluster6", tail: &tail{"km_tail6", C.KM_TAIL_CLUSTER}},
	{object: "sockconn6", name: "search6", tail: &tail{"km_tail6", C.KM_TAIL_SEARCH}},
	{object: "sockconn4", name: "sockconn4",
		hook: hook{kind: onCgroup, attachType: cgroupConnect4}},
	{object: "sockconn6", name: "sockconn6",
		hook: hook{kind: onCgroup, attachType: cgroupConnect6}},
}

// wanted lists the rows that are loaded with variant v.
func wanted(v variant) []program {
	var l []program
	for _, p := range programs {
		if p.only == "" || p.only == v {
			l = append(l, p)
		}
	}
	return l
}

// mapsObject holds every map that outlives a load, and no program.
const mapsObject = "maps"

// objects lists the objects that rows need, each once: the maps, then those of
// programs in their order.
func objects(rows []program) []string {
	l := []string{mapsObject}
	for _, p := range rows {
		if !slices.Contains(l, p.object) {
			l = append(l, p.object)
		}
	}
	return l
}

func knownProgram(name string) bool {
	for _, p := range programs {
		if p.name == name {
			return true
		}
	}
	return false
}
