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
#include "bpf/verifier.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, KM_MAX_COUNTERS / KM_COUNTERS_PER_ELEM);
	__type(key, __u32);
	__type(value, struct km_counters);
} km_counter SEC(".maps");

/* A chain is up to five tail calls, of 33. */
#define MAX_RESTARTS 4

static __always_inline const struct km_root *root_at(void *roots, __u32 i, __u64 after)
{
	i += unknown_zero(after);
	return bpf_map_lookup_elem(roots, &i);
}

/* The handle of root i's tree at the generation that this connect goes by; 0: no
 * tree. False when it was overtaken: both words are newer. A writer stores prev
 * before cur and cur before the generation, so a word that is too new always
 * leaves the old one in prev until another publication of the same root. */
static __always_inline bool handle_at(void *roots, __u32 i, const struct state *s, __u32 *handle)
{
	const struct km_root *r = root_at(roots, i, s->generation);
	__u64 cur = r ? *(volatile const __u64 *)&r->cur : 0;
	__u64 word = cur;

	if (word >> KM_HANDLE_BITS > s->generation) {
		r = root_at(roots, i, cur);
		word = r ? *(volatile const __u64 *)&r->prev : 0;
	}
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

static __always_inline bool tree_at(void *roots, __u32 i, const struct state *s, void **tree)
{
	__u32 handle;

	if (!handle_at(roots, i, s, &handle))
		return false;
	*tree = node(handle);
	return true;
}

static __always_inline bool before(const struct km_range *r, __u64 hi, __u64 lo, __u32 port)
{
	__u64 not_after = ~below(port, r->port);

	not_after = below(r->lo, lo) | (~below(lo, r->lo) & not_after);
	not_after = below(r->hi, hi) | (~below(hi, r->hi) & not_after);
	return not_after >> 63;
}

/*
 * Searches by halves, in a form that verifiers can follow: an index is never
 * added to a pointer, only used as a key and compared. Otherwise its value would
 * have to be tracked exactly, and that is 2^13 different searches.
 */

/* The target of the last range that begins at or before the address. */
static __always_inline struct km_target range_find(__u32 handle, const struct km_addr *a)
{
	const struct km_ranges *head = node(handle);
	struct km_target t = { KM_T_PASS, 0 };
	__u32 port, n, from;
	__u64 hi, lo;

	if (!head)
		return t;
	n = head->n;
	from = unknown_zero(n);
	hi = (__u64)bpf_ntohl(a->ip[0]) << 32 | bpf_ntohl(a->ip[1]);
	lo = (__u64)bpf_ntohl(a->ip[2]) << 32 | bpf_ntohl(a->ip[3]);
	port = bpf_ntohs(a->port);
	for (__u32 step = 8192; step; step >>= 1) { /* > KM_MAX_RANGES */
		/* Entry 0 begins at zero; the first round reads its target. */
		__u32 probe = step == 8192 ? from : from + step;
		const struct km_range *r;

		if (probe >= n)
			continue;
		r = node(handle + 1 + probe / 2);
		if (!r)
			break;
		if (probe & 1) {
			r++;
			asm volatile("" : "+r"(r)); /* keep the branch */
		}
		if (before(r, hi, lo, port)) {
			from = probe;
			t = r->target;
		}
	}
	return t;
}

static __always_inline struct km_entry entry_at(__u32 handle, __u32 i)
{
	const struct km_entry *slot = node(handle + (KM_PICK_CELL0 + i) / KM_CELLS8);
	struct km_entry none = {};

	return slot ? slot[(KM_PICK_CELL0 + i) & (KM_CELLS8 - 1)] : none;
}

/* The first entry with cum > pos: first the slot, by its last cell, then the
 * cell. Its arg; its index to *index. */
static __always_inline __u32 entry_of(__u32 handle, __u32 n, __u32 pos, __u32 *index)
{
	__u32 slots = (KM_PICK_CELL0 + n + KM_CELLS8 - 1) / KM_CELLS8;
	__u32 from = unknown_zero(n), i;
	const struct km_entry *e;

	for (__u32 step = KM_MAX_PICK / KM_CELLS8; step; step >>= 1) {
		__u32 probe = from + step;

		if (probe >= slots)
			continue;
		e = node(handle + probe - 1);
		if (!e)
			return 0;
		if (e[KM_CELLS8 - 1].cum <= pos)
			from = probe;
	}
	e = node(handle + from);
	if (!e)
		return 0;
	i = from * KM_CELLS8 - KM_PICK_CELL0;
	for (__u32 k = 0; k < KM_CELLS8; k++, i++) {
		if (i >= n || e[k].cum <= pos) /* i wraps in the header's two cells */
			continue;
		*index = i;
		return e[k].arg;
	}
	return 0;
}

/* Counts are per CPU, so each CPU's own sequence is exact; a task that is
 * preempted between read and write may repeat one number. */
static __always_inline __u64 next_count(__u32 counter)
{
	__u32 elem = counter / KM_COUNTERS_PER_ELEM;
	struct km_counters *c = bpf_map_lookup_elem(&km_counter, &elem);

	return c ? c->count[counter & (KM_COUNTERS_PER_ELEM - 1)]++ : 0;
}

/* The arg of one entry, by weight: in turn, or by the lower half of a random
 * number. 0: none. */
static __always_inline __u32 pick_entry(__u32 handle, const struct km_pick *p, bool in_turn,
					__u64 random, __u32 *index)
{
	__u32 total = p->total, n = p->n, pos = 0;

	*index = 0;
	if (n > 1 && total > 1)
		pos = in_turn ? next_count(p->counter) % total * p->step % total
			      : (__u32)random % total;
	if (total != n)
		return entry_of(handle, n, pos, index);
	*index = pos;
	return entry_at(handle, pos).arg;
}

/* The arg of a second entry, by the upper half, each as likely: never the one
 * that the lower half gave where weights are equal. n > 1. */
static __always_inline __u32 pick_second(__u32 handle, const struct km_pick *p, __u64 random,
					 __u32 *index)
{
	__u32 n = p->n, pos = (random >> 32) % n;

	if (p->total == n) {
		pos = (__u32)random % n + 1 + (random >> 32) % (n - 1);
		if (pos >= n)
			pos -= n;
	}
	*index = pos;
	return entry_at(handle, pos).arg;
}

/* Turns a weighted choice of clusters into one cluster. */
static __always_inline void choose_cluster(struct km_target *t)
{
	const struct km_pick *p;
	__u32 index;

	if (t->kind != KM_T_WEIGHTED)
		return;
	p = node(t->arg);
	t->arg = p ? pick_entry(t->arg, p, true, 0, &index) : 0;
	t->kind = t->arg ? KM_T_CLUSTER : KM_T_PASS;
}

#endif
