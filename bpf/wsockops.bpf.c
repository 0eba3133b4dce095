// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Brings connections to waypoints into km_sock, counts by service what becomes of
 * connects, and tells those who read events. The kernel is asked for changes of state
 * only on sockets that one of the three is about; that is not taken back, for another
 * program may have asked for the same.
 */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "bpf/errno.h"
#include "bpf/event.h"
#include "bpf/served.h"
#include "bpf/tcp.h"
#include "bpf/track.h"
#include "bpf/wmaps_waypoint.h"

#define AF_INET 2

static __always_inline void watch(struct bpf_sock_ops *ctx, int flags)
{
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | flags);
}

/* Where this connection was going, if it goes to a waypoint. The port is compared
 * first: it spares all others the storage. */
static __always_inline struct kw_msg *to_waypoint(struct bpf_sock_ops *ctx)
{
	const struct kw_node *s = settings();
	struct bpf_sock *sk;

	if (!s || bpf_ntohl(ctx->remote_port) != bpf_ntohs(s->waypoint_port))
		return NULL;
	sk = ctx->sk;
	return sk ? bpf_sk_storage_get(&km_msg_store, sk, NULL, 0) : NULL;
}

static __always_inline void addresses(struct bpf_sock_ops *ctx, struct kw_event *e)
{
	if (ctx->family == AF_INET) {
		e->src.w[2] = bpf_htonl(0xffff);
		e->src.w[3] = ctx->local_ip4;
		e->dst.w[2] = bpf_htonl(0xffff);
		e->dst.w[3] = ctx->remote_ip4;
		/* Else clang makes one load of the last of both branches, of a context
		 * that it moved: the verifier takes no such. */
		barrier();
	} else {
		e->src.w[0] = ctx->local_ip6[0];
		e->src.w[1] = ctx->local_ip6[1];
		e->src.w[2] = ctx->local_ip6[2];
		e->src.w[3] = ctx->local_ip6[3];
		e->dst.w[0] = ctx->remote_ip6[0];
		e->dst.w[1] = ctx->remote_ip6[1];
		e->dst.w[2] = ctx->remote_ip6[2];
		e->dst.w[3] = ctx->remote_ip6[3];
	}
	e->sport = bpf_htons(ctx->local_port);
	e->dport = bpf_htons(bpf_ntohl(ctx->remote_port));
}

/* The first SYN is about to leave: whatever comes of it, its end is to be seen. */
static __always_inline void opening(struct bpf_sock_ops *ctx)
{
	if ((counted() && opening_counts(bpf_get_socket_cookie(ctx))) ||
	    (wanted_until() && track_find(bpf_get_socket_cookie(ctx))))
		watch(ctx, BPF_SOCK_OPS_STATE_CB_FLAG);
}

static __always_inline void bring_in(struct bpf_sock_ops *ctx)
{
	__u64 cookie = bpf_get_socket_cookie(ctx);
	struct kw_stats *st;
	long err;

	watch(ctx, BPF_SOCK_OPS_STATE_CB_FLAG | BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG);
	err = bpf_sock_hash_update(ctx, &km_sock, &cookie, BPF_ANY);
	/* Busy: was disconnected and connects again, and has its program from then. */
	if (!err || err == -E_BUSY)
		return;
	st = wstats();
	if (st)
		st->no_waypoint++;
}

/* As soon as the metadata is in front, within the first write, the socket is the kernel's
 * own again: while it is in km_sock, a read that waits may be told EAGAIN, and all it does
 * is slower. What is asked for here, room for header options (5.10), is asked for in each
 * write, when sendmsg has seen it; km_sock itself says nothing. */
static __always_inline void take_out(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	const struct kw_msg *m = sk ? bpf_sk_storage_get(&km_msg_store, sk, NULL, 0) : NULL;
	__u64 cookie;

	/* Another port: was disconnected before it wrote, and goes elsewhere. */
	if (m && !m->done && bpf_ntohl(ctx->remote_port) == bpf_ntohs(m->waypoint_port))
		return;
	cookie = bpf_get_socket_cookie(ctx);
	bpf_map_delete_elem(&km_sock, &cookie);
	bpf_sock_ops_cb_flags_set(ctx,
				  ctx->bpf_sock_ops_cb_flags & ~BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG);
}

/* A connection to a waypoint that ends without metadata: nothing was written, or it
 * was written before the socket was in km_sock. */
static __always_inline void without_metadata(struct bpf_sock_ops *ctx)
{
	struct kw_stats *st = wstats();

	if (!st)
		return;
	if (ctx->data_segs_out)
		st->early_data++;
	else
		st->silent++;
}

static __always_inline enum kw_event_type why(int err)
{
	switch (err) {
	case E_CONNREFUSED:
		return KW_E_REFUSED;
	case E_TIMEDOUT:
		return KW_E_TIMEDOUT;
	}
	return KW_E_FAILED;
}

/* How it ended. m: where it was going, if through a waypoint; the application did not
 * send the metadata. */
static __always_inline void ending(struct bpf_sock_ops *ctx, const struct kw_msg *m,
				   struct kw_event *e)
{
	struct bpf_sock *sk = ctx->sk;
	const struct tcp_sock *tp = sk ? bpf_skc_to_tcp_sock(sk) : NULL;

	if (!tp)
		return;
	if (ctx->args[0] == BPF_TCP_SYN_SENT) {
		e->type = why(tcp_error(tp));
		e->policy = e->type == KW_E_FAILED ? tcp_error(tp) : 0;
		return;
	}
	e->sent = tcp_sent(tp);
	if (m && m->done)
		e->sent -= m->family == 4 ? KW_METADATA4 : KW_METADATA6;
	e->received = tcp_received(tp);
	e->rtt = tp->srtt_us / 8;
}

/* When this is. A connection that has just been opened says so itself: the time that its
 * first SYN took, in eighths of a microsecond; the clock costs more. Not so when the SYN
 * was sent again, for then it is the last one's. 0: nobody reads events any more. */
static __always_inline __u64 time_of(struct bpf_sock_ops *ctx, enum kw_event_type type,
				     const struct kw_track *t)
{
	__u64 now;

	if (type == KW_E_OPENED && !ctx->total_retrans)
		return t->since + (__u64)ctx->srtt_us / 8 * NSEC_PER_USEC;
	return reader(&now) ? now : 0;
}

/* One path for all events, for each run finds the CPU's caches cold. */
static __always_inline void tell(struct bpf_sock_ops *ctx, const struct kw_msg *m,
				 enum kw_event_type type, const struct kw_track *t)
{
	__u64 now = time_of(ctx, type, t);
	struct kw_event *e = now ? event_new(type, now) : NULL;

	if (!e)
		return;
	addresses(ctx, e);
	e->netns = t->netns;
	e->orig = t->orig;
	e->orig_port = t->orig_port;
	e->resource = t->resource;
	e->flags = t->flags;
	e->duration = now - t->since;
	if (type == KW_E_CLOSED)
		ending(ctx, m, e);
	event_send(e);
}

SEC("sockops")
int sock_ops(struct bpf_sock_ops *ctx)
{
	enum kw_event_type type = KW_E_OPENED;
	const struct kw_msg *m;
	struct kw_track *t;

	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		opening(ctx);
		return 1;
	case BPF_SOCK_OPS_HDR_OPT_LEN_CB:
		take_out(ctx);
		return 1;
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		m = to_waypoint(ctx);
		if (m)
			bring_in(ctx);
		if (!wanted_until())
			return 1;
		break;
	case BPF_SOCK_OPS_STATE_CB:
		if (ctx->args[0] == BPF_TCP_SYN_SENT)
			opening_done(ctx, ctx->args[1] == BPF_TCP_ESTABLISHED);
		if (ctx->args[1] != BPF_TCP_CLOSE)
			return 1;
		m = to_waypoint(ctx);
		if (m && !m->done && ctx->args[0] != BPF_TCP_SYN_SENT)
			without_metadata(ctx);
		type = KW_E_CLOSED;
		break;
	default:
		return 1;
	}
	t = track_find(bpf_get_socket_cookie(ctx));
	if (!t)
		return 1;
	tell(ctx, m, type, t);
	if (type == KW_E_CLOSED)
		t->cookie = 0;
	return 1;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
