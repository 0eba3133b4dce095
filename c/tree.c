// SPDX-License-Identifier: Apache-2.0
#include "tree.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "error.h"

/* A listener's chains, then a route's virtual hosts, are the deepest. */
#define MAX_NESTING 3

struct walk {
	const struct slabs *slabs;
	struct parts *parts;
};

static int corrupt(const char *what, uint32_t handle)
{
	return error_set(-EUCLEAN, "%s at %u.%u is not one", what, handle >> KM_SLAB_SHIFT,
			 handle & (KM_SLAB_SLOTS - 1));
}

/* Adds a run. What is walked can be no more than there is: so it ends. */
static int add_run(struct walk *w, uint32_t handle, uint32_t slots)
{
	w->parts->slots += slots;
	if (w->parts->slots > slabs_total(w->slabs))
		return error_set(-EUCLEAN, "more nodes than there are slots");
	return vec_push(&w->parts->runs, run_word(handle, slots));
}

static int walk_wire(struct walk *w, const struct km_head *head)
{
	uint32_t handle = head->wire;
	uint32_t left = head->wire_len;

	while (handle) {
		const struct km_chunk *chunk = slab_at(w->slabs, handle, 1);
		uint32_t len = chunk ? chunk->len : 0;
		int err;

		if (!len || len > left || len > SLAB_BYTES ||
		    !slab_at(w->slabs, handle, chunk_slots(len)))
			return corrupt("message", handle);
		err = add_run(w, handle, chunk_slots(len));
		if (err)
			return err;
		left -= len;
		handle = chunk->next;
	}
	return left ? error_set(-EUCLEAN, "message ends early") : 0;
}

static int walk_pick(struct walk *w, uint32_t handle, bool endpoints)
{
	const struct km_pick *pick = slab_at(w->slabs, handle, 1);
	const struct km_entry *entries;
	uint32_t n = pick ? pick->n : 0;
	uint32_t cum = 0;
	int err;

	if (!n || n > KM_MAX_PICK || !slab_at(w->slabs, handle, pick_slots(n)))
		return corrupt("choice", handle);
	err = add_run(w, handle, pick_slots(n));
	if (!err && pick->counter)
		err = vec_push(&w->parts->counters, pick->counter);
	if (err)
		return err;

	entries = pick_entries(pick);
	for (uint32_t i = 0; i < n; i++) {
		if (entries[i].cum <= cum)
			return corrupt("choice", handle);
		cum = entries[i].cum;
		if (endpoints)
			err = vec_push(&w->parts->endpoints, entries[i].arg);
		else
			err = vec_push(&w->parts->refs, ref_word(KM_CLUSTER, entries[i].arg));
		if (err)
			return err;
	}
	if (cum != pick->total || pick->counter >= KM_MAX_COUNTERS)
		return corrupt("choice", handle);
	return 0;
}

static int walk_cluster(struct walk *w, const struct km_cluster *cluster, uint32_t handle)
{
	uint32_t n = (uint32_t)cluster->n4 + cluster->n6;
	int err;

	if (n > KM_MAX_GROUPS || !slab_at(w->slabs, handle, cluster_slots(n)))
		return corrupt("cluster", handle);
	w->parts->groups += n;
	err = add_run(w, handle, cluster_slots(n));
	for (uint32_t i = 0; i < n && !err; i++)
		err = walk_pick(w, cluster_groups(cluster)[i], true);
	return err;
}

static int walk_target(struct walk *w, struct km_target target, int nesting);

/* Walks each of the nodes that intervals share once. */
static int walk_shared(struct walk *w, struct vec *nodes, int nesting)
{
	int err = 0;

	words_unique(nodes);
	for (size_t i = 0; i < nodes->n && !err; i++) {
		struct km_target target = {
			.kind = (__u32)(nodes->v[i] >> 32),
			.arg = (__u32)nodes->v[i],
		};

		err = walk_target(w, target, nesting);
	}
	return err;
}

static int walk_ranges(struct walk *w, uint32_t handle, int nesting)
{
	const struct km_ranges *ranges = slab_at(w->slabs, handle, 1);
	uint32_t n = ranges ? ranges->n : 0;
	struct vec nodes = { 0 };
	int err;

	if (!n || n > KM_MAX_RANGES || nesting >= MAX_NESTING ||
	    !slab_at(w->slabs, handle, ranges_slots(n)))
		return corrupt("ranges", handle);
	err = add_run(w, handle, ranges_slots(n));
	for (uint32_t i = 0; i < n && !err; i++) {
		struct km_target target = ranges_entries(ranges)[i].target;

		if (target.kind == KM_T_WEIGHTED || target.kind == KM_T_RANGES)
			err = vec_push(&nodes, (uint64_t)target.kind << 32 | target.arg);
		else
			err = walk_target(w, target, nesting);
	}
	if (!err)
		err = walk_shared(w, &nodes, nesting + 1);
	vec_free(&nodes);
	return err;
}

static int walk_target(struct walk *w, struct km_target target, int nesting)
{
	switch (target.kind) {
	case KM_T_PASS:
		return 0;
	case KM_T_CLUSTER:
		return vec_push(&w->parts->refs, ref_word(KM_CLUSTER, target.arg));
	case KM_T_WEIGHTED:
		return walk_pick(w, target.arg, false);
	case KM_T_ROUTE:
		return vec_push(&w->parts->refs, ref_word(KM_ROUTE, target.arg));
	case KM_T_RANGES:
		return walk_ranges(w, target.arg, nesting);
	default:
		return error_set(-EUCLEAN, "unknown target kind %u", target.kind);
	}
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

void words_unique(struct vec *words)
{
	bool sorted = true;
	size_t n = 0;

	for (size_t i = 1; i < words->n; i++)
		sorted &= words->v[i - 1] < words->v[i];
	if (sorted)
		return;
	qsort(words->v, words->n, sizeof(*words->v), by_value);
	for (size_t i = 0; i < words->n; i++) {
		if (!n || words->v[n - 1] != words->v[i])
			words->v[n++] = words->v[i];
	}
	words->n = n;
}

void parts_clear(struct parts *parts)
{
	parts->runs.n = 0;
	parts->refs.n = 0;
	parts->counters.n = 0;
	parts->endpoints.n = 0;
	parts->slots = 0;
	parts->groups = 0;
}

void parts_free(struct parts *parts)
{
	vec_free(&parts->runs);
	vec_free(&parts->refs);
	vec_free(&parts->counters);
	vec_free(&parts->endpoints);
}

int tree_walk(const struct slabs *slabs, enum km_kind kind, uint32_t root, uint32_t handle,
	      struct parts *parts)
{
	struct walk w = { .slabs = slabs, .parts = parts };
	const struct km_head *head = slab_at(slabs, handle, 1);
	int err;

	if (!head || head->kind != (uint32_t)kind || head->root != root)
		return corrupt("tree", handle);

	if (kind == KM_CLUSTER) {
		err = walk_cluster(&w, (const struct km_cluster *)head, handle);
	} else {
		err = add_run(&w, handle, 1);
		if (!err && kind == KM_LISTENER)
			err = walk_target(&w, ((const struct km_listener *)head)->target, 0);
		else if (!err)
			err = walk_target(&w, ((const struct km_route *)head)->target, 0);
	}
	if (!err)
		err = walk_wire(&w, head);
	return err;
}
