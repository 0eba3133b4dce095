/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Where a connect goes; see workload.h. */
#ifndef KMESH_WMAPS_CONNECT_H
#define KMESH_WMAPS_CONNECT_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "bpf/workload.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, KW_MAX_FRONTENDS);
	__type(key, struct km_addr);
	__type(value, struct kw_frontend);
} km_frontend SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, KW_MAX_BLOCKS);
	__type(key, struct kw_block_key);
	__type(value, struct kw_block);
} km_block SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, KW_MAX_COUNTERS / KM_COUNTERS_PER_ELEM);
	__type(key, __u32);
	__type(value, struct km_counters);
} km_counter SEC(".maps");

#endif
