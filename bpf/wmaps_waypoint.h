/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Connections to waypoints: what to put in front of their first bytes. */
#ifndef KMESH_WMAPS_WAYPOINT_H
#define KMESH_WMAPS_WAYPOINT_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "bpf/workload.h"

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct kw_msg);
} km_msg_store SEC(".maps");

/* Key: socket cookie. A socket that closes leaves by itself. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, KW_MAX_SOCKS);
	__type(key, __u64);
	__type(value, __u64);
} km_sock SEC(".maps");

/* What the program that sockets of km_sock keep for life calls: outlives loads. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} km_tail_msg SEC(".maps");

#endif
