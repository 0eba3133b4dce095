// SPDX-License-Identifier: Apache-2.0

package loader

/*
#include "bpf/abi.h"
*/
import "C"

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

	{object: "sockconn", name: "restart4", tail: &tail{"km_tail4", C.KM_TAIL_RESTART}},
	{object: "sockconn", name: "filter_chain4", tail: &tail{"km_tail4", C.KM_TAIL_FILTER_CHAIN}},
	{object: "sockconn", name: "filter4", tail: &tail{"km_tail4", C.KM_TAIL_FILTER}},
	{object: "sockconn", name: "route_config4", tail: &tail{"km_tail4", C.KM_TAIL_ROUTE_CONFIG}},
	{object: "sockconn", name: "cluster4", tail: &tail{"km_tail4", C.KM_TAIL_CLUSTER}},
	{object: "sockconn", name: "search4", tail: &tail{"km_tail4", C.KM_TAIL_SEARCH}},
	{object: "sockconn", name: "restart6", tail: &tail{"km_tail6", C.KM_TAIL_RESTART}},
	{object: "sockconn", name: "filter_chain6", tail: &tail{"km_tail6", C.KM_TAIL_FILTER_CHAIN}},
	{object: "sockconn", name: "filter6", tail: &tail{"km_tail6", C.KM_TAIL_FILTER}},
	{object: "sockconn", name: "route_config6", tail: &tail{"km_tail6", C.KM_TAIL_ROUTE_CONFIG}},
	{object: "sockconn", name: "cluster6", tail: &tail{"km_tail6", C.KM_TAIL_CLUSTER}},
	{object: "sockconn", name: "search6", tail: &tail{"km_tail6", C.KM_TAIL_SEARCH}},
	{object: "sockconn", name: "sockconn4",
		hook: hook{kind: onCgroup, attachType: cgroupConnect4}},
	{object: "sockconn", name: "sockconn6",
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

// objects lists the objects of rows, each once and in their order.
func objects(rows []program) []string {
	var l []string
	seen := map[string]bool{}
	for _, p := range rows {
		if !seen[p.object] {
			seen[p.object] = true
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
