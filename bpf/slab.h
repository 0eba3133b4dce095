/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The slabs of the store, and how a handle becomes a pointer. */
#ifndef KMESH_SLAB_H
#define KMESH_SLAB_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "bpf/abi.h"

/* A fixed number of entries keeps the inner lookup inlined by the verifier:
 * about 3 ns a hop, where BPF_F_INNER_MAP costs three times that. */
struct km_slab {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, KM_SLAB_SLOTS);
	__type(key, __u32);
	__uint(value_size, KM_SLOT_SIZE);
} km_inner SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, KM_SLABS);
	__type(key, __u32);
	__array(values, struct km_slab);
} km_outer SEC(".maps");

/* The first byte of the slot that a handle names, KM_SLOT_SIZE bytes readable;
 * NULL for a slab that is not there. Null gives slot 0: all zero, of no kind. */
static __always_inline void *node(__u32 handle)
{
	__u32 slab = handle >> KM_SLAB_SHIFT;
	__u32 slot = handle & (KM_SLAB_SLOTS - 1);
	void *inner = bpf_map_lookup_elem(&km_outer, &slab);

	return inner ? bpf_map_lookup_elem(inner, &slot) : NULL;
}

#endif
