/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What is counted by service; see workload.h. */
#ifndef KMESH_WMAPS_SERVED_H
#define KMESH_WMAPS_SERVED_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "bpf/workload.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, KW_MAX_SERVED);
	__type(key, __u32);
	__type(value, struct kw_served);
} km_served SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, KW_OPENING_BUCKETS);
	__type(key, __u32);
	__type(value, struct kw_openings);
} km_opening SEC(".maps");

#endif
