// SPDX-License-Identifier: Apache-2.0
#include "reader.h"

#include <arpa/inet.h>
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/core.pb-c.h"
#include "fake.h"
#include "make.h"
#include "test.h"

#define OVERTAKEN UINT32_MAX

static uint64_t committed(void)
{
	return __atomic_load_n(&fake_meta()->generation, __ATOMIC_ACQUIRE);
}

static uint32_t tree_at(enum km_kind kind, uint32_t i, uint64_t generation)
{
	struct km_root *root = &fake_roots(kind)[i];
	uint64_t word = __atomic_load_n(&root->cur, __ATOMIC_ACQUIRE);

	if (word >> KM_HANDLE_BITS > generation)
		word = __atomic_load_n(&root->prev, __ATOMIC_ACQUIRE);
	if (word >> KM_HANDLE_BITS > generation)
		return OVERTAKEN;
	return (uint32_t)(word & KM_HANDLE_MASK);
}

static const struct km_entry *entry(uint32_t pick, uint32_t i)
{
	uint32_t cell = KM_PICK_CELL0 + i;
	const struct km_entry *slot = fake_node(pick + cell / KM_CELLS8);

	return slot + cell % KM_CELLS8;
}

static uint32_t group(uint32_t cluster, uint32_t i)
{
	uint32_t cell = KM_CLUSTER_CELL0 + i;
	const __u32 *slot = fake_node(cluster + cell / KM_CELLS4);

	return slot[cell % KM_CELLS4];
}

static char *name_of(uint32_t root)
{
	const struct km_name *name = fake_node(fake_roots(KM_CLUSTER)[root].name);

	if (!name)
		return make_text("?%u", root);
	return make_text("%.*s", (int)name->len, (const char *)name->data);
}

struct destination {
	struct km_addr addr;
	uint64_t hi, lo;
	uint32_t port;
};

static void parse(const Core__SocketAddress *a, struct destination *d)
{
	uint64_t word[2];

	memset(d, 0, sizeof(*d));
	if (a->ipv6.len) {
		memcpy(d->addr.ip, a->ipv6.data, 16);
	} else {
		d->addr.ip[2] = htonl(0xffff);
		d->addr.ip[3] = a->ipv4;
	}
	d->addr.port = (__be16)a->port;
	memcpy(word, d->addr.ip, sizeof(word));
	d->hi = be64toh(word[0]);
	d->lo = be64toh(word[1]);
	d->port = ntohs(d->addr.port);
}

static bool not_after(const struct km_range *r, const struct destination *d)
{
	if (r->hi != d->hi)
		return r->hi < d->hi;
	if (r->lo != d->lo)
		return r->lo < d->lo;
	return r->port <= d->port;
}

/* The last entry that does not begin after the destination. */
static struct km_target search(uint32_t handle, const struct destination *d)
{
	const struct km_ranges *ranges = fake_node(handle);
	uint32_t low = 0, high = ranges->n;
	const struct km_range *slot;

	while (high - low > 1) {
		uint32_t middle = (low + high) / 2;

		slot = fake_node(handle + 1 + middle / 2);
		if (not_after(&slot[middle % 2], d))
			low = middle;
		else
			high = middle;
	}
	slot = fake_node(handle + 1 + low / 2);
	return slot[low % 2].target;
}

static const struct km_listener *listener_at(const struct destination *d, uint64_t generation)
{
	const struct km_ports *ports = &fake_ports()[d->port >> 6];
	struct km_addr key = d->addr;

	for (int wildcard = 0; wildcard < 2; wildcard++) {
		const struct km_listener *l;
		uint64_t bits = wildcard ? ports->wildcard : ports->exact;
		uint32_t root, tree;

		if (wildcard) {
			key.ip[3] = 0;
			if (key.ip[0] || key.ip[1] || key.ip[2] != htonl(0xffff))
				memset(key.ip, 0, sizeof(key.ip));
		}
		root = bits >> (d->port & 63) & 1 ? fake_listener(&key) : 0;
		tree = root ? tree_at(KM_LISTENER, root, generation) : 0;
		if (!tree || tree == OVERTAKEN)
			continue;
		l = fake_node(tree);
		if (!memcmp(&l->addr, &key, sizeof(key)))
			return l;
	}
	return NULL;
}

/* Follows ranges and routes to where it ends. */
static struct km_target follow(struct km_target t, const struct destination *d, uint64_t generation)
{
	static const struct km_target pass;

	for (int hops = 0; hops < 8; hops++) {
		const struct km_route *route;
		uint32_t tree;

		if (t.kind == KM_T_RANGES) {
			t = search(t.arg, d);
			continue;
		}
		if (t.kind != KM_T_ROUTE)
			return t;
		tree = tree_at(KM_ROUTE, t.arg, generation);
		if (!tree || tree == OVERTAKEN)
			return pass;
		route = fake_node(tree);
		t = route->target;
	}
	CHECK(!"targets end");
	return pass;
}

char *where(const char *address)
{
	uint64_t generation = committed();
	const struct km_listener *l;
	const struct km_pick *pick;
	struct destination d;
	struct km_target t;
	uint32_t cum = 0;
	char *text;

	parse(make_address(address), &d);
	l = listener_at(&d, generation);
	if (!l)
		return make_text("pass");
	t = follow(l->target, &d, generation);
	if (t.kind == KM_T_PASS)
		return make_text("pass");
	if (t.kind == KM_T_CLUSTER)
		return name_of(t.arg);
	CHECK_INT(t.kind, KM_T_WEIGHTED);
	pick = fake_node(t.arg);
	text = make_text("%s", "");
	for (uint32_t i = 0; i < pick->n; i++) {
		const struct km_entry *e = entry(t.arg, i);

		text = make_text("%s%s%s=%u", text, i ? " " : "", name_of(e->arg), e->cum - cum);
		cum = e->cum;
	}
	CHECK_INT(cum, pick->total);
	return text;
}

uint32_t cluster_root(const char *name)
{
	const struct km_root *roots = fake_roots(KM_CLUSTER);

	for (uint32_t i = 1; i < KM_MAX_CLUSTERS; i++) {
		const struct km_name *has = fake_node(roots[i].name);

		if (has && has->len == strlen(name) && !memcmp(has->data, name, has->len))
			return i;
	}
	return 0;
}

static const struct km_cluster *cluster_at(const char *name, uint32_t *tree)
{
	uint32_t root = cluster_root(name);

	*tree = root ? tree_at(KM_CLUSTER, root, committed()) : 0;
	return fake_node(*tree);
}

static char *endpoint_text(const struct km_endpoint *e)
{
	char ip[INET6_ADDRSTRLEN];

	if (e->family == 4) {
		inet_ntop(AF_INET, &e->ip[3], ip, sizeof(ip));
		return make_text("%s:%u", ip, ntohs(e->port));
	}
	inet_ntop(AF_INET6, e->ip, ip, sizeof(ip));
	return make_text("[%s]:%u", ip, ntohs(e->port));
}

char *endpoints(const char *name)
{
	uint32_t tree;
	const struct km_cluster *c = cluster_at(name, &tree);
	char *text = make_text("%s", "");

	if (!c)
		return make_text("none");
	if (c->passthrough)
		return make_text("passthrough");
	for (uint32_t g = 0; g < (uint32_t)c->n4 + c->n6; g++) {
		uint32_t handle = group(tree, g);
		const struct km_pick *pick = fake_node(handle);
		uint32_t cum = 0;

		if (g)
			text = make_text("%s%s", text, g == c->n4 ? " || " : " | ");
		CHECK(pick->n == 1 || pick->counter);
		for (uint32_t i = 0; i < pick->n; i++) {
			const struct km_entry *e = entry(handle, i);

			text = make_text("%s%s%s=%u", text, i ? " " : "",
					 endpoint_text(fake_node(e->arg)), e->cum - cum);
			cum = e->cum;
		}
		CHECK_INT(cum, pick->total);
	}
	return text;
}

char *turns(const char *name)
{
	uint32_t tree;
	const struct km_cluster *c = cluster_at(name, &tree);
	uint32_t handle = group(tree, 0);
	const struct km_pick *pick = fake_node(handle);
	char *text = make_text("%s", "");

	CHECK(c->n4 || c->n6);
	for (uint32_t count = 0; count < pick->total; count++) {
		uint32_t p = (uint32_t)((uint64_t)count * pick->step % pick->total);
		uint32_t i = 0;

		while (entry(handle, i)->cum <= p)
			i++;
		text = make_text("%s%s%u", text, count ? " " : "", i);
	}
	return text;
}

uint32_t endpoint_handle(const char *cluster, const char *address)
{
	uint32_t tree;
	const struct km_cluster *c = cluster_at(cluster, &tree);

	for (uint32_t g = 0; c && g < (uint32_t)c->n4 + c->n6; g++) {
		const struct km_pick *pick = fake_node(group(tree, g));

		for (uint32_t i = 0; i < pick->n; i++) {
			uint32_t handle = entry(group(tree, g), i)->arg;

			if (!strcmp(endpoint_text(fake_node(handle)), address))
				return handle;
		}
	}
	return 0;
}

uint32_t counter_of(const char *cluster)
{
	uint32_t tree;
	const struct km_pick *pick;

	cluster_at(cluster, &tree);
	pick = fake_node(group(tree, 0));
	return pick->counter;
}

int port_at(uint32_t root, uint64_t generation)
{
	uint32_t tree = tree_at(KM_CLUSTER, root, generation);
	const struct km_endpoint *e;
	const struct km_head *head;

	if (tree == OVERTAKEN)
		return -1;
	if (!tree)
		return 0;
	head = fake_node(tree);
	CHECK(head->kind == KM_CLUSTER && head->root == root);
	e = fake_node(entry(group(tree, 0), 0)->arg);
	CHECK_INT(e->cluster, root);
	return ntohs(e->port);
}

int port_behind(const Core__SocketAddress *address, uint64_t generation)
{
	const struct km_listener *l;
	struct destination d;

	parse(address, &d);
	l = listener_at(&d, generation);
	return l && l->target.kind == KM_T_CLUSTER ? port_at(l->target.arg, generation) : 0;
}
