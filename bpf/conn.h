/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Which endpoint a connection was sent to, from connect until its result. */
#ifndef KMESH_CONN_H
#define KMESH_CONN_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include "bpf/abi.h"
#include "bpf/maps_node.h"
#include "bpf/slab.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, KM_CONN_BUCKETS);
	__type(key, __u32);
	__type(value, struct km_conns);
} km_conn SEC(".maps");

/* A record made for a thread instead of a socket: no cookie reaches bit 63. */
#define KM_CONN_THREAD (1ull << 63)

static __always_inline struct km_conns *conn_bucket(__u64 tag)
{
	__u32 i = tag & (KM_CONN_BUCKETS - 1);

	return bpf_map_lookup_elem(&km_conn, &i);
}

static __always_inline struct km_conn *conn_find(__u64 tag)
{
	struct km_conns *b = conn_bucket(tag);

	if (!b)
		return NULL;
	for (int i = 0; i < KM_CONN_WAYS; i++)
		if (b->way[i].cookie == tag)
			return &b->way[i];
	return NULL;
}

/* Takes this tag's own way, else a free one, else one whose connection is not
 * counted (only its result is lost). A counted one is never overwritten, or
 * its close would not be counted down: false then, where all are. */
static __always_inline bool conn_put(__u64 tag, __u32 handle, const struct km_endpoint *e,
				     __u64 now, __u32 flags)
{
	struct km_conns *b = conn_bucket(tag);
	__u32 own = KM_CONN_WAYS, free = KM_CONN_WAYS, idle = KM_CONN_WAYS, way;
	struct km_stats *st;
	struct km_conn *c;

	if (!b)
		return true;
	for (__u32 i = 0; i < KM_CONN_WAYS; i++) {
		own = b->way[i].cookie == tag ? i : own;
		free = b->way[i].cookie == 0 ? i : free;
		idle = b->way[i].flags & KM_CONN_COUNTED ? idle : i;
	}
	way = own < KM_CONN_WAYS ? own : free < KM_CONN_WAYS ? free : idle;
	if (way >= KM_CONN_WAYS) {
		st = stats();
		if (st)
			st->uncounted++;
		return false;
	}
	c = &b->way[way & (KM_CONN_WAYS - 1)];
	c->cookie = tag;
	c->since = now;
	c->endpoint = handle;
	c->id = e->id;
	c->flags = flags;
	c->ejections = e->ejections;
	return true;
}

/* The endpoint that a record is about, while it is there: its node may be of
 * another kind by now, of another endpoint, or of none. */
static __always_inline struct km_endpoint *conn_endpoint(const struct km_conn *c)
{
	struct km_endpoint *e = node(c->endpoint);

	return e && e->id == c->id && (e->family == 4 || e->family == 6) ? e : NULL;
}

#endif
