// SPDX-License-Identifier: Apache-2.0
/* What connects counted, summed over the endpoints of each cluster. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "error.h"

static void add_endpoint(const struct km_endpoint *e, uint64_t now, struct deserial_service *to)
{
	const struct km_endpoint_stats *counted = (const void *)(e + 1);

	to->endpoints++;
	to->ejected += e->ejected_until > now;
	to->active += e->active;
	to->ok += counted->ok;
	to->latency_ns += counted->latency_ns;
	to->refused += counted->refused;
	to->timeouts += counted->timeouts;
	to->errors += counted->errors;
	to->ejections += counted->ejections;
}

/* An endpoint of several groups is one node, and counts once. */
static int add_cluster(struct store *s, uint32_t root, uint64_t now, struct deserial_service *to)
{
	int err;

	parts_clear(&s->parts);
	err = tree_walk(&s->slabs, KM_CLUSTER, root, table_tree(&s->clusters, root), &s->parts);
	if (err)
		return err;
	words_unique(&s->parts.endpoints);
	for (size_t i = 0; i < s->parts.endpoints.n; i++) {
		const struct km_endpoint *e =
			slab_at(&s->slabs, (uint32_t)s->parts.endpoints.v[i], KM_ENDPOINT_SLOTS);

		if (!e)
			return error_set(-EUCLEAN, "damaged endpoint");
		add_endpoint(e, now, to);
	}
	return 0;
}

/* The names lie behind the array, in the same block. */
static int read_services(struct store *s, uint64_t now, struct deserial_service **services,
			 size_t *n)
{
	const struct table *t = &s->clusters;
	struct deserial_service *to;
	size_t bytes = 0;
	char *names;
	int err = 0;

	*n = 0;
	for (uint32_t i = idset_next(&t->used, 0); i; i = idset_next(&t->used, i)) {
		const struct km_name *name = table_name(t, &s->slabs, i);

		if (!name || !table_tree(t, i))
			continue;
		bytes += name->len;
		(*n)++;
	}
	*services = calloc(1, *n * sizeof(**services) + bytes + 1);
	if (!*services)
		return error_sys(-ENOMEM, "%zu clusters", *n);
	to = *services;
	names = (char *)(*services + *n);
	for (uint32_t i = idset_next(&t->used, 0); i && !err; i = idset_next(&t->used, i)) {
		const struct km_name *name = table_name(t, &s->slabs, i);

		if (!name || !table_tree(t, i))
			continue;
		memcpy(names, name->data, name->len);
		to->name = names;
		to->name_len = name->len;
		names += name->len;
		err = add_cluster(s, i, now, to++);
	}
	if (err)
		free(*services);
	return err;
}

int deserial_services(uint64_t now, struct deserial_service **services, size_t *n)
{
	struct store *s = store_get();
	int err;

	if (!s)
		return -ENODEV;
	err = enter(s);
	if (!err) {
		err = read_services(s, now, services, n);
		leave(s);
	}
	store_put(s);
	return err;
}

int deserial_cluster_name(uint32_t root, char *name, size_t size)
{
	struct store *s = store_get();
	const struct km_name *found = NULL;
	int err;

	if (!s)
		return -ENODEV;
	err = enter(s);
	if (!err) {
		if (root && root < KM_MAX_CLUSTERS && s->clusters.root[root].name)
			found = table_name(&s->clusters, &s->slabs, root);
		if (!found || found->len >= size) {
			err = error_set(-ENOENT, "no cluster has the number %u", root);
		} else {
			memcpy(name, found->data, found->len);
			name[found->len] = 0;
		}
		leave(s);
	}
	store_put(s);
	return err;
}
