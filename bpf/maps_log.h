/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the data plane tells of single connects and packets. Needs 5.8 (ring buffer). */
#ifndef KMESH_MAPS_LOG_H
#define KMESH_MAPS_LOG_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "bpf/abi.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, KM_LOG_BYTES);
} km_log SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct km_logctl);
} km_logctl SEC(".maps");

#endif
