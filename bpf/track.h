/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Connections that events are about: known from connect until their end. */
#ifndef KMESH_TRACK_H
#define KMESH_TRACK_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "bpf/wmaps_node.h"
#include "bpf/workload.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, KW_TRACK_BUCKETS);
	__type(key, __u32);
	__type(value, struct kw_tracks);
} km_track SEC(".maps");

static __always_inline struct kw_tracks *track_bucket(__u64 cookie)
{
	__u32 i = cookie & (KW_TRACK_BUCKETS - 1);

	return bpf_map_lookup_elem(&km_track, &i);
}

static __always_inline struct kw_track *track_find(__u64 cookie)
{
	struct kw_tracks *b = track_bucket(cookie);

	if (!b)
		return NULL;
	for (int i = 0; i < KW_TRACK_WAYS; i++)
		if (b->way[i].cookie == cookie)
			return &b->way[i];
	return NULL;
}

/* The way to write a connect's record to: the socket's own, else a free one, else the
 * oldest, of which nothing more will be heard. */
static __always_inline struct kw_track *track_way(__u64 cookie)
{
	struct kw_tracks *b = track_bucket(cookie);
	__u32 own = KW_TRACK_WAYS, free = KW_TRACK_WAYS, oldest = 0;
	__u64 since = ~0ull;
	struct kw_stats *st;

	if (!b)
		return NULL;
	for (__u32 i = 0; i < KW_TRACK_WAYS; i++) {
		own = b->way[i].cookie == cookie ? i : own;
		free = b->way[i].cookie == 0 ? i : free;
		oldest = b->way[i].since < since ? i : oldest;
		since = b->way[i].since < since ? b->way[i].since : since;
	}
	if (own < KW_TRACK_WAYS)
		return &b->way[own & (KW_TRACK_WAYS - 1)];
	if (free < KW_TRACK_WAYS)
		return &b->way[free & (KW_TRACK_WAYS - 1)];
	st = wstats();
	if (st)
		st->lost_events++;
	return &b->way[oldest & (KW_TRACK_WAYS - 1)];
}

#endif
