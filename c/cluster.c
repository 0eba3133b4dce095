// SPDX-License-Identifier: Apache-2.0
/*
 * A cluster: its endpoints grouped by address family and priority, and in each
 * group a weighted choice. An endpoint's node stays through pushes, with all that
 * connects have counted in it, as long as the cluster has its address.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/cluster.pb-c.h"
#include "error.h"
#include "pick.h"
#include "weigh.h"

/* One address of the cluster. */
struct node {
	__be32 ip[4];
	__be16 port;
	uint8_t family;
	uint32_t next;	 /* in its bucket, 1 up */
	uint32_t handle; /* of km_endpoint; 0: none yet */
	uint32_t old;	 /* the one of the old tree; 0: none */
	uint32_t group;	 /* that it was last put into, 1 up */
	uint32_t choice; /* where in that */
	bool weighed;
};

struct group {
	uint32_t family;
	uint32_t priority;
	uint32_t id; /* in members */
	uint32_t n;
	uint32_t handle; /* of km_pick; 0: no endpoint takes connections */
};

struct build {
	struct batch *b;
	const struct change *c;
	struct parts *old;
	const Endpoint__ClusterLoadAssignment *assignment;
	struct node *nodes;
	uint32_t n_nodes;
	uint32_t *bucket;
	uint32_t mask;
	struct member *members;
	uint32_t n_members;
	struct locality *localities;
	struct group groups[KM_MAX_GROUPS];
	uint32_t n_groups;
	bool in_turn; /* ROUND_ROBIN */
};

static uint32_t hash_of(const __be32 ip[4], __be16 port)
{
	uint64_t words[2], h;

	/* The last octet is a high bit here: it has to come down. */
	memcpy(words, ip, sizeof(words));
	h = (words[0] ^ port) * 0x9e3779b97f4a7c15ull ^ words[1];
	h = (h ^ h >> 32) * 0xff51afd7ed558ccdull;
	return (uint32_t)(h >> 32);
}

static struct node *find(struct build *w, const __be32 ip[4], __be16 port)
{
	uint32_t i = w->bucket[hash_of(ip, port) & w->mask];

	for (; i; i = w->nodes[i - 1].next) {
		struct node *node = &w->nodes[i - 1];

		if (node->port == port && !memcmp(node->ip, ip, 16))
			return node;
	}
	return NULL;
}

static struct node *add_node(struct build *w, const struct km_addr *addr)
{
	struct node *node = find(w, addr->ip, addr->port);
	uint32_t *bucket;

	if (node)
		return node;
	bucket = &w->bucket[hash_of(addr->ip, addr->port) & w->mask];
	node = &w->nodes[w->n_nodes++];
	memcpy(node->ip, addr->ip, sizeof(node->ip));
	node->port = addr->port;
	node->family = !addr->ip[0] && !addr->ip[1] && addr->ip[2] == htonl(0xffff) ? 4 : 6;
	node->next = *bucket;
	*bucket = w->n_nodes;
	return node;
}

static int add_group(struct build *w, uint32_t family, uint32_t priority, uint32_t *id)
{
	struct group *group;

	for (uint32_t i = w->n_groups; i--;) {
		group = &w->groups[i];
		if (group->family == family && group->priority == priority) {
			*id = i;
			group->n++;
			return 0;
		}
	}
	if (w->n_groups == KM_MAX_GROUPS)
		return error_set(
			-ENOSPC,
			"load_assignment: more than %u groups by priority and address family",
			KM_MAX_GROUPS);
	*id = w->n_groups++;
	w->groups[*id] = (struct group){
		.family = family,
		.priority = priority,
		.id = *id,
		.n = 1,
	};
	return 0;
}

/* Unhealthy and unresolved endpoints are kept in the message alone. */
static int add_member(struct build *w, const Endpoint__Endpoint *e, uint32_t locality,
		      uint32_t priority)
{
	struct member *member = &w->members[w->n_members];
	struct km_addr addr;
	struct node *node;
	int err;

	if (e->unhealthy || (e->unresolved && *e->unresolved))
		return 0;
	if (!e->address)
		return error_set(-EINVAL, "address: missing");
	err = addr_of(e->address, &addr);
	if (err)
		return err;
	if (addr.protocol)
		return 0;
	if (!addr.ip[0] && !addr.ip[1] && !addr.ip[3] &&
	    (!addr.ip[2] || addr.ip[2] == htonl(0xffff)))
		return error_set(-EINVAL, "address: the zero address is no endpoint's");
	node = add_node(w, &addr);
	err = add_group(w, node->family, priority, &member->group);
	if (err)
		return err;
	member->node = (uint32_t)(node - w->nodes);
	member->locality = locality;
	member->weight = e->load_balancing_weight ? e->load_balancing_weight : 1;
	w->n_members++;
	return 0;
}

static int gather(struct build *w)
{
	const Endpoint__ClusterLoadAssignment *a = w->assignment;

	for (size_t i = 0; i < a->n_endpoints; i++) {
		const Endpoint__LocalityLbEndpoints *l = a->endpoints[i];

		w->localities[i].weight = l->load_balancing_weight;
		for (size_t j = 0; j < l->n_lb_endpoints; j++) {
			int err = add_member(w, l->lb_endpoints[j], (uint32_t)i, l->priority);

			if (err == -EINVAL)
				return error_prefix(
					err, "load_assignment.endpoints[%zu].lb_endpoints[%zu]", i,
					j);
			if (err)
				return err;
		}
	}
	return 0;
}

static int prepare(struct build *w)
{
	struct arena *arena = &w->b->s->arena;
	size_t n = 0, buckets = 2;

	for (size_t i = 0; i < w->assignment->n_endpoints; i++)
		n += w->assignment->endpoints[i]->n_lb_endpoints;
	if (n > UINT32_MAX / 4)
		return error_set(-ENOSPC, "load_assignment: %zu endpoints", n);
	while (buckets < 2 * n)
		buckets *= 2;
	w->mask = (uint32_t)buckets - 1;
	w->bucket = arena_zalloc(arena, buckets, sizeof(*w->bucket));
	w->nodes = arena_zalloc(arena, n, sizeof(*w->nodes));
	w->members = arena_zalloc(arena, n, sizeof(*w->members));
	w->localities = arena_zalloc(arena, w->assignment->n_endpoints, sizeof(*w->localities));
	if (!w->bucket || !w->nodes || !w->members || !w->localities)
		return error_sys(-ENOMEM, "load_assignment");
	return 0;
}

/* Finds the old tree's endpoints that the new one has too. */
static int match_old(struct build *w)
{
	struct vec *handles = &w->old->endpoints;
	const struct slabs *slabs = &w->b->s->slabs;

	/* Groups may share them. */
	if (w->old->groups > 1)
		words_unique(handles);
	for (size_t i = 0; i < handles->n; i++) {
		uint32_t handle = (uint32_t)handles->v[i];
		const struct km_endpoint *e = slab_at(slabs, handle, KM_ENDPOINT_SLOTS);
		struct node *node;

		if (!e || e->cluster != w->c->root)
			return error_set(-EUCLEAN, "damaged endpoint");
		node = w->n_nodes ? find(w, e->ip, e->port) : NULL;
		if (node)
			node->old = handle;
	}
	return 0;
}

/* Those that the new tree does not use are to be retired. */
static int retire_old(struct build *w)
{
	struct vec *handles = &w->old->endpoints;
	const struct slabs *slabs = &w->b->s->slabs;

	for (size_t i = 0; i < handles->n; i++) {
		uint32_t handle = (uint32_t)handles->v[i];
		const struct km_endpoint *e = slab_at(slabs, handle, KM_ENDPOINT_SLOTS);
		struct node *node = w->n_nodes ? find(w, e->ip, e->port) : NULL;

		if (node && node->handle == handle)
			continue;
		if (vec_push(&w->b->old_runs, run_word(handle, KM_ENDPOINT_SLOTS)))
			return error_sys(-ENOMEM, "retire an endpoint");
	}
	handles->n = 0;
	return 0;
}

static int make_endpoint(struct build *w, struct node *node)
{
	struct km_meta *meta = w->b->s->meta;
	struct km_endpoint *e;
	void *run;
	int err;

	if (node->handle)
		return 0;
	if (node->old) {
		node->handle = node->old;
		return 0;
	}
	err = batch_run(w->b, KM_ENDPOINT_SLOTS, &node->handle, &run);
	if (err)
		return err;
	e = run;
	memcpy(e->ip, node->ip, sizeof(e->ip));
	e->port = node->port;
	e->family = node->family;
	e->cluster = w->c->root;
	e->id = (__u32)meta->next_id++ | KM_ENDPOINT_ID;
	return 0;
}

/* Connects may read a kept endpoint now: its weight waits for the commit. */
static int set_weight(struct build *w, struct node *node, uint64_t weight)
{
	struct km_endpoint *e = slab_at(&w->b->s->slabs, node->handle, KM_ENDPOINT_SLOTS);

	/* In several groups, what it has is the first one's weight. */
	if (node->weighed)
		return 0;
	node->weighed = true;
	if (e->weight == weight)
		return 0;
	if (!node->old) {
		e->weight = (__u32)weight;
		return 0;
	}
	if (vec_push(&w->b->weights, weight << 32 | node->handle))
		return error_sys(-ENOMEM, "set a weight");
	return 0;
}

static bool has_weights(const struct build *w, uint32_t priority)
{
	const Endpoint__ClusterLoadAssignment *a = w->assignment;

	for (size_t i = 0; i < a->n_endpoints; i++) {
		if (a->endpoints[i]->priority == priority && a->endpoints[i]->load_balancing_weight)
			return true;
	}
	return false;
}

/* Puts a group's members into its choices, an address once. */
static int choose(struct build *w, const struct group *group, struct member *const *members,
		  struct choice *choices, uint32_t *nodes, uint32_t *n)
{
	*n = 0;
	for (uint32_t i = 0; i < group->n; i++) {
		struct node *node = &w->nodes[members[i]->node];
		int err;

		if (!members[i]->share)
			continue;
		if (node->group == group->id + 1) {
			choices[node->choice].weight += members[i]->share;
			continue;
		}
		err = make_endpoint(w, node);
		if (err)
			return err;
		node->group = group->id + 1;
		node->choice = *n;
		nodes[*n] = members[i]->node;
		choices[*n].weight = members[i]->share;
		choices[(*n)++].arg = node->handle;
	}
	return 0;
}

static int build_group(struct build *w, struct group *group)
{
	struct arena *arena = &w->b->s->arena;
	struct member **members = arena_zalloc(arena, group->n, sizeof(struct member *));
	struct choice *choices = arena_zalloc(arena, group->n, sizeof(*choices));
	uint32_t *nodes = arena_zalloc(arena, group->n, sizeof(*nodes));
	uint32_t n = 0;
	int err;

	if (!members || !choices || !nodes)
		return error_sys(-ENOMEM, "load_assignment");
	for (uint32_t i = 0; i < w->n_members; i++) {
		if (w->members[i].group == group->id)
			members[n++] = &w->members[i];
	}
	weigh(members, n, w->localities, has_weights(w, group->priority));
	err = choose(w, group, members, choices, nodes, &n);
	if (err || !n)
		return err;
	err = pick_build(w->b, choices, n, w->in_turn, w->old, &group->handle);
	if (err)
		return error_prefix(err, "load_assignment: priority %u", group->priority);
	for (uint32_t i = 0; i < n && !err; i++)
		err = set_weight(w, &w->nodes[nodes[i]], choices[i].weight);
	return err;
}

static int by_priority(const void *a, const void *b)
{
	const struct group *x = a, *y = b;

	if (x->family != y->family)
		return x->family < y->family ? -1 : 1;
	return (x->priority > y->priority) - (x->priority < y->priority);
}

static int build_groups(struct build *w)
{
	int err = 0;

	if (w->n_groups > 1)
		qsort(w->groups, w->n_groups, sizeof(w->groups[0]), by_priority);
	for (uint32_t i = 0; i < w->n_groups && !err; i++)
		err = build_group(w, &w->groups[i]);
	return err;
}

static int build_head(struct build *w, struct change *c)
{
	const Cluster__Cluster *m = (const Cluster__Cluster *)c->message;
	struct km_cluster *cluster;
	uint32_t n = 0;
	__u32 *cells;
	void *node;
	int err;

	for (uint32_t i = 0; i < w->n_groups; i++)
		n += !!w->groups[i].handle;
	err = batch_run(w->b, cluster_slots(n), &c->tree, &node);
	if (err)
		return err;
	cluster = node;
	cells = (__u32 *)cluster + KM_CLUSTER_CELL0;
	for (uint32_t i = 0; i < w->n_groups; i++) {
		if (!w->groups[i].handle)
			continue;
		*cells++ = w->groups[i].handle;
		if (w->groups[i].family == 4)
			cluster->n4++;
		else
			cluster->n6++;
	}
	cluster->lb = (__u16)m->lb_policy;
	cluster->passthrough = m->passthrough ||
			       m->discovery_type == CLUSTER__CLUSTER__DISCOVERY_TYPE__ORIGINAL_DST;
	return batch_head(w->b, c, &cluster->head);
}

int build_cluster(struct batch *b, struct change *c, struct parts *old)
{
	const Cluster__Cluster *m = (const Cluster__Cluster *)c->message;
	static const Endpoint__ClusterLoadAssignment none = ENDPOINT__CLUSTER_LOAD_ASSIGNMENT__INIT;
	struct build w;
	int err;

	memset(&w, 0, offsetof(struct build, groups));
	w.n_groups = 0;
	w.in_turn = m->lb_policy == CLUSTER__CLUSTER__LB_POLICY__ROUND_ROBIN;
	w.b = b;
	w.c = c;
	w.old = old;
	w.assignment = m->load_assignment ? m->load_assignment : &none;
	switch (m->lb_policy) {
	case CLUSTER__CLUSTER__LB_POLICY__ROUND_ROBIN:
	case CLUSTER__CLUSTER__LB_POLICY__LEAST_REQUEST:
	case CLUSTER__CLUSTER__LB_POLICY__RANDOM:
		break;
	default:
		return error_set(-EINVAL, "lb_policy: %d is none", (int)m->lb_policy);
	}
	err = prepare(&w);
	if (!err)
		err = gather(&w);
	if (!err)
		err = match_old(&w);
	if (!err)
		err = build_groups(&w);
	if (!err)
		err = retire_old(&w);
	if (!err)
		err = build_head(&w, c);
	return err;
}
