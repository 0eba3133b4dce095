/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Who watches, and what is told of single connects and packets. Needs 5.8 (ring buffer). */
#ifndef KMESH_MAPS_WATCH_H
#define KMESH_MAPS_WATCH_H

#include <linux/bpf.h>
#include <stdbool.h>
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
	__type(value, struct km_watch);
} km_watch SEC(".maps");

static __always_inline struct km_watch *watch_now(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&km_watch, &zero);
}

/* Does this time of km_watch go on? When it is over, that is written down: it spares later
 * connects the clock. One who prolongs it within that very moment is forgotten until he asks
 * again. */
static __always_inline bool goes_on(__u64 *time)
{
	__u64 until = *(const volatile __u64 *)time;

	if (!until || bpf_ktime_get_ns() < until)
		return until;
	if (*(volatile __u64 *)time == until)
		*(volatile __u64 *)time = 0;
	return false;
}

#endif
