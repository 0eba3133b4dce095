/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The node's settings. */
#ifndef KMESH_MAPS_CONFIG_H
#define KMESH_MAPS_CONFIG_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "bpf/abi.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct km_config);
} km_config SEC(".maps");

static __always_inline const struct km_config *config(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&km_config, &zero);
}

#endif
