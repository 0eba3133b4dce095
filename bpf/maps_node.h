/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The node's settings and rare counters, in ads mode. */
#ifndef KMESH_MAPS_NODE_H
#define KMESH_MAPS_NODE_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "bpf/abi.h"
#include "bpf/maps_config.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct km_stats);
} km_stats SEC(".maps");

static __always_inline struct km_stats *stats(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&km_stats, &zero);
}

#endif
