// SPDX-License-Identifier: Apache-2.0
/* Contract: maps that hold nonsense are refused by name, never followed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fake.h"
#include "make.h"
#include "reader.h"
#include "test.h"

/* A store with every kind of node, closed again. */
static void fill(void)
{
	Route__RouteConfiguration *rc = make_route_config("r");
	Listener__Listener *l = make_listener("0.0.0.0:80");
	Listener__FilterChain *chain = make_chain(l);

	make_route(make_host(rc, "10.0.0.1"), "/", "a=1 b=2");
	make_route(make_host(rc, "*"), "/", "c");
	make_prefix(chain, "10.0.0.0/8");
	make_inline(chain, rc);
	make_rds(make_default(l), "r");
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(PUT(make_many("a", 20, 80), rc, l), 0);
	CHECK_INT(deserial_uninit(true), 0);
}

static void *tree_of(enum km_kind kind, uint32_t root)
{
	return fake_node(fake_roots(kind)[root].cur & KM_HANDLE_MASK);
}

static void refused(const char *words)
{
	CHECK_INT(deserial_init(), -EUCLEAN);
	CHECK_ERROR("is damaged");
	CHECK_ERROR(words);
	CHECK_INT(fake.open, 0);
	CHECK_INT(fake.mapped, 0);
}

static void handles_out_of_range(void)
{
	fill();
	fake_roots(KM_CLUSTER)[1].cur = 1ull << KM_HANDLE_BITS | 0xfffffe;
	refused("Cluster root 1");
}

static void a_tree_of_another_root(void)
{
	fill();
	fake_roots(KM_CLUSTER)[9].cur = fake_roots(KM_CLUSTER)[1].cur;
	refused("Cluster root 9");
	fake_roots(KM_CLUSTER)[9].cur = fake_roots(KM_ROUTE)[1].cur;
	refused("Cluster root 9");
}

static void a_message_without_end(void)
{
	struct km_chunk *chunk;
	struct km_head *head;

	fill();
	head = tree_of(KM_CLUSTER, 1);
	chunk = fake_node(head->wire);
	chunk->next = head->wire;
	refused("Cluster root 1");
	chunk->next = 0;
	chunk->len = 0;
	refused("message");
	chunk->len = UINT32_MAX;
	refused("message");
	chunk->len = head->wire_len - 1;
	refused("message ends early");
	chunk->len = head->wire_len;
	CHECK_INT(deserial_init(), 0);
}

static void choices_that_are_none(void)
{
	struct km_cluster *c;
	struct km_pick *pick;
	uint32_t handle;

	fill();
	c = tree_of(KM_CLUSTER, cluster_root("a"));
	handle = c->groups[0];
	pick = fake_node(handle);
	pick->n = UINT32_MAX;
	refused("choice");
	pick->n = 0;
	refused("choice");
	pick->n = 20;
	pick->counter = KM_MAX_COUNTERS;
	refused("choice");
	pick->counter = 1;
	pick->entries[1].cum = 1;
	refused("choice");
	pick->entries[1].cum = 2;
	pick->entries[1].arg = 0;
	refused("endpoint");
	pick->entries[1].arg = handle;
	refused("endpoint");
	pick->entries[1].arg = pick->entries[0].arg + 1;
	refused("endpoint");
	c->n4 = 60000;
	refused("cluster");
	c->n4 = 1;
	c->groups[0] = 0;
	refused("choice");
}

static void ranges_in_a_circle(void)
{
	struct km_listener *l;
	struct km_ranges *ranges;
	struct km_range *entries;

	fill();
	l = tree_of(KM_LISTENER, 1);
	CHECK_INT(l->target.kind, KM_T_RANGES);
	ranges = fake_node(l->target.arg);
	entries = (struct km_range *)(ranges + 1);
	for (uint32_t i = 0; i < ranges->n; i++) {
		entries[i].target.kind = KM_T_RANGES;
		entries[i].target.arg = l->target.arg;
	}
	refused("Listener root 1");
	entries[0].target.kind = 77;
	refused("unknown target kind 77");
	ranges->n = KM_MAX_RANGES + 1;
	refused("ranges");
	l->target.kind = KM_T_CLUSTER;
	l->target.arg = KM_MAX_CLUSTERS;
	refused("reference to root 20480");
}

static void names_that_are_none(void)
{
	struct km_name *name;
	struct km_root *roots;
	uint32_t a, b;

	fill();
	roots = fake_roots(KM_CLUSTER);
	a = cluster_root("a");
	b = cluster_root("b");
	name = fake_node(roots[a].name);
	name->len = 0;
	refused("its name is not one");
	name->len = 1;
	name->data[0] = 'b';
	refused("its name is another's");
	roots[a].name = roots[b].name;
	refused("its name is not one");
}

static void two_listeners_of_one_address(void)
{
	struct km_listener *l;

	CHECK_INT(deserial_init(), 0);
	CHECK_INT(PUT(make_tcp_listener("10.0.0.1:80", "a"), make_tcp_listener("10.0.0.2:80", "a")),
		  0);
	CHECK_INT(deserial_uninit(true), 0);
	l = tree_of(KM_LISTENER, 2);
	l->addr = ((struct km_listener *)tree_of(KM_LISTENER, 1))->addr;
	refused("its address is another's");
}

static void words_newer_than_the_commit(void)
{
	fill();
	fake_roots(KM_CLUSTER)[1].cur = 5ull << KM_HANDLE_BITS;
	fake_roots(KM_CLUSTER)[1].prev = 4ull << KM_HANDLE_BITS;
	refused("newer than what was committed");
}

static void too_many_slabs(void)
{
	fill();
	fake_meta()->slabs = KM_SLABS;
	CHECK_INT(deserial_init(), -EUCLEAN);
	CHECK_ERROR("4096 slabs");
	fake_meta()->slabs = 40;
	CHECK_INT(deserial_init(), -ENOENT);
	CHECK_ERROR("look up slab");
}

static void any_byte_may_be_wrong(void)
{
	uint8_t *slab;

	srand(3);
	fill();
	slab = fake_node(1);
	for (int i = 0; i < 3000; i++) {
		uint32_t at = (uint32_t)rand() % (60 * KM_SLOT_SIZE);
		uint8_t was = slab[at];

		slab[at] ^= (uint8_t)(1 + rand() % 255);
		if (!deserial_init()) {
			struct element_list_node *all =
				deserial_lookup_all_elems(&cluster__cluster__descriptor);

			deserial_free_elem_list(all);
			CHECK_INT(deserial_uninit(true), 0);
		}
		slab[at] = was;
	}
	CHECK_INT(deserial_init(), 0);
}

/* Entries of km_listener that no listener has are taken out, others put back. */
static void entries_are_put_in_order(void)
{
	struct km_addr stray = { .port = 7 };
	uint32_t handle = 300;
	int fd;

	CHECK_INT(deserial_init(), 0);
	CHECK_INT(PUT(make_tcp_listener("10.0.0.1:80", "a"), make_tcp_listener("10.0.0.2:80", "a")),
		  0);
	CHECK_INT(deserial_uninit(true), 0);
	fd = fake_fd(FAKE_LISTENER);
	CHECK_INT(kernel.map_update(fd, &stray, &handle), 0);
	stray.port = 9;
	handle = 1;
	CHECK_INT(kernel.map_update(fd, &stray, &handle), 0);
	CHECK_INT(kernel.map_delete(fd, &((struct km_listener *)tree_of(KM_LISTENER, 2))->addr), 0);
	fake_close(fd);
	fake_ports()[1].exact = 0;
	fake_ports()[100].wildcard = 1;

	CHECK_INT(deserial_init(), 0);
	CHECK_TEXT(where("10.0.0.1:80"), "a");
	CHECK_TEXT(where("10.0.0.2:80"), "a");
	CHECK_INT(put(make_tcp_listener("10.0.0.3:80", "a")), 0);
	CHECK_INT(fake_listeners(), 3);
	CHECK_INT(fake_ports()[100].wildcard, 0);
}

const struct test rebuild_tests[] = {
	TEST(handles_out_of_range),
	TEST(a_tree_of_another_root),
	TEST(a_message_without_end),
	TEST(choices_that_are_none),
	TEST(ranges_in_a_circle),
	TEST(names_that_are_none),
	TEST(two_listeners_of_one_address),
	TEST(words_newer_than_the_commit),
	TEST(too_many_slabs),
	TEST(any_byte_may_be_wrong),
	TEST(entries_are_put_in_order),
	TESTS_END,
};
