// SPDX-License-Identifier: Apache-2.0
/* The commit of a batch: the order of the stores is what makes it whole. */
#include <errno.h>

#include "batch.h"
#include "error.h"
#include "kernel.h"

/* The tree that a root made by this batch will have. */
static uint32_t tree_of(const struct batch *b, const struct table *t, uint32_t root)
{
	return t->change[root] ? b->changes[t->change[root] - 1].tree : 0;
}

static void take_back_entries(struct batch *b)
{
	struct store *s = b->s;

	for (size_t i = 0; i < b->entries; i++) {
		struct table *t = &s->listeners;
		uint32_t root = ref_root(b->roots.v[i]);

		if (ref_kind(b->roots.v[i]) != KM_LISTENER || !tree_of(b, t, root))
			continue;
		ports_remove(s, &t->addr[root]);
		/* What cannot be deleted leads nowhere; a rebuild takes it out. */
		if (kernel.map_delete(s->env.fd[ENV_LISTENER], &t->addr[root]))
			s->loaded = false;
	}
}

/* New listeners become findable. Their roots have no tree until the commit. */
static int put_entries(struct batch *b)
{
	struct store *s = b->s;
	struct table *t = &s->listeners;
	int err;

	for (; b->entries < b->roots.n; b->entries++) {
		uint32_t root = ref_root(b->roots.v[b->entries]);

		if (ref_kind(b->roots.v[b->entries]) != KM_LISTENER || !tree_of(b, t, root))
			continue;
		err = kernel.map_update(s->env.fd[ENV_LISTENER], &t->addr[root], &root);
		if (err) {
			if (err == -E2BIG)
				err = -ENOSPC;
			error_note_sys(err, "%s=%u: add a listener", env_name(ENV_LISTENER),
				       s->env.id[ENV_LISTENER]);
			take_back_entries(b);
			return err;
		}
		ports_add(s, &t->addr[root]);
		kernel.step();
	}
	return 0;
}

static void store_roots(struct batch *b, uint64_t generation)
{
	for (size_t i = 0; i < b->n; i++) {
		struct change *c = &b->changes[i];
		struct km_root *root;

		if (c->idle)
			continue;
		root = &store_table(b->s, c->kind)->root[c->root];
		__atomic_store_n(&root->prev, __atomic_load_n(&root->cur, __ATOMIC_RELAXED),
				 __ATOMIC_RELEASE);
		kernel.step();
		__atomic_store_n(&root->cur, generation << KM_HANDLE_BITS | c->tree,
				 __ATOMIC_RELEASE);
		kernel.step();
	}
}

/* A root without a tree that nobody refers to goes, with its name. */
static void drop_unused(struct store *s, struct table *t, uint32_t root)
{
	const struct km_name *name;

	if (t->kind == KM_LISTENER || !t->root[root].name || t->refs[root] || table_tree(t, root))
		return;
	name = table_name(t, &s->slabs, root);
	if (name)
		retire(s, RETIRED_RUN, run_word(t->root[root].name, name_slots(name->len)));
	retire(s, t->kind == KM_CLUSTER ? RETIRED_CLUSTER : RETIRED_ROUTE, root);
	table_unlink(t, root);
	__atomic_store_n(&t->root[root].name, 0, __ATOMIC_RELEASE);
}

/* A listener that came and went within the batch: it was never findable. */
static void drop_listener(struct table *t, uint32_t root)
{
	if (t->kind != KM_LISTENER || table_tree(t, root))
		return;
	table_unlink(t, root);
	idset_give(&t->used, root);
}

static void count_refs(struct batch *b)
{
	struct store *s = b->s;

	for (size_t i = 0; i < b->new_refs.n; i++) {
		uint64_t ref = b->new_refs.v[i];

		store_table(s, ref_kind(ref))->refs[ref_root(ref)]++;
	}
	for (size_t i = 0; i < b->old_refs.n; i++) {
		uint64_t ref = b->old_refs.v[i];

		store_table(s, ref_kind(ref))->refs[ref_root(ref)]--;
	}
	for (size_t i = 0; i < b->old_refs.n; i++) {
		uint64_t ref = b->old_refs.v[i];

		drop_unused(s, store_table(s, ref_kind(ref)), ref_root(ref));
	}
}

/* Everything after the commit: none of it can fail. */
static void settle(struct batch *b)
{
	struct store *s = b->s;

	for (size_t i = 0; i < b->weights.n; i++) {
		struct km_endpoint *e =
			slab_at(&s->slabs, (uint32_t)b->weights.v[i], KM_ENDPOINT_SLOTS);

		__atomic_store_n(&e->weight, (__u32)(b->weights.v[i] >> 32), __ATOMIC_RELAXED);
	}
	for (size_t i = 0; i < b->old_runs.n; i++)
		retire(s, RETIRED_RUN, b->old_runs.v[i]);
	for (size_t i = 0; i < b->old_counters.n; i++)
		retire(s, RETIRED_COUNTER, b->old_counters.v[i]);
	count_refs(b);
	for (size_t i = 0; i < b->n; i++) {
		struct change *c = &b->changes[i];
		struct table *t = store_table(s, c->kind);
		bool had;

		if (c->idle)
			continue;
		had = root_handle(t->root[c->root].prev);
		t->live += !!c->tree;
		t->live -= had;
		if (c->tree || !had)
			continue;
		if (c->kind == KM_LISTENER)
			retire(s, RETIRED_LISTENER, c->root);
		else
			drop_unused(s, t, c->root);
	}
	for (size_t i = 0; i < b->roots.n; i++) {
		struct table *t = store_table(s, ref_kind(b->roots.v[i]));

		drop_unused(s, t, ref_root(b->roots.v[i]));
		drop_listener(t, ref_root(b->roots.v[i]));
	}
}

int commit(struct batch *b)
{
	struct store *s = b->s;
	uint64_t generation = s->generation + 1;
	int err;

	if (generation > KM_GENERATION_MAX)
		return error_set(-EOVERFLOW, "generation %llu is the last", KM_GENERATION_MAX);
	err = retire_reserve(s, b->old_runs.n + b->old_counters.n + 2 * b->old_refs.n + 2 * b->n +
					2 * b->roots.n);
	if (err)
		return error_sys(err, "retire old trees");

	__atomic_store_n(&s->meta->writing, generation, __ATOMIC_RELEASE);
	kernel.step();
	err = put_entries(b);
	if (err) {
		__atomic_store_n(&s->meta->writing, 0, __ATOMIC_RELEASE);
		return err;
	}
	store_roots(b, generation);
	__atomic_store_n(&s->meta->generation, generation, __ATOMIC_RELEASE);
	kernel.step();
	__atomic_store_n(&s->meta->writing, 0, __ATOMIC_RELEASE);
	s->generation = generation;
	settle(b);
	return 0;
}
