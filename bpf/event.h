/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Telling those who follow connections. Needs 5.8 (ring buffer). */
#ifndef KMESH_EVENT_H
#define KMESH_EVENT_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include "bpf/wmaps_event.h"
#include "bpf/wmaps_node.h"

/* Until when events are wanted; 0: they are not. */
static __always_inline __u64 wanted_until(void)
{
	__u32 zero = 0;
	const struct kw_reader *r = bpf_map_lookup_elem(&km_reader, &zero);

	return r ? *(const volatile __u64 *)&r->until : 0;
}

/* Somebody reads events at this moment, which is now. */
static __always_inline bool reader(__u64 *now)
{
	__u64 until = wanted_until();

	if (!until)
		return false;
	*now = bpf_ktime_get_ns();
	return *now < until;
}

/* A new event, to be filled in and sent; NULL: no room, and counted. */
static __always_inline struct kw_event *event_new(enum kw_event_type type, __u64 now)
{
	struct kw_event *e = bpf_ringbuf_reserve(&km_event, sizeof(*e), 0);
	struct kw_stats *st;

	if (!e) {
		st = wstats();
		if (st)
			st->lost_events++;
		return NULL;
	}
	__builtin_memset(e, 0, sizeof(*e));
	e->time = now;
	e->type = type;
	return e;
}

/* Waking the reader costs a connection more than all the rest, and finding out how much
 * there is to read costs too: one event in SAMPLE asks, by the time that it is of, and wakes
 * the reader when a quarter of the ring is full. */
#define SAMPLE 16
static __always_inline void event_send(struct kw_event *e)
{
	bool wake = !(e->time >> 6 & (SAMPLE - 1)) &&
		    bpf_ringbuf_query(&km_event, BPF_RB_AVAIL_DATA) >= KW_EVENT_BYTES / 4;

	bpf_ringbuf_submit(e, wake ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);
}

#endif
