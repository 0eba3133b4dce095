// SPDX-License-Identifier: Apache-2.0
/* Contract: a batch is seen whole or not at all, and leaves nothing behind. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fake.h"
#include "make.h"
#include "reader.h"
#include "test.h"

static struct deserial_stats stats(void)
{
	struct deserial_stats s = { 0 };

	CHECK_INT(deserial_stats(&s), 0);
	return s;
}

static void references_within_a_batch_resolve(void)
{
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(PUT(make_tcp_listener("10.0.0.1:80", "a"), make_simple("a", "10.1.0.1:80")), 0);
	CHECK_TEXT(where("10.0.0.1:80"), "a");
	CHECK_TEXT(endpoints("a"), "10.1.0.1:80=1");
	CHECK_INT(fake_meta()->generation, 1);
	CHECK_INT(fake_meta()->writing, 0);
}

static void a_cluster_that_comes_later_is_used(void)
{
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put(make_tcp_listener("10.0.0.1:80", "a")), 0);
	CHECK_TEXT(where("10.0.0.1:80"), "a");
	CHECK_TEXT(endpoints("a"), "none");
	CHECK_INT(stats().cluster_references, 1);
	CHECK_INT(put(make_simple("a", "10.1.0.1:80")), 0);
	CHECK_TEXT(endpoints("a"), "10.1.0.1:80=1");
	CHECK_INT(stats().cluster_references, 0);
	CHECK_INT(delete_cluster("a"), 0);
	CHECK_TEXT(endpoints("a"), "none");
	CHECK_TEXT(where("10.0.0.1:80"), "a");
	CHECK(!deserial_lookup_elem("a", &cluster__cluster__descriptor));
	CHECK_INT(errno, ENOENT);
	CHECK_INT(delete_cluster("a"), -ENOENT);
}

static void the_last_one_for_a_key_wins(void)
{
	struct deserial_op ops[] = {
		{ .value = make_simple("a", "10.0.0.1:80") },
		{ .value = make_simple("a", "10.0.0.2:80") },
		{ .value = make_simple("b", "10.0.0.3:80") },
		{ .op = DESERIAL_DELETE, .key = "b", .descriptor = &cluster__cluster__descriptor },
		{ .op = DESERIAL_DELETE, .key = "c", .descriptor = &cluster__cluster__descriptor },
		{ .value = make_simple("c", "10.0.0.4:80") },
		{ .value = make_tcp_listener("10.0.0.1:80", "x") },
		{ .op = DESERIAL_DELETE, .value = make_tcp_listener("10.0.0.1:80", "x") },
	};

	CHECK_INT(deserial_init(), 0);
	CHECK_INT(deserial_update_batch(ops, 8), 0);
	CHECK_TEXT(endpoints("a"), "10.0.0.2:80=1");
	CHECK_TEXT(endpoints("b"), "none");
	CHECK_TEXT(endpoints("c"), "10.0.0.4:80=1");
	CHECK_TEXT(where("10.0.0.1:80"), "pass");
	CHECK_INT(fake_listeners(), 0);
	CHECK_INT(stats().clusters.used, 2);
	CHECK_INT(stats().listeners.used, 0);
	/* And once more: what is there wins over what came in between. */
	CHECK_INT(deserial_update_batch(ops, 8), 0);
	CHECK_INT(fake_meta()->generation, 1);
	CHECK_TEXT(endpoints("a"), "10.0.0.2:80=1");
}

static void what_is_there_already_is_not_published(void)
{
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(PUT(make_simple("a", "10.0.0.1:80"), make_tcp_listener("10.0.0.1:80", "a")), 0);
	CHECK_INT(PUT(make_simple("a", "10.0.0.1:80"), make_tcp_listener("10.0.0.1:80", "a")), 0);
	CHECK_INT(fake_meta()->generation, 1);
	CHECK_INT(deserial_update_batch(NULL, 0), 0);
	CHECK_INT(fake_meta()->generation, 1);
	CHECK_INT(PUT(make_simple("a", "10.0.0.1:80"), make_tcp_listener("10.0.0.1:80", "b")), 0);
	CHECK_INT(fake_meta()->generation, 2);
}

static void one_bad_resource_rejects_all(void)
{
	struct deserial_stats before, after;
	Cluster__Cluster *bad = make_simple("bad", "10.0.0.1:80");

	CHECK_INT(deserial_init(), 0);
	CHECK_INT(PUT(make_simple("a", "10.0.0.1:80"), make_tcp_listener("10.0.0.1:80", "a")), 0);
	before = stats();
	make_endpoint(make_locality(bad, 0, 0), "0.0.0.0:80", 0);
	CHECK_INT(PUT(make_simple("a", "10.0.0.2:80"), make_cluster("new"),
		      make_tcp_listener("10.0.0.1:80", "b"), make_tcp_listener("10.0.0.2:80", "c"),
		      bad),
		  -EINVAL);
	after = stats();
	CHECK_INT(after.slots.used, before.slots.used);
	CHECK_INT(after.slots_free, before.slots_free);
	CHECK_INT(after.generation, before.generation);
	CHECK_INT(after.clusters.used, before.clusters.used);
	CHECK_INT(after.cluster_references, before.cluster_references);
	CHECK_TEXT(endpoints("a"), "10.0.0.1:80=1");
	CHECK_TEXT(where("10.0.0.1:80"), "a");
	CHECK_TEXT(where("10.0.0.2:80"), "pass");
	CHECK_INT(fake_listeners(), 1);
	CHECK_INT(cluster_root("new"), 0);
	CHECK_INT(cluster_root("b"), 0);
}

static void everything_is_listed(void)
{
	struct element_list_node *head;
	unsigned int n = 0, seen = 0;

	CHECK_INT(deserial_init(), 0);
	CHECK(!deserial_lookup_all_elems(&cluster__cluster__descriptor));
	CHECK_INT(errno, 0);
	for (unsigned int i = 0; i < 100; i++)
		CHECK_INT(put(make_many(make_text("c%u", i), i, 80)), 0);
	head = deserial_lookup_all_elems(&cluster__cluster__descriptor);
	for (struct element_list_node *e = head; e; e = e->next) {
		Cluster__Cluster *c = e->elem;

		n++;
		seen += (unsigned int)atoi(c->name + 1);
		CHECK_INT(c->load_assignment->endpoints[0]->n_lb_endpoints, atoi(c->name + 1));
	}
	deserial_free_elem_list(head);
	CHECK_INT(n, 100);
	CHECK_INT(seen, 4950);
}

/* Everything that a store can hold, in one shape or another. */
static int put_something(unsigned int variant)
{
	const char *a = make_text("a%u", variant % 5);
	Route__RouteConfiguration *rc = make_route_config(make_text("r%u", variant % 3));
	Listener__Listener *l = make_listener(make_text("0.0.0.0:%u", 80 + variant % 4));
	Listener__FilterChain *chain = make_chain(l);

	make_route(make_host(rc, make_text("10.0.0.%u", variant % 200)), "/",
		   make_text("%s=1 b=%u", a, 1 + variant % 9));
	make_route(make_host(rc, "*"), "/", "c=1 d=2");
	make_prefix(chain, "10.0.0.0/8");
	make_inline(chain, rc);
	chain = make_chain(l);
	make_prefix(chain, "10.1.0.0/16");
	make_rds(chain, rc->name);
	make_tcp_weighted(make_default(l), "x=2 y=3");
	return PUT(make_many(a, variant % 40, 80 + variant % 7), make_many("b", variant % 11, 80),
		   rc, l);
}

static void nothing_is_lost(void)
{
	uint64_t used = 0;

	CHECK_INT(deserial_init(), 0);
	for (unsigned int i = 0; i < 500; i++) {
		CHECK_INT(put_something(i), 0);
		if (i % 50)
			continue;
		/* What a walk finds is what was in use before it. */
		used = stats().slots.used;
		CHECK_INT(deserial_uninit(true), 0);
		CHECK_INT(deserial_init(), 0);
		CHECK_INT(stats().slots.used, used);
	}
	CHECK_INT(deserial_uninit(false), 0);
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(stats().slots.used, 1);
	CHECK_INT(stats().counters.used, 0);
	CHECK_INT(stats().cluster_references, 0);
	CHECK_INT(fake_listeners(), 0);
	for (int i = 0; i < 1024; i++)
		CHECK(!fake_ports()[i].exact && !fake_ports()[i].wildcard);
}

/* 40 000 trees of 44 slots are 430 slabs. With 128 slabs' worth on their way back a
 * publication waits for them instead of growing, however slow the readers are. */
static void retired_slots_come_back_without_growing(void)
{
	CHECK_INT(deserial_init(), 0);
	for (unsigned int i = 0; i < 40000; i++)
		CHECK_INT(put(make_many("a", 20, 80 + i % 2)), 0);
	CHECK(stats().slabs.used <= 200);
}

static void a_gone_listener_leaves_its_entry_after_a_grace_period(void)
{
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put(make_tcp_listener("10.0.0.1:80", "a")), 0);
	CHECK_INT(delete_listener("10.0.0.1:80"), 0);
	/* A connect that began before may look for it still. */
	CHECK_INT(fake_listeners(), 1);
	CHECK(fake_ports()[1].exact);
	CHECK_INT(deserial_uninit(true), 0);
	CHECK_INT(fake_listeners(), 0);
	CHECK(!fake_ports()[1].exact);
}

static void a_grace_period_is_not_waited_for_on_the_way(void)
{
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put(make_simple("a", "10.0.0.1:80")), 0);
	fake.graces = 0;
	for (unsigned int i = 0; i < 20; i++)
		CHECK_INT(put(make_many("a", 2, 80 + i)), 0);
	CHECK_INT(fake.graces, 0);
}

/* What was made from one version is not published over another. */
static void a_batch_for_another_version_changes_nothing(void)
{
	const struct deserial_op one = { .value = make_simple("a", "10.0.0.1:80") };
	const struct deserial_op other = { .value = make_simple("a", "10.0.0.2:80") };
	struct deserial_version at, old;

	CHECK_INT(deserial_version(&at), -ENODEV);
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(deserial_version(&at), 0);
	CHECK_INT(at.generation, 0);
	old = at;
	CHECK_INT(deserial_update_batch_at(&one, 1, &at), 0);
	CHECK_INT(at.generation, 1);
	CHECK_INT(deserial_update_batch_at(&one, 1, &at), 0);
	CHECK_INT(at.generation, 1);
	CHECK_INT(deserial_update_batch_at(&other, 1, &old), -EAGAIN);
	CHECK_ERROR("generation 1, not 0");
	old = at;
	old.maps++;
	CHECK_INT(deserial_update_batch_at(&other, 1, &old), -EAGAIN);
	CHECK_TEXT(endpoints("a"), "10.0.0.1:80=1");
	CHECK_INT(fake_meta()->generation, 1);
	CHECK_INT(deserial_update_batch_at(&other, 1, &at), 0);
	CHECK_TEXT(endpoints("a"), "10.0.0.2:80=1");
}

const struct test batch_tests[] = {
	TEST(references_within_a_batch_resolve),
	TEST(a_cluster_that_comes_later_is_used),
	TEST(the_last_one_for_a_key_wins),
	TEST(what_is_there_already_is_not_published),
	TEST(a_batch_for_another_version_changes_nothing),
	TEST(one_bad_resource_rejects_all),
	TEST(everything_is_listed),
	TEST(nothing_is_lost),
	TEST(retired_slots_come_back_without_growing),
	TEST(a_gone_listener_leaves_its_entry_after_a_grace_period),
	TEST(a_grace_period_is_not_waited_for_on_the_way),
	TESTS_END,
};
