/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * connect() of a managed pod in workload mode: the address that the application asked
 * for has a frontend, that names a set of endpoints, and one of them is taken. No
 * frontend, no endpoint, or an error here: the connection goes where it was
 * asked to. wconn4.bpf.c and wconn6.bpf.c make programs of it; V6 says which one.
 */
#ifndef KMESH_WCONN_H
#define KMESH_WCONN_H

#include <linux/bpf.h>
#include <linux/in.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "bpf/destination.h"
#include "bpf/enrol.h"
#include "bpf/event.h"
#include "bpf/frontend.h"
#include "bpf/log.h"
#include "bpf/logconnect.h"
#include "bpf/served.h"
#include "bpf/track.h"
#include "bpf/wmaps_waypoint.h"

#define PASS 1
#define DENY 0 /* EPERM: the answer of the control address */

/* Notes for the first write where the connection was going. */
static __always_inline bool remember(struct bpf_sock_addr *ctx, const struct km_addr *a,
				     __be16 waypoint_port)
{
	struct bpf_sock *sk = ctx->sk;
	struct kw_msg *m;

	m = sk ? bpf_sk_storage_get(&km_msg_store, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE) : NULL;
	if (!m)
		return false;
	ip_copy(m->ip.w, a->ip);
	m->port = a->port;
	m->family = is_ipv4(a->ip) ? 4 : 6;
	m->done = 0;
	m->waypoint_port = waypoint_port;
	return true;
}

/* The socket may have been on its way to a waypoint before, and have failed. What goes
 * to that port on its own account carries nothing. */
static __always_inline void forget(struct bpf_sock_addr *ctx, __be16 port)
{
	const struct kw_node *s = settings();
	struct bpf_sock *sk = ctx->sk;

	if (sk && s && port == s->waypoint_port)
		bpf_sk_storage_delete(&km_msg_store, sk);
}

static __always_inline void track(struct bpf_sock_addr *ctx, __u64 netns, const struct km_addr *a,
				  __u32 resource, __u32 flags)
{
	struct kw_track *t;
	__u64 now, cookie;

	if (!reader(&now))
		return;
	cookie = bpf_get_socket_cookie(ctx);
	t = track_way(cookie);
	if (!t)
		return;
	t->cookie = cookie;
	t->since = now;
	t->netns = netns;
	ip_copy(t->orig.w, a->ip);
	t->orig_port = a->port;
	t->flags = flags;
	t->resource = resource;
}

/* Endpoints are of the family that was asked for; an IPv4 socket can go to no other. */
static __always_inline bool redirect(struct bpf_sock_addr *ctx, const struct kw_endpoint *e)
{
	if (V6) {
		ctx->user_ip6[0] = e->ip.w[0];
		ctx->user_ip6[1] = e->ip.w[1];
		ctx->user_ip6[2] = e->ip.w[2];
		ctx->user_ip6[3] = e->ip.w[3];
	} else {
		if (!is_ipv4(e->ip.w))
			return false;
		ctx->user_ip4 = e->ip.w[3];
	}
	ctx->user_port = e->port;
	return true;
}

/* A waypoint takes what is for it, and for whom it stands, without a detour to itself. */
static __always_inline bool by_frontend(struct bpf_sock_addr *ctx, const struct kw_frontend *f,
					const struct km_addr *a, __u32 pod)
{
	bool via = f->flags & KW_F_WAYPOINT && !(pod & KM_NETNS_WAYPOINT);
	const struct kw_endpoint *e = choose(via ? &f->via : &f->direct);
	struct kw_stats *st;

	if (!e) {
		/* A workload's own address needs none. */
		if (f->flags & KW_F_SERVICE)
			log_pass(ctx, KM_LOG_ERROR, KM_LOG_NO_ENDPOINT, a, f->resource);
		return false;
	}
	if (via && !remember(ctx, a, e->port)) {
		st = wstats();
		if (st)
			st->no_waypoint++;
		log_pass(ctx, KM_LOG_ERROR, KM_LOG_NO_WAYPOINT, a, f->resource);
		return false;
	}
	if (!via)
		forget(ctx, e->port);
	if (!redirect(ctx, e))
		return false;
	log_connect(ctx, KM_LOG_INFO, via ? KM_LOG_SENT_WAYPOINT : KM_LOG_SENT, a, e->ip.w, e->port,
		    f->resource);
	return true;
}

static __always_inline bool find(struct bpf_sock_addr *ctx, const struct km_addr *a,
				 struct kw_frontend *f)
{
	bool torn = false;

	if (frontend_find(a, f, &torn))
		return true;
	if (torn)
		log_pass(ctx, KM_LOG_ERROR, KM_LOG_UNSEALED, a, 0);
	else
		log_pass(ctx, KM_LOG_DEBUG, KM_LOG_NO_LISTENER, a, 0);
	return false;
}

static __always_inline int sockconn(struct bpf_sock_addr *ctx)
{
	__u32 pod, resource = 0, flags = 0;
	struct kw_frontend f;
	struct km_addr a;
	__u64 netns;

	if (ctx->protocol != IPPROTO_TCP) {
		log_protocol(ctx, &a);
		return PASS;
	}
	netns = bpf_get_netns_cookie(ctx);
	destination(ctx, &a);
	if (is_control(&a) && control(ctx, netns))
		return DENY;
	if (!managed_with(ctx, netns, &pod)) {
		log_pass(ctx, KM_LOG_DEBUG, KM_LOG_UNMANAGED, &a, 0);
		return PASS;
	}
	if (find(ctx, &a, &f) && by_frontend(ctx, &f, &a, pod)) {
		resource = f.resource;
		flags = f.flags;
		if (flags & KW_F_SERVICE && counting())
			opening_put(bpf_get_socket_cookie(ctx), resource);
	} else {
		forget(ctx, a.port);
	}
	track(ctx, netns, &a, resource, flags);
	return PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#endif
