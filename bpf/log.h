/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The data plane's log. A line costs one word read as long as its level is not asked for. */
#ifndef KMESH_LOG_H
#define KMESH_LOG_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "bpf/maps_watch.h"

static __always_inline struct km_watch *logs(enum km_log_level level)
{
	struct km_watch *ctl = watch_now();

	if (!ctl || *(const volatile __u64 *)&ctl->level < level)
		return NULL;
	return goes_on(&ctl->level_until) ? ctl : NULL;
}

/* A new entry, to be filled in and given to log_send; NULL: nobody asked for it, or there
 * is no room, which is counted. */
static __always_inline struct km_log_entry *log_new(enum km_log_level level, enum km_log_what what,
						    __u32 arg)
{
	struct km_watch *ctl = logs(level);
	struct km_log_entry *e;

	if (!ctl)
		return NULL;
	e = bpf_ringbuf_reserve(&km_log, sizeof(*e), 0);
	if (!e) {
		__sync_fetch_and_add(&ctl->lost, 1);
		return NULL;
	}
	__builtin_memset(e, 0, sizeof(*e));
	e->time = bpf_ktime_get_ns();
	e->level = level;
	e->what = what;
	e->arg = arg;
	return e;
}

static __always_inline void log_send(struct km_log_entry *e)
{
	bpf_ringbuf_submit(e, BPF_RB_NO_WAKEUP);
}

static __always_inline void ip_copy(__be32 *to, const __be32 *ip)
{
	to[0] = ip[0];
	to[1] = ip[1];
	to[2] = ip[2];
	to[3] = ip[3];
}

#endif
