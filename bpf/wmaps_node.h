/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The node in workload mode: its settings and rare counters. */
#ifndef KMESH_WMAPS_NODE_H
#define KMESH_WMAPS_NODE_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "bpf/workload.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kw_node);
} km_node SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kw_stats);
} km_wstats SEC(".maps");

static __always_inline const struct kw_node *settings(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&km_node, &zero);
}

static __always_inline struct kw_stats *wstats(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&km_wstats, &zero);
}

#endif
