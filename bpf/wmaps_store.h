/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the writer keeps for get and for the next writer; see workload.h. */
#ifndef KMESH_WMAPS_STORE_H
#define KMESH_WMAPS_STORE_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "bpf/workload.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, KW_MAX_CHUNKS);
	__type(key, struct kw_chunk_key);
	__type(value, struct kw_chunk);
} km_res SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kw_meta);
} km_wmeta SEC(".maps");

#endif
