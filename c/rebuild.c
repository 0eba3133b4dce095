// SPDX-License-Identifier: Apache-2.0
/*
 * What a process knows beside the maps (what is free, which name is where, who
 * refers to whom) is found again by walking what the roots reach: after opening,
 * after another process's publication, and after a crash in the middle of one.
 *
 * A root whose word is newer than the committed generation is the crash's: its
 * previous word is put back. Whatever no root reaches is free, after a grace
 * period, for what the last writer retired may still be held by readers.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "kernel.h"
#include "store.h"

static const char *const kind_names[] = {
	[KM_LISTENER] = "Listener",
	[KM_CLUSTER] = "Cluster",
	[KM_ROUTE] = "RouteConfiguration",
};

static int blame(int err, enum km_kind kind, uint32_t root)
{
	if (err != -EUCLEAN)
		return error_sys(err, "read %s root %u", kind_names[kind], root);
	return error_prefix(
		err,
		"%s root %u is damaged (\"kmesh-node down\", \"up\" and \"apply\" make the store anew)",
		kind_names[kind], root);
}

/* The groups of one cluster may share endpoints. */
static int mark_endpoints(struct store *s, uint32_t root, struct vec *handles)
{
	words_unique(handles);
	for (size_t i = 0; i < handles->n; i++) {
		uint32_t handle = (uint32_t)handles->v[i];
		const struct km_endpoint *e = slab_at(&s->slabs, handle, KM_ENDPOINT_SLOTS);

		if (!e || e->cluster != root || slabs_mark(&s->slabs, handle, KM_ENDPOINT_SLOTS))
			return error_set(-EUCLEAN, "endpoint at %u.%u is not one",
					 handle >> KM_SLAB_SHIFT, handle & (KM_SLAB_SLOTS - 1));
	}
	return 0;
}

/* Takes over one tree: marks its slots and counters, counts its references. */
static int load_tree(struct store *s, struct table *t, uint32_t root, uint32_t handle)
{
	struct parts *parts = &s->parts;
	int err;

	parts_clear(parts);
	err = tree_walk(&s->slabs, t->kind, root, handle, parts);
	if (err)
		return err;
	for (size_t i = 0; i < parts->runs.n; i++) {
		uint64_t run = parts->runs.v[i];

		if (slabs_mark(&s->slabs, run_handle(run), run_slots(run)))
			return error_set(-EUCLEAN, "two nodes overlap");
	}
	err = mark_endpoints(s, root, &parts->endpoints);
	if (err)
		return err;
	for (size_t i = 0; i < parts->counters.n; i++) {
		if (!idset_mark(&s->counters, (uint32_t)parts->counters.v[i]))
			return error_set(-EUCLEAN, "two choices share a counter");
	}
	for (size_t i = 0; i < parts->refs.n; i++) {
		struct table *to = store_table(s, ref_kind(parts->refs.v[i]));
		uint32_t target = ref_root(parts->refs.v[i]);

		if (!target || target >= to->used.max)
			return error_set(-EUCLEAN, "reference to root %u", target);
		if (!to->refs[target]++)
			idset_mark(&to->used, target);
	}
	idset_mark(&t->used, root);
	t->live++;
	return 0;
}

static int load_roots(struct store *s, struct table *t)
{
	for (uint32_t i = 1; i < t->used.max; i++) {
		struct km_root *root = &t->root[i];
		uint64_t cur = root->cur;
		int err = 0;

		if (!cur)
			continue;
		if (root_generation(cur) > s->generation) {
			cur = root->prev;
			if (root_generation(cur) > s->generation)
				err = error_set(-EUCLEAN,
						"both words are newer than what was committed");
			else
				__atomic_store_n(&root->cur, cur, __ATOMIC_RELEASE);
		}
		if (!err && root_handle(cur))
			err = load_tree(s, t, i, root_handle(cur));
		if (err)
			return blame(err, t->kind, i);
	}
	return 0;
}

/* Names are kept by what is there and by what is referred to. */
static int load_names(struct store *s, struct table *t)
{
	for (uint32_t i = idset_next(&t->used, 0); i; i = idset_next(&t->used, i)) {
		const struct km_name *name;
		uint32_t hash;
		int err = 0;

		name = table_name(t, &s->slabs, i);
		if (!name || slabs_mark(&s->slabs, t->root[i].name, name_slots(name->len)))
			return blame(error_set(-EUCLEAN, "its name is not one"), t->kind, i);
		hash = hash_bytes(name->data, name->len);
		if (table_find_name(t, &s->slabs, (const char *)name->data, name->len, hash))
			err = blame(error_set(-EUCLEAN, "its name is another's"), t->kind, i);
		if (err)
			return err;
		table_link(t, i, hash);
	}
	return 0;
}

static int load_addresses(struct store *s)
{
	struct table *t = &s->listeners;

	for (uint32_t i = idset_next(&t->used, 0); i; i = idset_next(&t->used, i)) {
		const struct km_listener *listener;
		uint32_t hash;

		listener = slab_at(&s->slabs, table_tree(t, i), 1);
		hash = hash_bytes(&listener->addr, sizeof(listener->addr));
		if (table_find_addr(t, &listener->addr, hash))
			return blame(error_set(-EUCLEAN, "its address is another's"), t->kind, i);
		t->addr[i] = listener->addr;
		table_link(t, i, hash);
		ports_add(s, &listener->addr);
	}
	return 0;
}

/* One entry of km_listener: that of a listener, or left by one that is gone. */
static int load_entry(struct store *s, const struct km_addr *addr, uint32_t i, uint8_t *seen)
{
	struct table *t = &s->listeners;

	if (i && i < t->used.max && table_tree(t, i) && !memcmp(&t->addr[i], addr, sizeof(*addr))) {
		seen[i] = 1;
		return 0;
	}
	/* An entry of a gone listener keeps its root, until it is reaped. */
	if (i && i < t->used.max && !table_tree(t, i) &&
	    !table_find_addr(t, addr, hash_bytes(addr, sizeof(*addr))) && idset_mark(&t->used, i)) {
		t->addr[i] = *addr;
		table_link(t, i, hash_bytes(addr, sizeof(*addr)));
		ports_add(s, addr);
		return vec_push(&s->dead, i);
	}
	/* Leads nowhere: no reader finds anything by it. */
	entries_changed(s);
	kernel.map_delete(s->env.fd[ENV_LISTENER], addr);
	return 0;
}

static int read_entries(struct store *s, struct km_addr *keys, uint32_t *values, uint32_t *n)
{
	const int fd = s->env.fd[ENV_LISTENER];
	const struct km_addr *last = NULL;
	uint32_t count = KM_MAX_LISTENERS;
	int err;

	err = kernel.map_lookup_batch(fd, keys, values, &count);
	if (!err || err == -ENOENT) {
		*n = count;
		return 0;
	}
	for (*n = 0; *n < KM_MAX_LISTENERS; last = &keys[(*n)++]) {
		err = kernel.map_next_key(fd, last, &keys[*n]);
		if (err == -ENOENT)
			return 0;
		if (!err)
			err = kernel.map_lookup(fd, &keys[*n], &values[*n]);
		if (err)
			return error_sys(err, "%s=%u: read entries", env_name(ENV_LISTENER),
					 s->env.id[ENV_LISTENER]);
	}
	return 0;
}

static int load_entries(struct store *s)
{
	struct table *t = &s->listeners;
	struct km_addr *keys = malloc(KM_MAX_LISTENERS * sizeof(*keys));
	uint32_t *values = malloc(KM_MAX_LISTENERS * sizeof(*values));
	uint8_t *seen = calloc(KM_MAX_LISTENERS, 1);
	uint32_t n = 0;
	int err = -ENOMEM;

	if (!keys || !values || !seen) {
		error_note_sys(err, "read listeners");
		goto out;
	}
	err = read_entries(s, keys, values, &n);
	for (uint32_t i = 0; i < n && !err; i++)
		err = load_entry(s, &keys[i], values[i], seen);
	for (uint32_t i = 1; i < t->used.max && !err; i++) {
		if (!table_tree(t, i) || seen[i])
			continue;
		entries_changed(s);
		err = kernel.map_update(s->env.fd[ENV_LISTENER], &t->addr[i], &i);
		if (err)
			error_note_sys(err, "%s=%u: put back an entry", env_name(ENV_LISTENER),
				       s->env.id[ENV_LISTENER]);
	}
out:
	free(keys);
	free(values);
	free(seen);
	return err;
}

static int check_meta(const struct km_meta *meta)
{
	if (meta->abi == KM_ABI_GONE)
		return error_set(
			-ESTALE,
			"the maps gave way to others: start again under \"kmesh-node exec\"");
	if (meta->abi && meta->abi != KM_ABI_VERSION)
		return error_set(
			-EPROTO,
			"the store has layout %u, this program knows %u: \"kmesh-node down\" and \"up\" make it anew",
			meta->abi, KM_ABI_VERSION);
	if (meta->generation > KM_GENERATION_MAX)
		return error_set(-EUCLEAN, "km_meta: generation %llu", meta->generation);
	return 0;
}

int rebuild(struct store *s)
{
	int err;

	s->loaded = false;
	err = check_meta(s->meta);
	if (!err)
		err = slabs_follow(s);
	if (err)
		return err;

	s->generation = s->meta->generation;
	s->entries = s->meta->entries;
	reclaim_forget(s);
	table_clear(&s->listeners);
	table_clear(&s->clusters);
	table_clear(&s->routes);
	idset_clear(&s->counters);
	memset(s->exact, 0, 65536 * sizeof(*s->exact));
	memset(s->wildcard, 0, 65536 * sizeof(*s->wildcard));

	err = slabs_mark_begin(&s->slabs);
	if (err)
		return error_sys(err, "find what is free");
	err = load_roots(s, &s->clusters);
	if (!err)
		err = load_roots(s, &s->routes);
	if (!err)
		err = load_roots(s, &s->listeners);
	if (!err)
		err = load_names(s, &s->clusters);
	if (!err)
		err = load_names(s, &s->routes);
	if (!err)
		err = load_addresses(s);
	if (!err)
		err = load_entries(s);
	slabs_mark_end(&s->slabs);
	if (err)
		return err;

	/* Without a publication ever, there is nothing to wait for. */
	s->quarantine = s->generation || s->meta->writing;
	s->meta->abi = KM_ABI_VERSION;
	__atomic_store_n(&s->meta->writing, 0, __ATOMIC_RELEASE);
	s->loaded = true;
	return 0;
}
