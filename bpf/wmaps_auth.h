/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Who is who, and who may connect; see workload.h. */
#ifndef KMESH_WMAPS_AUTH_H
#define KMESH_WMAPS_AUTH_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "bpf/workload.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, KW_MAX_PEERS);
	__type(key, union kw_ip);
	__type(value, struct kw_peer);
} km_peer SEC(".maps");

/* One slot; what is in it, its place in the image says. */
struct kw_slot {
	__u64 word[8];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2 * KW_POLICY_SLOTS); /* or what the loader was told */
	__type(key, __u32);
	__type(value, struct kw_slot);
} km_policy SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kw_pstate);
} km_pstate SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, KW_FLOWS); /* or what the loader was told */
	__type(key, __u32);
	__type(value, struct kw_flow);
} km_flow SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, KW_MAX_DENIED);
	__type(key, __u32);
	__type(value, __u64);
} km_denied SEC(".maps");

#endif
