/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * connect() of a managed pod, from the address that the application asked for to
 * the endpoint that the configuration names:
 *
 *   sockconn -> filter_chain -> filter -> (route_config) -> cluster (-> search)
 *
 * each a tail call, and each left out where it has nothing to choose: most
 * listeners lead from sockconn straight to cluster. Every way out but the last
 * leaves the connection alone: no configuration, or an error here, lets it go where
 * the application asked. sockconn4.bpf.c and sockconn6.bpf.c make programs of it,
 * each with its own TAILS: kernels from 2025 on refuse an array that two attach types
 * share. V6 says which one this is.
 */
#ifndef KMESH_SOCKCONN_H
#define KMESH_SOCKCONN_H

#include <linux/bpf.h>
#include <linux/in.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "bpf/abi.h"
#include "bpf/balance.h"
#include "bpf/conn.h"
#include "bpf/destination.h"
#include "bpf/enrol.h"
#include "bpf/logconnect.h"
#include "bpf/lookup.h"
#include "bpf/stack.h"
#include "bpf/state.h"

#define PASS 1
#define DENY 0 /* EPERM: the answer of the control address */

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, KM_TAILS);
	__type(key, __u32);
	__type(value, __u32);
} TAILS SEC(".maps");

static __always_inline int next(struct bpf_sock_addr *ctx, struct state *s, const struct km_addr *a,
				enum km_tail to)
{
	/* static: clang would make one call of all those in a program, with a variable
	 * index, and the JIT an indirect jump of it where a direct one will do. */
	if (state_save(s, a))
		bpf_tail_call_static(ctx, &TAILS, to);
	return PASS;
}

/* On to the stage that has something to decide about the target. Ranges are filter
 * chains, or virtual hosts that a filter or a route configuration brought. */
static __always_inline int on(struct bpf_sock_addr *ctx, struct state *s, const struct km_addr *a)
{
	switch (s->target.kind) {
	case KM_T_CLUSTER:
		return next(ctx, s, a, KM_TAIL_CLUSTER);
	case KM_T_WEIGHTED:
		return next(ctx, s, a, KM_TAIL_FILTER);
	case KM_T_ROUTE:
		return next(ctx, s, a, KM_TAIL_ROUTE_CONFIG);
	case KM_T_RANGES:
		return next(ctx, s, a, KM_TAIL_FILTER_CHAIN);
	}
	log_pass(ctx, KM_LOG_DEBUG, KM_LOG_NO_ROUTE, a, 0);
	return PASS;
}

static __always_inline int restart(struct bpf_sock_addr *ctx, struct state *s,
				   const struct km_addr *a)
{
	struct km_stats *st = stats();

	if (st)
		st->restarts++;
	s->restarts++;
	return next(ctx, s, a, KM_TAIL_RESTART);
}

/* A state that does not open was overwritten: begin again, with a new one. */
static __always_inline int reopen(struct bpf_sock_addr *ctx, const struct km_addr *a)
{
	struct state s = {};

	return restart(ctx, &s, a);
}

/* The listener of exactly this address, at this connect's generation. Overtaken
 * is told apart from absent: *tree stays NULL for absent. */
static __always_inline bool listener_at(const struct km_addr *a, const struct state *s,
					struct km_listener **listener)
{
	__u32 *value = bpf_map_lookup_elem(&km_listener, a);
	struct km_listener *l;

	*listener = NULL;
	if (!value)
		return true;
	if (!tree_at(&km_lroot, *(volatile __u32 *)value, s, (void **)&l))
		return false;
	/* The hash element may have been recycled for another listener. */
	if (l && l->head.kind == KM_LISTENER && l->addr.port == a->port &&
	    l->addr.ip[3] == a->ip[3] && l->addr.ip[2] == a->ip[2] && l->addr.ip[1] == a->ip[1] &&
	    l->addr.ip[0] == a->ip[0])
		*listener = l;
	return true;
}

/* Finds the listener and enters the chain, at the generation of this moment. */
static __always_inline int begin(struct bpf_sock_addr *ctx, struct state *s,
				 const struct km_addr *a)
{
	struct km_listener *l = NULL;
	struct km_ports *ports;
	struct km_meta *meta;
	__u32 word, bit, zero = 0;
	bool exact, wildcard;

	/* The generation before all that goes by it. */
	meta = bpf_map_lookup_elem(&km_meta, &zero);
	if (!meta)
		return PASS;
	s->generation = *(volatile __u64 *)&meta->generation;

	/* Most ports of most hosts have no listener: known without hashing. */
	word = bpf_ntohs(a->port) / 64 + unknown_zero(s->generation);
	ports = bpf_map_lookup_elem(&km_ports, &word);
	if (!ports)
		return PASS;
	bit = bpf_ntohs(a->port) & 63;
	exact = *(volatile __u64 *)&ports->exact >> bit & 1;
	wildcard = *(volatile __u64 *)&ports->wildcard >> bit & 1;

	if (exact && !listener_at(a, s, &l))
		return restart(ctx, s, a);
	if (!l && wildcard) {
		struct km_addr any = { .port = a->port };

		any.ip[2] = is_ipv4(a->ip) ? a->ip[2] : 0;
		if (!listener_at(&any, s, &l))
			return restart(ctx, s, a);
	}
	if (!l) {
		log_pass(ctx, KM_LOG_DEBUG, KM_LOG_NO_LISTENER, a, 0);
		return PASS;
	}
	s->target = l->target;
	return on(ctx, s, a);
}

static __always_inline int sockconn(struct bpf_sock_addr *ctx)
{
	struct state s = {};
	struct km_addr a;
	__u64 netns;

	take_whole_stack();
	if (ctx->protocol != IPPROTO_TCP) {
		log_protocol(ctx, &a);
		return PASS;
	}
	netns = bpf_get_netns_cookie(ctx);
	destination(ctx, &a);
	if (is_control(&a) && control(ctx, netns))
		return DENY;
	if (!managed(ctx, netns)) {
		log_pass(ctx, KM_LOG_DEBUG, KM_LOG_UNMANAGED, &a, 0);
		return PASS;
	}
	return begin(ctx, &s, &a);
}

static __always_inline int begin_again(struct bpf_sock_addr *ctx)
{
	struct state s;
	struct km_addr a;
	__u8 restarts;

	destination(ctx, &a);
	/* Of a state that opens, only how often; the rest is of other trees. */
	restarts = state_open(&s, &a) ? s.restarts : 0;
	s = (struct state){ .restarts = restarts };
	return begin(ctx, &s, &a);
}

static __always_inline int filter_chain(struct bpf_sock_addr *ctx)
{
	struct state s;
	struct km_addr a;

	destination(ctx, &a);
	if (!state_open(&s, &a))
		return reopen(ctx, &a);
	if (s.target.kind == KM_T_RANGES)
		s.target = range_find(s.target.arg, &a);
	return on(ctx, &s, &a);
}

static __always_inline int filter(struct bpf_sock_addr *ctx)
{
	struct state s;
	struct km_addr a;

	destination(ctx, &a);
	if (!state_open(&s, &a))
		return reopen(ctx, &a);
	choose_cluster(&s.target);
	return on(ctx, &s, &a);
}

static __always_inline int route_config(struct bpf_sock_addr *ctx)
{
	struct km_route *route;
	struct state s;
	struct km_addr a;

	destination(ctx, &a);
	if (!state_open(&s, &a))
		return reopen(ctx, &a);
	if (s.target.kind == KM_T_ROUTE) {
		if (!tree_at(&km_route, s.target.arg, &s, (void **)&route))
			return restart(ctx, &s, &a);
		if (!route || route->head.kind != KM_ROUTE || route->target.kind == KM_T_ROUTE)
			return PASS;
		s.target = route->target;
	}
	return on(ctx, &s, &a);
}

static __always_inline __u32 group_at(__u32 cluster, __u32 i)
{
	const __u32 *slot = node(cluster + (KM_CLUSTER_CELL0 + i) / KM_CELLS4);

	return slot ? slot[(KM_CLUSTER_CELL0 + i) & (KM_CELLS4 - 1)] : 0;
}

static __always_inline int redirect(struct bpf_sock_addr *ctx, const struct state *s,
				    const struct km_addr *a, struct choice *c, __u32 lb)
{
	struct km_endpoint *e = c->endpoint;
	const struct km_config *cfg = config();
	__u32 flags = lb == KM_LEAST_REQUEST ? KM_CONN_COUNT : 0;

	if (!conn_put(bpf_get_socket_cookie(ctx), c->handle, e, bpf_jiffies64(), flags))
		log_pass(ctx, KM_LOG_ERROR, KM_LOG_UNCOUNTED, a, s->target.arg);
	if (cfg && cfg->per_thread)
		conn_put(bpf_get_current_pid_tgid() | KM_CONN_THREAD, c->handle, e,
			 bpf_ktime_get_ns(), 0);
	if (V6) {
		ctx->user_ip6[0] = e->ip[0];
		ctx->user_ip6[1] = e->ip[1];
		ctx->user_ip6[2] = e->ip[2];
		ctx->user_ip6[3] = e->ip[3];
	} else {
		ctx->user_ip4 = e->ip[3];
	}
	ctx->user_port = e->port;
	log_connect(ctx, KM_LOG_INFO, KM_LOG_SENT, a, e->ip, e->port, s->target.arg);
	return PASS;
}

/* The cluster's tree, and in it the choice of the priority that the state is at, of
 * the destination's own address family. */
struct group {
	const struct km_cluster *cluster;
	const struct km_pick *p;
	__u32 pick;  /* handle of p */
	__u32 count; /* priorities */
};

enum found { FOUND, NONE, OVERTAKEN };

static __always_inline enum found group(const struct state *s, const struct km_addr *a,
					struct group *g)
{
	__u32 tree, first;

	/* Another connect's state, of another stage. */
	if (s->target.kind != KM_T_CLUSTER)
		return OVERTAKEN;
	if (!handle_at(&km_cluster, s->target.arg, s, &tree))
		return OVERTAKEN;
	g->cluster = node(tree);
	if (!g->cluster || g->cluster->head.kind != KM_CLUSTER || g->cluster->passthrough)
		return NONE;
	first = is_ipv4(a->ip) ? 0 : g->cluster->n4;
	g->count = is_ipv4(a->ip) ? g->cluster->n4 : g->cluster->n6;
	if (s->group >= g->count)
		return NONE;
	g->pick = group_at(tree, first + s->group);
	g->p = node(g->pick);
	return g->p && g->p->n ? FOUND : NONE;
}

/* The cluster has nothing for it: as asked. */
static __always_inline int none(struct bpf_sock_addr *ctx, const struct state *s,
				const struct km_addr *a, const struct group *g)
{
	if (g->cluster && g->cluster->passthrough)
		log_pass(ctx, KM_LOG_DEBUG, KM_LOG_PASSTHROUGH, a, s->target.arg);
	else
		log_pass(ctx, KM_LOG_ERROR, KM_LOG_NO_ENDPOINT, a, s->target.arg);
	return PASS;
}

/* One endpoint by policy. One that is ejected is put back, TRIES times; then the
 * search begins. */
static __always_inline int cluster(struct bpf_sock_addr *ctx)
{
	struct choice c = {};
	struct group g = {};
	enum found found;
	struct km_addr a;
	struct state s;

	destination(ctx, &a);
	if (!state_open(&s, &a))
		return reopen(ctx, &a);
	found = group(&s, &a, &g);
	if (found != FOUND)
		return found == NONE ? none(ctx, &s, &a, &g) : restart(ctx, &s, &a);
	if (!choose_by_policy(&c, g.pick, g.p, g.cluster->lb))
		return PASS;
	if (healthy(&c) || s.tries == ANY)
		return redirect(ctx, &s, &a, &c, g.cluster->lb);
	s.slot = (KM_PICK_CELL0 + c.index) / KM_CELLS8;
	s.searched = 0;
	if (g.p->n > 1 && ++s.tries < TRIES)
		return next(ctx, &s, &a, KM_TAIL_CLUSTER);
	return next(ctx, &s, &a, KM_TAIL_SEARCH);
}

/* Where the first choices were ejected: the next endpoint in order that is not,
 * then the next priority; with all of them ejected, one by policy all the same. */
static __always_inline int search(struct bpf_sock_addr *ctx)
{
	__u64 now = detects() ? bpf_ktime_get_ns() : ~1ull;
	struct choice c = {};
	struct group g = {};
	struct km_stats *st;
	enum found found;
	struct km_addr a;
	struct state s;
	__u32 slots, i;

	destination(ctx, &a);
	if (!state_open(&s, &a))
		return reopen(ctx, &a);
	found = group(&s, &a, &g);
	if (found != FOUND)
		return found == NONE ? none(ctx, &s, &a, &g) : restart(ctx, &s, &a);
	slots = (KM_PICK_CELL0 + g.p->n + KM_CELLS8 - 1) / KM_CELLS8;
	_Pragma("clang loop unroll(full)") for (__u32 k = 0; k < SEARCH; k++) if (
		choose_in_slot(&c, g.pick, s.slot + k, g.p->n,
			       now)) return redirect(ctx, &s, &a, &c, g.cluster->lb);
	s.slot += SEARCH;
	s.searched += SEARCH;
	if (s.slot >= slots) { /* once more from the start, to where it began */
		s.searched -= s.slot - slots;
		s.slot = 0;
	}
	if (s.searched < slots) {
		next(ctx, &s, &a, KM_TAIL_SEARCH);
	} else {
		s.tries = 0;
		if (++s.group == g.count) {
			st = stats();
			if (st)
				st->all_ejected++;
			log_pass(ctx, KM_LOG_ERROR, KM_LOG_ALL_EJECTED, &a, s.target.arg);
			s.group = 0;
			s.tries = ANY;
		}
		next(ctx, &s, &a, KM_TAIL_CLUSTER);
	}
	/* Still here: no more tail calls. Better an endpoint that was ejected than
	 * none of the cluster's. */
	i = bpf_get_prandom_u32() % g.p->n;
	return choose(&c, entry_at(g.pick, i).arg, i) ? redirect(ctx, &s, &a, &c, g.cluster->lb)
						      : PASS;
}

#define STAGE(name, stage)                                                                         \
	SEC(SECTION) int name(struct bpf_sock_addr *ctx)                                           \
	{                                                                                          \
		return stage(ctx);                                                                 \
	}

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#endif
