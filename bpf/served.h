/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Which service a connection goes to, from connect until its result, and the result. */
#ifndef KMESH_SERVED_H
#define KMESH_SERVED_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include "bpf/errno.h"
#include "bpf/maps_config.h"
#include "bpf/maps_watch.h"
#include "bpf/tcp.h"
#include "bpf/wmaps_served.h"

/* The SYN leaves in the same system call as connect: a record that is older then, seconds
 * at the least, is of a connect of this socket that got no SYN out. */
#define OPENING_TICKS 1024u

/* Does anybody want to know? */
static __always_inline bool counting(void)
{
	struct km_watch *w = watch_now();

	return w && goes_on(&w->count_until);
}

/* Did anybody of late? What connect noted then is counted: without the clock. */
static __always_inline bool counted(void)
{
	const struct km_watch *w = watch_now();

	return w && *(const volatile __u64 *)&w->count_until;
}

static __always_inline struct kw_openings *opening_bucket(__u64 cookie)
{
	__u32 i = cookie & (KW_OPENING_BUCKETS - 1);

	return bpf_map_lookup_elem(&km_opening, &i);
}

static __always_inline struct kw_opening *opening_find(__u64 cookie)
{
	struct kw_openings *b = opening_bucket(cookie);

	if (!b)
		return NULL;
	for (int i = 0; i < KW_OPENING_WAYS; i++)
		if (b->way[i].cookie == cookie)
			return &b->way[i];
	return NULL;
}

/* Takes this socket's own way, else a free one, else the oldest. */
static __always_inline void opening_put(__u64 cookie, __u32 resource)
{
	struct kw_openings *b = opening_bucket(cookie);
	__u32 now = bpf_jiffies64(), age = 0, way = 0;
	struct kw_opening *o;

	if (!b)
		return;
	for (__u32 i = 0; i < KW_OPENING_WAYS; i++) {
		__u32 old = now - b->way[i].since;

		old = b->way[i].cookie ? old >> 1 : 1u << 31;
		old = b->way[i].cookie == cookie ? ~0u : old;
		way = old >= age ? i : way;
		age = old >= age ? old : age;
	}
	o = &b->way[way & (KW_OPENING_WAYS - 1)];
	o->cookie = cookie;
	o->since = now;
	o->resource = resource;
}

/* Is its result to be waited for? Asked when its first SYN leaves. */
static __always_inline bool opening_counts(__u64 cookie)
{
	struct kw_opening *o = opening_find(cookie);

	if (!o)
		return false;
	if ((__u32)bpf_jiffies64() - o->since <= OPENING_TICKS)
		return true;
	o->cookie = 0;
	return false;
}

/* How long the SYN went unanswered, as TCP measured it, in eighths of a microsecond; where
 * it was sent again the ticks since connect. */
static __always_inline __u64 opening_took(const struct bpf_sock_ops *ctx,
					  const struct kw_opening *o)
{
	const struct km_config *cfg;

	if (!ctx->total_retrans)
		return (__u64)ctx->srtt_us / 8 * NSEC_PER_USEC;
	cfg = config();
	return cfg ? (__u64)((__u32)bpf_jiffies64() - o->since) * cfg->tick : 0;
}

static __always_inline void count_failure(struct kw_served *s, struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	const struct tcp_sock *tp = sk ? bpf_skc_to_tcp_sock(sk) : NULL;
	int err;

	if (!tp)
		return;
	err = tcp_error(tp);
	/* Given up by the application: when the SYN had to be sent again, after a second,
	 * that is the service's doing; sooner it says nothing. */
	if (!err && ctx->total_retrans)
		err = E_TIMEDOUT;
	if (err == E_CONNREFUSED)
		__sync_fetch_and_add(&s->refused, 1);
	else if (err == E_TIMEDOUT)
		__sync_fetch_and_add(&s->timeouts, 1);
	else if (err)
		__sync_fetch_and_add(&s->errors, 1);
}

/* SYN_SENT is over: counts what the connection came to. */
static __always_inline void opening_done(struct bpf_sock_ops *ctx, bool opened)
{
	struct kw_opening *o = opening_find(bpf_get_socket_cookie(ctx));
	struct kw_served *s;
	__u32 resource;

	if (!o)
		return;
	resource = o->resource;
	s = bpf_map_lookup_elem(&km_served, &resource);
	if (s && opened) {
		__sync_fetch_and_add(&s->ok, 1);
		__sync_fetch_and_add(&s->latency_ns, opening_took(ctx, o));
	} else if (s) {
		count_failure(s, ctx);
	}
	o->cookie = 0;
}

#endif
