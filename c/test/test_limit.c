// SPDX-License-Identifier: Apache-2.0
/* Contract: no limit is crossed in silence; the old tree stays. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fake.h"
#include "make.h"
#include "reader.h"
#include "test.h"

#define SLAB_BYTES ((size_t)KM_SLAB_SLOTS * KM_SLOT_SIZE)

static char *long_name(char c, size_t len)
{
	char *name = test_alloc(len + 1);

	memset(name, c, len);
	return name;
}

static void long_names_are_kept_apart(void)
{
	char *x = long_name('n', KM_MAX_NAME), *y = long_name('n', KM_MAX_NAME);

	y[KM_MAX_NAME - 1] = 'm';
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(PUT(make_simple(x, "10.0.0.1:80"), make_simple(y, "10.0.0.2:80"),
		      make_tcp_listener("10.9.0.1:80", x), make_tcp_listener("10.9.0.2:80", y)),
		  0);
	CHECK_TEXT(endpoints(x), "10.0.0.1:80=1");
	CHECK_TEXT(endpoints(y), "10.0.0.2:80=1");
	CHECK_TEXT(where("10.9.0.1:80"), x);
	CHECK_TEXT(where("10.9.0.2:80"), y);
	CHECK_INT(delete_cluster(x), 0);
	CHECK_TEXT(endpoints(y), "10.0.0.2:80=1");
}

static void a_name_that_is_too_long_is_refused(void)
{
	char *name = long_name('n', KM_MAX_NAME + 1);
	Listener__Listener *l = make_listener("10.0.0.1:80");

	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put(make_cluster(name)), -ENOSPC);
	CHECK_ERROR("names longer than 1024 bytes: nnn");
	CHECK_INT(put(make_tcp_listener("10.0.0.1:80", name)), -ENOSPC);
	CHECK_ERROR("names longer than 1024 bytes: nnn");
	make_rds(make_chain(l), name);
	CHECK_INT(put(l), -ENOSPC);
	CHECK_ERROR("names longer than 1024 bytes");
	CHECK_INT(PUT(make_cluster("a"), l, make_cluster("b")), -ENOSPC);
	CHECK_INT(deserial_error_op(), 1);
	CHECK_INT(PUT(make_cluster("a"), make_cluster("b"), make_cluster(name)), -ENOSPC);
	CHECK_INT(deserial_error_op(), 2);
	CHECK_INT(delete_cluster(name), -ENOSPC);
	CHECK(!deserial_lookup_elem(name, &cluster__cluster__descriptor));
	CHECK_INT(errno, ENOSPC);
}

static void a_cluster_holds_16384_endpoints(void)
{
	struct deserial_endpoint *e = NULL;
	size_t n = 0;

	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put(make_many("a", KM_MAX_PICK, 80)), 0);
	CHECK_INT(deserial_endpoints("a", &e, &n), 0);
	CHECK_INT(n, KM_MAX_PICK);
	free(e);
	CHECK_INT(put(make_many("a", KM_MAX_PICK + 1, 80)), -ENOSPC);
	CHECK_ERROR(
		"Cluster a: load_assignment: priority 0: 16385 to choose from are more than 16384");
	CHECK_INT(deserial_endpoints("a", &e, &n), 0);
	CHECK_INT(n, KM_MAX_PICK);
	free(e);
}

static Cluster__Cluster *with_priorities(unsigned int n)
{
	Cluster__Cluster *c = make_cluster("a");

	for (unsigned int i = 0; i < n; i++)
		make_endpoint(make_locality(c, 0, i), "10.0.0.1:80", 0);
	return c;
}

static void a_cluster_holds_128_groups(void)
{
	struct deserial_endpoint *e = NULL;
	size_t n = 0;

	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put(with_priorities(KM_MAX_GROUPS)), 0);
	CHECK_INT(deserial_endpoints("a", &e, &n), 0);
	CHECK_INT(n, KM_MAX_GROUPS);
	CHECK_INT(e[n - 1].group, KM_MAX_GROUPS - 1);
	free(e);
	CHECK_INT(put(with_priorities(KM_MAX_GROUPS + 1)), -ENOSPC);
	CHECK_ERROR("Cluster a: load_assignment: more than 128 groups");
}

/* n clusters, in batches of 1000, from one on. */
static int put_clusters(unsigned int from, unsigned int n)
{
	const void **messages = test_alloc(1000 * sizeof(*messages));
	int err = 0;

	while (n && !err) {
		unsigned int part = n < 1000 ? n : 1000;

		for (unsigned int i = 0; i < part; i++)
			messages[i] = make_many(make_text("c%u", from + i), 1, 80);
		err = put_all(part, messages);
		from += part;
		n -= part;
	}
	return err;
}

static void the_store_holds_20479_clusters(void)
{
	struct deserial_stats s;

	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put_clusters(0, KM_MAX_CLUSTERS - 1), 0);
	CHECK_INT(put(make_cluster("one more")), -ENOSPC);
	CHECK_ERROR("Cluster one more: clusters, existing or referred to: all 20479 in use");
	CHECK_INT(put(make_tcp_listener("10.0.0.1:80", "another")), -ENOSPC);
	CHECK_ERROR("existing or referred to: all 20479 in use");
	CHECK_TEXT(where("10.0.0.1:80"), "pass");
	/* A place that becomes free is used. */
	CHECK_INT(delete_cluster("c7"), 0);
	CHECK_INT(put(make_cluster("one more")), 0);
	CHECK_INT(deserial_uninit(true), 0);
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(deserial_stats(&s), 0);
	CHECK_INT(s.clusters.used, KM_MAX_CLUSTERS - 1);
}

static void the_store_holds_10239_listeners(void)
{
	const void **messages = test_alloc(KM_MAX_LISTENERS * sizeof(*messages));

	for (unsigned int i = 0; i < KM_MAX_LISTENERS; i++)
		messages[i] = make_tcp_listener(make_text("10.0.%u.%u:80", i / 256, i % 256), "a");
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put_all(KM_MAX_LISTENERS - 1, messages), 0);
	CHECK_INT(put(messages[KM_MAX_LISTENERS - 1]), -ENOSPC);
	CHECK_ERROR("listeners: all 10239 in use");
	CHECK_INT(delete_listener("10.0.0.5:80"), 0);
	CHECK_INT(put(messages[KM_MAX_LISTENERS - 1]), 0);
	CHECK_TEXT(where("10.0.39.255:80"), "a");
	CHECK_TEXT(where("10.0.0.5:80"), "pass");
	CHECK_TEXT(where("10.0.0.6:80"), "a");
}

static void a_full_listener_map_is_named(void)
{
	CHECK_INT(deserial_init(), 0);
	fake.max_listeners = 2;
	CHECK_INT(PUT(make_tcp_listener("10.0.0.1:80", "a"), make_tcp_listener("10.0.0.2:80", "a")),
		  0);
	CHECK_INT(PUT(make_tcp_listener("10.0.0.3:80", "a"), make_simple("b", "10.0.0.1:80")),
		  -ENOSPC);
	CHECK_ERROR("Listener=11: add a listener");
	CHECK_INT(deserial_error_op(), -1);
	CHECK_TEXT(where("10.0.0.3:80"), "pass");
	CHECK_INT(cluster_root("b"), 0);
	CHECK_INT(fake_meta()->writing, 0);
}

static void the_store_holds_4095_routes(void)
{
	CHECK_INT(deserial_init(), 0);
	for (unsigned int i = 1; i < KM_MAX_ROUTES; i++)
		CHECK_INT(put(make_route_config(make_text("r%u", i))), 0);
	CHECK_INT(put(make_route_config("one more")), -ENOSPC);
	CHECK_ERROR("route configurations, existing or referred to: all 4095 in use");
}

static void counters_run_out_by_name(void)
{
	CHECK_INT(deserial_init(), 0);
	/* 127 groups of two a cluster. */
	for (unsigned int i = 0; i < KM_MAX_COUNTERS / 127; i++) {
		Cluster__Cluster *c = make_cluster(make_text("c%u", i));

		for (unsigned int j = 0; j < 127; j++) {
			Endpoint__LocalityLbEndpoints *l = make_locality(c, 0, j);

			make_endpoint(l, "10.0.0.1:80", 0);
			make_endpoint(l, "10.0.0.2:80", 0);
		}
		CHECK_INT(put(c), 0);
		c->name = make_text("another");
		if (i + 1 < KM_MAX_COUNTERS / 127)
			continue;
		CHECK_INT(put(c), -ENOSPC);
		CHECK_ERROR("Cluster another: load_assignment: priority");
		CHECK_ERROR("round-robin counters: all 32767 in use");
	}
	/* Those of a cluster that goes serve the next one. */
	CHECK_INT(delete_cluster("c3"), 0);
	CHECK_INT(put(make_simple("a", "10.0.0.1:80 10.0.0.2:80")), 0);
}

static void intervals_run_out_by_name(void)
{
	Route__RouteConfiguration *rc = make_route_config("80");
	Route__VirtualHost *host = make_host(rc, "*");
	Route__VirtualHost *other = make_host(rc, "10.0.0.1");

	make_route(host, "/", "rest");
	make_route(other, "/", "a");
	for (unsigned int i = 1; i < KM_MAX_RANGES / 2; i++) {
		other->domains = make_grow(other->domains, &other->n_domains, sizeof(char *));
		other->domains[i] = make_text("10.%u.%u.1", i / 250, i % 250);
	}
	CHECK_INT(deserial_init(), 0);
	/* 4095 addresses, what lies between them, and before and after. */
	CHECK_INT(put(rc), -ENOSPC);
	CHECK_ERROR("RouteConfiguration 80: 8191 intervals of addresses are more than 8190");
	other->n_domains--;
	CHECK_INT(put(rc), 0);
}

/* A cluster whose message takes about a slab. */
static Cluster__Cluster *large(unsigned int i)
{
	Cluster__Cluster *c = make_cluster(make_text("c%u", i));
	char **note = test_alloc(sizeof(*note));

	*note = long_name('x', SLAB_BYTES - 20 * KM_SLOT_SIZE);
	c->notes = note;
	c->n_notes = 1;
	return c;
}

static void slabs_run_out_by_name(void)
{
	Cluster__Cluster *c = large(0);
	struct deserial_stats s;
	unsigned int n = 0;
	int err;

	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put(make_simple("a", "10.0.0.1:80")), 0);
	do {
		c->name = make_text("c%u", n);
		err = put(c);
	} while (!err && ++n < KM_SLABS);
	CHECK_INT(err, -ENOSPC);
	CHECK_ERROR("slabs: 4095 of 4095 in use");
	CHECK(n > KM_SLABS - 300);
	CHECK_TEXT(endpoints("a"), "10.0.0.1:80=1");
	CHECK_INT(deserial_stats(&s), 0);
	CHECK_INT(s.slabs.used, KM_SPARE_SLAB);
	/* What goes makes room, after a grace period that is waited for. */
	CHECK_INT(delete_cluster("c5"), 0);
	CHECK_INT(put(c), 0);
}

static void memory_runs_out_by_name(void)
{
	struct deserial_stats before, after;

	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put(make_many("a", 1000, 80)), 0);
	fake.max_maps = 1;
	CHECK_INT(deserial_stats(&before), 0);
	CHECK_INT(put(make_many("b", 4000, 80)), -ENOMEM);
	CHECK_ERROR("Cluster b: slabs: ");
	CHECK_ERROR("of 4095 in use, create another: Cannot allocate memory");
	CHECK_INT(deserial_stats(&after), 0);
	CHECK_INT(after.slots.used, before.slots.used);
	CHECK_INT(after.generation, before.generation);
	/* Retired slots are waited for where there are no more. */
	for (unsigned int i = 0; i < 30; i++)
		CHECK_INT(put(make_many("a", 400, 80 + i)), 0);
	CHECK(fake.graces > 3);
}

static void old_kernels_without_batches_do(void)
{
	CHECK_INT(deserial_init(), 0);
	fake.no_batch = true;
	CHECK_INT(put(make_many("a", 16000, 80)), 0);
	CHECK_INT(PUT(make_tcp_listener("10.0.0.1:80", "a"), make_tcp_listener("10.0.0.2:80", "a")),
		  0);
	CHECK_INT(deserial_uninit(true), 0);
	CHECK_INT(deserial_init(), 0);
	CHECK_TEXT(where("10.0.0.2:80"), "a");
	CHECK_INT(delete_listener("10.0.0.2:80"), 0);
	CHECK_INT(deserial_uninit(true), 0);
	CHECK_INT(fake_listeners(), 1);
}

static void the_last_generation_is_not_passed(void)
{
	CHECK_INT(deserial_init(), 0);
	fake_meta()->generation = KM_GENERATION_MAX;
	CHECK_INT(put(make_cluster("a")), -EOVERFLOW);
	CHECK_ERROR("generation 1099511627775 is the last");
}

const struct test limit_tests[] = {
	TEST(long_names_are_kept_apart),
	TEST(a_name_that_is_too_long_is_refused),
	TEST(a_cluster_holds_16384_endpoints),
	TEST(a_cluster_holds_128_groups),
	TEST(the_store_holds_20479_clusters),
	TEST(the_store_holds_10239_listeners),
	TEST(a_full_listener_map_is_named),
	TEST(the_store_holds_4095_routes),
	TEST(counters_run_out_by_name),
	TEST(intervals_run_out_by_name),
	TEST(slabs_run_out_by_name),
	TEST(memory_runs_out_by_name),
	TEST(old_kernels_without_batches_do),
	TEST(the_last_generation_is_not_passed),
	TESTS_END,
};
