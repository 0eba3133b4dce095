/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the result of a connect does to its endpoint. */
#ifndef KMESH_RESULT_H
#define KMESH_RESULT_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "bpf/abi.h"
#include "bpf/conn.h"
#include "bpf/errno.h"
#include "bpf/maps_node.h"
#include "bpf/slab.h"

#define MAX_LEVEL 32

/* Skips the endpoint for a while: twice as long each time in a row. */
static __always_inline void eject(struct km_endpoint *e, struct km_endpoint_stats *s)
{
	const struct km_config *cfg = config();
	__u64 wait, now;
	__u32 level;

	if (!cfg || !cfg->outlier_failures || e->fails < cfg->outlier_failures)
		return;
	now = bpf_ktime_get_ns();
	if (e->ejected_until > now)
		return;
	level = e->level;
	if (level >= MAX_LEVEL)
		level = MAX_LEVEL - 1;
	wait = cfg->outlier_backoff << level;
	if (wait > cfg->outlier_backoff_max || wait >> level != cfg->outlier_backoff)
		wait = cfg->outlier_backoff_max;
	e->level = level + 1;
	e->ejections++;
	e->ejected_until = now + wait;
	__sync_fetch_and_add(&s->ejections, 1);
}

/* err: 0 connected, after took ns; else a positive errno. */
static __always_inline void result(struct km_conn *c, int err, __u64 took)
{
	struct km_endpoint *e = conn_endpoint(c);
	struct km_endpoint_stats *s = node(c->endpoint + 1);

	if (!e || !s)
		return;
	switch (err) {
	case 0:
		__sync_fetch_and_add(&s->ok, 1);
		__sync_fetch_and_add(&s->latency_ns, took);
		if (took > s->latency_max_ns)
			s->latency_max_ns = took;
		/* Written only when needed: the line is shared by all CPUs. */
		if (e->fails | e->level) {
			e->fails = 0;
			e->level = 0;
			e->ejected_until = 0;
		}
		return;
	case E_CONNREFUSED:
		__sync_fetch_and_add(&s->refused, 1);
		break;
	case E_TIMEDOUT:
		__sync_fetch_and_add(&s->timeouts, 1);
		break;
	case E_NETUNREACH:
	case E_HOSTUNREACH:
		__sync_fetch_and_add(&s->errors, 1);
		break;
	default: /* aborted on this side: says nothing about the endpoint */
		__sync_fetch_and_add(&s->errors, 1);
		return;
	}
	/* Under way when the endpoint was last ejected: that has been answered. */
	if (c->ejections != e->ejections)
		return;
	__sync_fetch_and_add(&e->fails, 1);
	eject(e, s);
}

/* A patched kernel's word for a connect that it put off until the first data. */
#define DEFERRED (-1000)

/* A system call's own return value, by thread: for the variants of the tracepoint
 * that know no socket. A connect that does not wait has no result yet. */
static __always_inline void thread_result(long ret)
{
	struct km_conn *c = conn_find(bpf_get_current_pid_tgid() | KM_CONN_THREAD);

	if (!c)
		return;
	if (ret != DEFERRED && ret != -E_INPROGRESS && ret != -E_ALREADY && ret != -E_INTR)
		result(c, ret < 0 ? -ret : 0, bpf_ktime_get_ns() - c->since);
	c->cookie = 0;
}

#endif
