/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Events for those who follow connections. */
#ifndef KMESH_WMAPS_EVENT_H
#define KMESH_WMAPS_EVENT_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "bpf/workload.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, KW_EVENT_BYTES);
} km_event SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kw_reader);
} km_reader SEC(".maps");

#endif
