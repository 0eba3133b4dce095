// SPDX-License-Identifier: Apache-2.0
/* What the store has in use, and what connects counted in it. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "cluster/cluster.pb-c.h"
#include "error.h"

static uint64_t unresolved(const struct table *t)
{
	uint64_t n = 0;

	for (uint32_t i = idset_next(&t->used, 0); i; i = idset_next(&t->used, i))
		n += t->refs[i] && !table_tree(t, i);
	return n;
}

static void fill(struct store *s, struct deserial_stats *stats)
{
	const struct reclaim *r = &s->reclaim;

	memset(stats, 0, sizeof(*stats));
	stats->generation = s->generation;
	stats->slabs = (struct deserial_use){ s->slabs.n, KM_SPARE_SLAB };
	stats->slots_free = s->slabs.free;
	stats->slots_pending = r->now_slots + (r->forget ? 0 : r->waiting_slots);
	stats->slots.limit = slabs_total(&s->slabs);
	stats->slots.used = stats->slots.limit - stats->slots_free - stats->slots_pending;
	stats->listeners = (struct deserial_use){ s->listeners.live, KM_MAX_LISTENERS - 1 };
	stats->clusters = (struct deserial_use){ s->clusters.live, KM_MAX_CLUSTERS - 1 };
	stats->routes = (struct deserial_use){ s->routes.live, KM_MAX_ROUTES - 1 };
	stats->counters = (struct deserial_use){ s->counters.n, KM_MAX_COUNTERS - 1 };
	stats->cluster_references = unresolved(&s->clusters);
	stats->route_references = unresolved(&s->routes);
	stats->waits = r->waits;
	stats->waited_ns = r->waited_ns;
	/* The maps and the lock. */
	stats->descriptors = ENV_MAPS + 1;
}

int deserial_stats(struct deserial_stats *stats)
{
	struct store *s = store_get();
	int err;

	if (!s)
		return -ENODEV;
	err = enter(s);
	if (!err) {
		fill(s, stats);
		leave(s);
	}
	store_put(s);
	return err;
}

static int read_endpoint(struct store *s, const struct km_pick *pick, uint32_t i, uint32_t group,
			 struct deserial_endpoint *to)
{
	const struct km_entry *entries = pick_entries(pick);
	const struct km_endpoint *e = slab_at(&s->slabs, entries[i].arg, KM_ENDPOINT_SLOTS);
	const struct km_endpoint_stats *counted = (const void *)(e + 1);

	if (!e)
		return error_set(-EUCLEAN, "damaged endpoint");
	memcpy(to->ip, e->ip, sizeof(to->ip));
	to->port = ntohs(e->port);
	to->family = e->family;
	to->level = e->level;
	to->group = group;
	to->weight = entries[i].cum - (i ? entries[i - 1].cum : 0);
	to->total = pick->total;
	to->active = e->active;
	to->fails = e->fails;
	to->ejected_until = e->ejected_until;
	to->ok = counted->ok;
	to->latency_ns = counted->latency_ns;
	to->latency_max_ns = counted->latency_max_ns;
	to->refused = counted->refused;
	to->timeouts = counted->timeouts;
	to->errors = counted->errors;
	to->ejections = counted->ejections;
	return 0;
}

static int read_cluster(struct store *s, uint32_t root, struct deserial_endpoint **endpoints,
			size_t *n)
{
	uint32_t tree = table_tree(&s->clusters, root);
	const struct km_cluster *cluster;
	int err;

	parts_clear(&s->parts);
	err = tree_walk(&s->slabs, KM_CLUSTER, root, tree, &s->parts);
	if (err)
		return err;
	*endpoints = calloc(s->parts.endpoints.n + 1, sizeof(**endpoints));
	if (!*endpoints)
		return error_sys(-ENOMEM, "%zu endpoints", s->parts.endpoints.n);
	cluster = slab_at(&s->slabs, tree, 1);
	*n = 0;
	for (uint32_t g = 0; g < (uint32_t)cluster->n4 + cluster->n6; g++) {
		const struct km_pick *pick = slab_at(&s->slabs, cluster_groups(cluster)[g], 1);
		uint32_t rank = g < cluster->n4 ? g : g - cluster->n4;

		for (uint32_t i = 0; i < pick->n && !err; i++)
			err = read_endpoint(s, pick, i, rank, &(*endpoints)[(*n)++]);
	}
	if (err)
		free(*endpoints);
	return err;
}

int deserial_endpoints(const char *cluster, struct deserial_endpoint **endpoints, size_t *n)
{
	struct store *s = store_get();
	struct change c = { 0 };
	uint32_t root;
	int err;

	if (!s)
		return -ENODEV;
	err = change_key(&cluster__cluster__descriptor, cluster, &c);
	if (!err)
		err = enter(s);
	if (err)
		goto out;
	root = table_find_name(&s->clusters, &s->slabs, c.name, c.name_len, c.hash);
	if (!root || !table_tree(&s->clusters, root))
		err = error_set(-ENOENT, "not there");
	else
		err = read_cluster(s, root, endpoints, n);
	leave(s);
out:
	store_put(s);
	return err ? change_blame(&c, err) : 0;
}
