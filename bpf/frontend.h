/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The frontend of a destination, and one endpoint of its set. */
#ifndef KMESH_FRONTEND_H
#define KMESH_FRONTEND_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include "bpf/seal.h"
#include "bpf/wmaps_connect.h"
#include "bpf/wmaps_node.h"
#include "bpf/wmaps_store.h"

/* A writer would have to change the same frontend within each of them. */
#define READS 4

/* The frontend of exactly this address and port, whole. False, and *torn, where it changed
 * all the while. */
static __always_inline bool frontend_at(const struct km_addr *a, struct kw_frontend *f, bool *torn)
{
	const struct kw_frontend *value;
	struct kw_stats *st;

	for (int i = 0; i < READS; i++) {
		value = bpf_map_lookup_elem(&km_frontend, a);
		if (!value)
			return false;
		copy_words(f, value, sizeof(*f));
		if (frontend_seal(a, f) == f->seal)
			return true;
		st = wstats();
		if (st)
			st->reread++;
	}
	st = wstats();
	if (st)
		st->unsealed++;
	*torn = true;
	return false;
}

/* Is there any frontend that holds for every port? */
static __always_inline bool any_port(void)
{
	__u32 zero = 0;
	const struct kw_meta *meta = bpf_map_lookup_elem(&km_wmeta, &zero);

	return meta && *(const volatile __u64 *)&meta->any_port;
}

static __always_inline bool frontend_find(const struct km_addr *a, struct kw_frontend *f,
					  bool *torn)
{
	struct km_addr all = *a;

	if (frontend_at(a, f, torn))
		return true;
	if (!any_port())
		return false;
	all.port = 0;
	return frontend_at(&all, f, torn);
}

static __always_inline const struct kw_endpoint *endpoint_at(__u32 set, __u32 position)
{
	struct kw_block_key k = { .set = set, .block = position / KW_BLOCK };
	const struct kw_block *b = bpf_map_lookup_elem(&km_block, &k);

	if (!b)
		return NULL;
	/* Else clang adds to the pointer before it is known not to be NULL. */
	barrier_var(position);
	return &b->at[position % KW_BLOCK];
}

/* Where in its order a set is; counts are per CPU, so no other CPU waits. */
static __always_inline __u64 turn(const struct kw_set *set)
{
	__u32 i = set->counter / KM_COUNTERS_PER_ELEM;
	struct km_counters *c;

	c = set->counter ? bpf_map_lookup_elem(&km_counter, &i) : NULL;
	if (!c)
		return (__u64)bpf_get_prandom_u32() << 32 | bpf_get_prandom_u32();
	return c->count[set->counter % KM_COUNTERS_PER_ELEM]++ * set->step;
}

/* One endpoint of a set; its blocks stay as they are for as long as this connect
 * may look at them. */
static __always_inline const struct kw_endpoint *choose(const struct kw_set *set)
{
	__u64 positions = (__u64)set->n * set->total;
	const struct kw_endpoint *e;
	__u64 p = 0, position;

	if (!positions)
		return NULL;
	if (positions > 1)
		p = turn(set) % positions;
	if (set->total == 1)
		return endpoint_at(set->id, p);
	position = p / set->total;
	e = endpoint_at(set->id, position);
	if (!e || p - position * set->total < e->cut)
		return e;
	return endpoint_at(set->id, e->alias);
}

#endif
