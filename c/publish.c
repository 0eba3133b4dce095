// SPDX-License-Identifier: Apache-2.0
/*
 * A publication. Until the first root is stored, a batch can fail and leaves
 * nothing; from then on nothing in it can fail. A crash in between is taken back
 * by the next writer, who finds km_meta.writing set.
 */
#include <errno.h>
#include <string.h>

#include "batch.h"
#include "cluster/cluster.pb-c.h"
#include "error.h"
#include "kernel.h"
#include "wire.h"

int batch_run(struct batch *b, uint32_t slots, uint32_t *handle, void **node)
{
	int err = run_take(b->s, slots, handle);

	if (err)
		return err;
	if (vec_push(&b->runs, run_word(*handle, slots))) {
		slab_give(&b->s->slabs, *handle, slots);
		*handle = 0;
		return error_sys(-ENOMEM, "take a node");
	}
	*node = slab_run(&b->s->slabs, *handle);
	memset(*node, 0, (size_t)slots * KM_SLOT_SIZE);
	return 0;
}

/* A root that nobody knows yet. */
static int take_root(struct batch *b, struct table *t, uint32_t *root)
{
	static const char *const what[] = {
		[KM_LISTENER] = "listeners",
		[KM_CLUSTER] = "clusters, existing or referred to",
		[KM_ROUTE] = "route configurations, existing or referred to",
	};
	uint32_t i = index_take(b->s, &t->used);

	if (!i)
		return error_set(-ENOSPC, "%s: all %u in use", what[t->kind], t->used.max - 1);
	if (vec_push(&b->roots, ref_word(t->kind, i))) {
		idset_give(&t->used, i);
		return error_sys(-ENOMEM, "take a root");
	}
	t->refs[i] = 0;
	/* So that undoing may unlink it, linked or not. */
	t->hash[i] = 0;
	*root = i;
	return 0;
}

int batch_root(struct batch *b, enum km_kind kind, const char *name, uint32_t len, uint32_t *root)
{
	struct table *t = store_table(b->s, kind);
	uint32_t hash = hash_bytes(name, len);
	struct km_name *node;
	uint32_t handle;
	void *run;
	int err;

	*root = table_find_name(t, &b->s->slabs, name, len, hash);
	if (*root)
		return 0;
	if (len > KM_MAX_NAME)
		return error_set(-ENOSPC, "names longer than %u bytes: %s", KM_MAX_NAME, name);
	err = take_root(b, t, root);
	if (!err)
		err = batch_run(b, name_slots(len), &handle, &run);
	if (err)
		return err;
	node = run;
	node->len = len;
	memcpy(node->data, name, len);
	__atomic_store_n(&t->root[*root].name, handle, __ATOMIC_RELEASE);
	table_link(t, *root, hash);
	return 0;
}

int batch_listener(struct batch *b, struct change *c)
{
	struct table *t = &b->s->listeners;
	int err;

	c->root = table_find_addr(t, &c->addr, c->hash);
	if (c->root)
		return 0;
	err = take_root(b, t, &c->root);
	if (err)
		return err;
	t->addr[c->root] = c->addr;
	table_link(t, c->root, c->hash);
	return 0;
}

/* Runs of a moderate length are found in a scattered store too. */
#define CHUNK_SLOTS 64u

int batch_head(struct batch *b, const struct change *c, struct km_head *head)
{
	const uint32_t most = CHUNK_SLOTS * KM_SLOT_SIZE - offsetof(struct km_chunk, data);
	__u32 *link = &head->wire;
	uint32_t done = 0;

	head->kind = c->kind;
	head->root = c->root;
	head->wire_len = c->wire_len;
	while (done < c->wire_len) {
		uint32_t n = c->wire_len - done;
		struct km_chunk *chunk;
		uint32_t handle;
		void *node;
		int err;

		if (n > most)
			n = most;
		err = batch_run(b, chunk_slots(n), &handle, &node);
		if (err)
			return err;
		chunk = node;
		chunk->len = n;
		memcpy(chunk->data, c->wire + done, n);
		*link = handle;
		link = &chunk->next;
		done += n;
	}
	return 0;
}

static uint32_t find(struct batch *b, const struct change *c)
{
	struct table *t = store_table(b->s, c->kind);

	if (c->kind == KM_LISTENER)
		return table_find_addr(t, &c->addr, c->hash);
	return table_find_name(t, &b->s->slabs, c->name, c->name_len, c->hash);
}

/* The last change of several for one root counts. */
static void claim(struct batch *b, struct change *c)
{
	struct table *t = store_table(b->s, c->kind);
	uint32_t *claimed = &t->change[c->root];

	if (*claimed)
		b->changes[*claimed - 1].idle = true;
	*claimed = (uint32_t)(c - b->changes) + 1;
}

static bool is_idle(struct batch *b, const struct change *c)
{
	uint32_t tree = table_tree(store_table(b->s, c->kind), c->root);

	if (c->remove || !tree)
		return c->remove && !tree;
	return wire_same(&b->s->slabs, slab_at(&b->s->slabs, tree, 1), c->wire, c->wire_len);
}

/* Sorts out what changes nothing. False when that is all of it. */
static bool compare(struct batch *b)
{
	bool busy = false;

	for (size_t i = 0; i < b->n; i++) {
		struct change *c = &b->changes[i];

		c->root = find(b, c);
		if (c->root)
			claim(b, c);
	}
	for (size_t i = 0; i < b->n; i++) {
		struct change *c = &b->changes[i];

		if (c->root && !c->idle)
			c->idle = is_idle(b, c);
		busy |= !c->idle && (c->root || !c->remove);
	}
	return busy;
}

/* Says whose fault it was. */
static int blame(const struct batch *b, const struct change *c, int err)
{
	change_note(c);
	error_note_op((size_t)(c - b->changes));
	return err;
}

/* Makes the roots that are not there: references within the batch find them. */
static int make_roots(struct batch *b)
{
	for (size_t i = 0; i < b->n; i++) {
		struct change *c = &b->changes[i];
		int err = 0;

		if (c->root)
			continue;
		if (c->remove) {
			/* Made and deleted within the batch. */
			c->root = find(b, c);
			c->idle = true;
		} else if (c->kind == KM_LISTENER) {
			err = batch_listener(b, c);
		} else {
			err = batch_root(b, c->kind, c->name, c->name_len, &c->root);
		}
		if (err)
			return blame(b, c, err);
		if (c->root)
			claim(b, c);
	}
	return 0;
}

static void reverse(struct vec *v)
{
	for (size_t i = 0; i < v->n / 2; i++) {
		uint64_t word = v->v[i];

		v->v[i] = v->v[v->n - 1 - i];
		v->v[v->n - 1 - i] = word;
	}
}

static int append(struct vec *to, const struct vec *from)
{
	if (!from->n)
		return 0;
	if (vec_reserve(to, from->n))
		return error_sys(-ENOMEM, "retire a tree");
	memcpy(to->v + to->n, from->v, from->n * sizeof(*to->v));
	to->n += from->n;
	return 0;
}

static int build_tree(struct batch *b, struct change *c, struct parts *old)
{
	switch (c->kind) {
	case KM_CLUSTER:
		return build_cluster(b, c, old);
	case KM_LISTENER:
		return build_listener(b, c, old);
	default:
		return build_route(b, c, old);
	}
}

static int retire_endpoints(struct batch *b, struct vec *handles)
{
	words_unique(handles);
	for (size_t i = 0; i < handles->n; i++) {
		if (vec_push(&b->old_runs, run_word((uint32_t)handles->v[i], KM_ENDPOINT_SLOTS)))
			return error_sys(-ENOMEM, "retire an endpoint");
	}
	return 0;
}

/* The new tree, and what of the old one is to go. */
static int build(struct batch *b, struct change *c)
{
	struct store *s = b->s;
	struct parts *parts = &s->parts;
	uint32_t tree = table_tree(store_table(s, c->kind), c->root);
	int err = 0;

	parts_clear(parts);
	if (tree)
		err = tree_walk(&s->slabs, c->kind, c->root, tree, parts);
	if (!err && c->remove) {
		err = retire_endpoints(b, &parts->endpoints);
	} else if (!err) {
		reverse(&parts->counters);
		err = build_tree(b, c, parts);
	}
	if (!err)
		err = append(&b->old_runs, &parts->runs);
	if (!err)
		err = append(&b->old_counters, &parts->counters);
	if (!err)
		err = append(&b->old_refs, &parts->refs);
	if (err || c->remove || c->kind == KM_CLUSTER)
		return err;

	/* What it refers to is found as it will be found when it goes. */
	parts_clear(parts);
	err = tree_walk(&s->slabs, c->kind, c->root, c->tree, parts);
	return err ? err : append(&b->new_refs, &parts->refs);
}

void batch_undo(struct batch *b)
{
	struct store *s = b->s;

	for (size_t i = 0; i < b->roots.n; i++) {
		struct table *t = store_table(s, ref_kind(b->roots.v[i]));
		uint32_t root = ref_root(b->roots.v[i]);

		table_unlink(t, root);
		__atomic_store_n(&t->root[root].name, 0, __ATOMIC_RELEASE);
		idset_give(&t->used, root);
	}
	for (size_t i = 0; i < b->runs.n; i++)
		slab_give(&s->slabs, run_handle(b->runs.v[i]), run_slots(b->runs.v[i]));
	for (size_t i = 0; i < b->counters.n; i++)
		idset_give(&s->counters, (uint32_t)b->counters.v[i]);
}

static struct vec *vecs(struct batch *b, size_t i)
{
	struct vec *all[] = { &b->runs,		&b->roots,    &b->counters, &b->old_runs,
			      &b->old_counters, &b->old_refs, &b->new_refs, &b->weights };

	return i < sizeof(all) / sizeof(all[0]) ? all[i] : NULL;
}

void batch_free(struct batch *b)
{
	for (size_t i = 0; vecs(b, i); i++)
		vec_free(vecs(b, i));
}

static int begin(struct batch *b, const struct deserial_op *ops, size_t n)
{
	for (size_t i = 0; vecs(b, i); i++)
		vecs(b, i)->n = 0;
	b->entries = 0;
	b->n = n;
	if (n >= UINT32_MAX)
		return error_set(-E2BIG, "a batch of %zu", n);
	b->changes = arena_zalloc(&b->s->arena, n, sizeof(*b->changes));
	if (!b->changes)
		return error_sys(-ENOMEM, "a batch of %zu", n);
	for (size_t i = 0; i < n; i++) {
		int err = change_read(b, &ops[i], &b->changes[i]);

		if (err)
			return blame(b, &b->changes[i], err);
	}
	return 0;
}

static void end(struct batch *b)
{
	for (size_t i = 0; i < b->n; i++) {
		struct change *c = &b->changes[i];

		if (c->root)
			store_table(b->s, c->kind)->change[c->root] = 0;
	}
}

static uint64_t endpoints_of(const struct change *c)
{
	const Cluster__Cluster *m = (const Cluster__Cluster *)c->message;
	uint64_t n = 0;

	if (c->kind != KM_CLUSTER || !m->load_assignment)
		return 0;
	for (size_t i = 0; i < m->load_assignment->n_endpoints; i++)
		n += m->load_assignment->endpoints[i]->n_lb_endpoints;
	return n;
}

/* About how many slots the batch takes, for growing once. */
static uint64_t estimate(const struct batch *b)
{
	uint64_t slots = 0;

	for (size_t i = 0; i < b->n; i++) {
		const struct change *c = &b->changes[i];
		uint64_t n;

		if (c->idle || c->remove)
			continue;
		/* Head, name, choice, message, endpoints. */
		n = endpoints_of(c);
		slots += 4 + n / KM_CELLS8 + c->wire_len / (KM_SLOT_SIZE - 8) +
			 KM_ENDPOINT_SLOTS * n;
	}
	return slots;
}

static int publish_locked(struct batch *b, size_t *changed)
{
	struct store *s = b->s;
	int err;

	if (!compare(b))
		return 0;
	err = reclaim_quarantine(s);
	if (err)
		return err;
	reap_listeners(s);
	room_for(s, estimate(b));

	err = make_roots(b);
	for (size_t i = 0; i < b->n && !err; i++) {
		struct change *c = &b->changes[i];

		if (c->idle)
			continue;
		(*changed)++;
		err = build(b, c);
		if (err)
			blame(b, c, err);
	}
	if (!err && *changed)
		err = commit(b);
	if (err || !*changed)
		batch_undo(b);
	return err;
}

/* Under the lock, so that no other writer comes in between. */
static int check_version(const struct store *s, const struct deserial_version *at)
{
	const struct deserial_version now = version_of(s);

	if (!at || (at->maps == now.maps && at->generation == now.generation))
		return 0;
	return error_set(-EAGAIN, "%s=%u is at generation %llu, not %llu of %u", env_name(ENV_META),
			 now.maps, (unsigned long long)now.generation,
			 (unsigned long long)at->generation, at->maps);
}

int publish(struct store *s, const struct deserial_op *ops, size_t n, struct deserial_version *at,
	    size_t *changed)
{
	struct batch *b = s->batch;
	int err;

	b->s = s;
	*changed = 0;
	err = begin(b, ops, n);
	if (!err)
		err = enter(s);
	if (!err) {
		err = check_version(s, at);
		if (!err)
			err = publish_locked(b, changed);
		end(b);
		if (at && !err)
			*at = version_of(s);
		reclaim_nudge(s);
		leave(s);
	}
	arena_reset(&s->arena);
	return err;
}
