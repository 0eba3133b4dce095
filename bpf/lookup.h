/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Reading the store: roots, ranges, weighted choices. */
#ifndef KMESH_LOOKUP_H
#define KMESH_LOOKUP_H

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "bpf/abi.h"
#include "bpf/maps_node.h"
#include "bpf/maps_store.h"
#include "bpf/slab.h"
#include "bpf/state.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, KM_MAX_COUNTERS / KM_COUNTERS_PER_ELEM);
	__type(key, __u32);
	__type(value, struct km_counters);
} km_counter SEC(".maps");

#define MAX_RESTARTS 8

/* A connect's destination: IPv4 as ::ffff:a.b.c.d, so that an IPv4-mapped
 * address that came through connect6 is the IPv4 connection that it is. */
static __always_inline bool is_ipv4(const struct km_addr *a)
{
	return a->ip[0] == 0 && a->ip[1] == 0 && a->ip[2] == bpf_htonl(0xffff);
}

/* The tree's handle at the generation this connect goes by. False when
 * it was overtaken: both words are newer. A writer stores prev before cur and
 * cur before the generation, so a word that is too new always leaves the old
 * one in prev until another publication of the same root. */
static __always_inline bool handle_at(const struct km_root *r, const struct state *s, __u32 *handle)
{
	__u64 cur = *(volatile const __u64 *)&r->cur;
	__u64 word = cur;

	if (word >> KM_HANDLE_BITS > s->generation)
		word = *(volatile const __u64 *)&r->prev;
	if (word >> KM_HANDLE_BITS > s->generation) {
		struct km_stats *st = stats();

		if (s->restarts < MAX_RESTARTS)
			return false;
		/* Better a destination of two generations than none. */
		if (st)
			st->overtaken++;
		word = cur;
	}
	*handle = word & KM_HANDLE_MASK;
	return true;
}

static __always_inline bool tree_at(const struct km_root *r, const struct state *s, void **tree)
{
	__u32 handle;

	if (!handle_at(r, s, &handle))
		return false;
	*tree = node(handle);
	return true;
}

/* The same value, of which the verifier no longer knows the bounds. A search by
 * halves narrows them differently on every path, 2^13 of them; unknown, they
 * are one state a round and the rest is pruned. x: any value from a map. */
static __always_inline __u32 forget(__u64 v, __u64 x)
{
	asm volatile("%0 ^= %1\n\t%0 ^= %1" : "+r"(v) : "r"(x));
	return v;
}

static __always_inline bool before(const struct km_range *r, __u64 hi, __u64 lo, __u32 port)
{
	if (r->hi != hi)
		return r->hi < hi;
	if (r->lo != lo)
		return r->lo < lo;
	return r->port <= port;
}

static __always_inline const struct km_range *range_at(__u32 handle, __u32 i)
{
	const struct km_range *slot = node(handle + 1 + i / 2);

	return slot ? slot + (i & 1) : NULL;
}

/* The target of the last range that begins at or before the address. */
static __always_inline struct km_target range_find(__u32 handle, const struct km_addr *a)
{
	const struct km_ranges *head = node(handle);
	struct km_target pass = { KM_T_PASS, 0 };
	const struct km_range *r;
	__u64 hi, lo;
	__u32 port, from = 0, to;

	if (!head)
		return pass;
	to = head->n;
	hi = (__u64)bpf_ntohl(a->ip[0]) << 32 | bpf_ntohl(a->ip[1]);
	lo = (__u64)bpf_ntohl(a->ip[2]) << 32 | bpf_ntohl(a->ip[3]);
	port = bpf_ntohs(a->port);
	for (int i = 0; i < 13; i++) { /* 2^13 > KM_MAX_RANGES */
		__u32 mid;

		from = forget(from, head->n);
		to = forget(to, head->n);
		if (to - from <= 1 || to > KM_MAX_RANGES)
			break;
		mid = (from + to) / 2;
		r = range_at(handle, mid);
		if (!r)
			return pass;
		if (before(r, hi, lo, port))
			from = mid;
		else
			to = mid;
	}
	r = range_at(handle, from);
	return r && from < head->n ? r->target : pass;
}

static __always_inline const struct km_entry *entry_at(__u32 handle, __u32 i)
{
	const struct km_entry *slot = node(handle + (KM_PICK_CELL0 + i) / KM_CELLS8);

	return slot ? slot + ((KM_PICK_CELL0 + i) & (KM_CELLS8 - 1)) : NULL;
}

/* Counts are per CPU, so each CPU's own sequence is exact; a task that is
 * preempted between read and write may repeat one number. */
static __always_inline __u64 next_count(__u32 counter)
{
	__u32 elem = counter / KM_COUNTERS_PER_ELEM;
	struct km_counters *c = bpf_map_lookup_elem(&km_counter, &elem);

	return c ? c->count[counter & (KM_COUNTERS_PER_ELEM - 1)]++ : 0;
}

/* The index of one entry, by weight: in turn, or at random. */
static __always_inline __u32 pick_index(__u32 handle, const struct km_pick *p, bool random)
{
	__u32 total = p->total, from = 0, to = p->n, pos;

	if (to <= 1 || total == 0)
		return 0;
	if (random)
		pos = bpf_get_prandom_u32() % total;
	else
		pos = next_count(p->counter) % total * p->step % total;
	if (total == to)
		return pos;
	for (int i = 0; i < 14; i++) { /* 2^14 == KM_MAX_PICK */
		const struct km_entry *e;
		__u32 mid;

		from = forget(from, total);
		to = forget(to, total);
		if (from + 1 >= to)
			break;
		mid = (from + to - 1) / 2;
		e = entry_at(handle, mid);
		if (!e)
			return 0;
		if (e->cum > pos)
			to = mid + 1;
		else
			from = mid + 1;
	}
	return from;
}

/* Turns a weighted choice of clusters into one cluster. */
static __always_inline void choose_cluster(struct km_target *t)
{
	const struct km_pick *p;
	const struct km_entry *e;

	if (t->kind != KM_T_WEIGHTED)
		return;
	p = node(t->arg);
	e = p ? entry_at(t->arg, pick_index(t->arg, p, false)) : NULL;
	t->kind = e ? KM_T_CLUSTER : KM_T_PASS;
	t->arg = e ? e->arg : 0;
}

#endif
