// SPDX-License-Identifier: Apache-2.0
/* Contract: which endpoints a cluster's connections go to, and how often. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fake.h"
#include "make.h"
#include "reader.h"
#include "test.h"

static void equal_endpoints_take_turns(void)
{
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put(make_simple("a", "10.0.0.1:80 10.0.0.2:80 10.0.0.3:80")), 0);
	CHECK_TEXT(endpoints("a"), "10.0.0.1:80=1 10.0.0.2:80=1 10.0.0.3:80=1");
	CHECK_TEXT(turns("a"), "0 1 2");
}

static void families_and_priorities_are_groups(void)
{
	Cluster__Cluster *c = make_cluster("a");
	Endpoint__LocalityLbEndpoints *late = make_locality(c, 0, 7);
	Endpoint__LocalityLbEndpoints *first = make_locality(c, 0, 0);

	make_endpoint(late, "10.0.0.9:80", 0);
	make_endpoint(late, "[2001:db8::9]:80", 0);
	make_endpoint(first, "[2001:db8::1]:80", 0);
	make_endpoint(first, "10.0.0.1:80", 0);
	make_endpoint(first, "[::ffff:10.0.0.2]:80", 0);
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put(c), 0);
	CHECK_TEXT(
		endpoints("a"),
		"10.0.0.1:80=1 10.0.0.2:80=1 | 10.0.0.9:80=1 || [2001:db8::1]:80=1 | [2001:db8::9]:80=1");
}

static void weights_are_exact(void)
{
	Cluster__Cluster *c = make_cluster("a");
	Endpoint__LocalityLbEndpoints *l = make_locality(c, 0, 0);

	make_endpoint(l, "10.0.0.1:80", 20);
	make_endpoint(l, "10.0.0.2:80", 10);
	make_endpoint(l, "10.0.0.3:80", 70);
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put(c), 0);
	CHECK_TEXT(endpoints("a"), "10.0.0.1:80=2 10.0.0.2:80=1 10.0.0.3:80=7");
	/* Well spread within the period. */
	CHECK_TEXT(turns("a"), "0 2 2 0 2 2 1 2 2 2");
}

static void localities_share_by_their_weights(void)
{
	Cluster__Cluster *c = make_cluster("a");
	Endpoint__LocalityLbEndpoints *x = make_locality(c, 3, 0);
	Endpoint__LocalityLbEndpoints *y = make_locality(c, 1, 0);
	Endpoint__LocalityLbEndpoints *z = make_locality(c, 0, 0);

	make_endpoint(x, "10.0.0.1:80", 1);
	make_endpoint(x, "10.0.0.2:80", 1);
	make_endpoint(y, "10.0.1.1:80", 2);
	make_endpoint(y, "10.0.1.2:80", 1);
	make_endpoint(z, "10.0.2.1:80", 1000);
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put(c), 0);
	/* 3/4 in halves, 1/4 in thirds, nothing without a weight. */
	CHECK_TEXT(endpoints("a"), "10.0.0.1:80=9 10.0.0.2:80=9 10.0.1.1:80=4 10.0.1.2:80=2");
}

static void without_locality_weights_endpoints_count(void)
{
	Cluster__Cluster *c = make_cluster("a");

	make_endpoint(make_locality(c, 0, 0), "10.0.0.1:80", 3);
	make_endpoint(make_locality(c, 0, 0), "10.0.0.2:80", 0);
	/* A weight in another priority says nothing here. */
	make_endpoint(make_locality(c, 5, 1), "10.0.0.3:80", 0);
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put(c), 0);
	CHECK_TEXT(endpoints("a"), "10.0.0.1:80=3 10.0.0.2:80=1 | 10.0.0.3:80=1");
}

static void a_priority_without_shares_is_no_group(void)
{
	Cluster__Cluster *c = make_cluster("a");

	make_endpoint(make_locality(c, 0, 0), "10.0.0.1:80", 0);
	make_locality(c, 2, 0);
	make_endpoint(make_locality(c, 0, 1), "10.0.0.2:80", 0);
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put(c), 0);
	CHECK_TEXT(endpoints("a"), "10.0.0.2:80=1");
}

static void an_address_twice_adds_up(void)
{
	Cluster__Cluster *c = make_cluster("a");
	Endpoint__LocalityLbEndpoints *l = make_locality(c, 0, 0);

	make_endpoint(l, "10.0.0.1:80", 2);
	make_endpoint(l, "10.0.0.2:80", 1);
	make_endpoint(l, "10.0.0.1:80", 3);
	make_endpoint(make_locality(c, 0, 1), "10.0.0.1:80", 0);
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put(c), 0);
	CHECK_TEXT(endpoints("a"), "10.0.0.1:80=5 10.0.0.2:80=1 | 10.0.0.1:80=1");
	/* One node for both groups; it goes when the cluster goes. */
	CHECK_INT(delete_cluster("a"), 0);
	CHECK_INT(put(c), 0);
	c->load_assignment->n_endpoints = 1;
	CHECK_INT(put(c), 0);
	CHECK_TEXT(endpoints("a"), "10.0.0.1:80=5 10.0.0.2:80=1");
}

static void large_weights_keep_their_proportion(void)
{
	Cluster__Cluster *c = make_cluster("a");
	Endpoint__LocalityLbEndpoints *x = make_locality(c, 4294967295u, 0);
	Endpoint__LocalityLbEndpoints *y = make_locality(c, 4294967291u, 0);
	struct deserial_endpoint *e;
	size_t n;

	make_endpoint(x, "10.0.0.1:80", 4294967279u);
	make_endpoint(x, "10.0.0.2:80", 1);
	make_endpoint(y, "10.0.0.3:80", 4294967291u);
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put(c), 0);
	CHECK_INT(deserial_endpoints("a", &e, &n), 0);
	if (CHECK_INT(n, 3)) {
		CHECK(e[0].total < 1u << 31);
		/* Half each within a millionth, and nobody gets nothing. */
		CHECK(llabs(2ll * e[0].weight - e[0].total) < e[0].total / 1000000);
		CHECK(e[1].weight >= 1);
	}
	free(e);
}

static void unhealthy_and_unresolved_take_nothing(void)
{
	Cluster__Cluster *c = make_cluster("a");
	Endpoint__LocalityLbEndpoints *l = make_locality(c, 0, 0);

	make_endpoint(l, "10.0.0.1:80", 0)->unhealthy = true;
	make_endpoint(l, "10.0.0.2:80", 0)->address->protocol = CORE__SOCKET_ADDRESS__PROTOCOL__UDP;
	make_endpoint(l, "10.0.0.3:80", 0)->unresolved = make_text("db.local");
	make_endpoint(make_locality(c, 0, 1), "10.0.0.4:80", 0);
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put(c), 0);
	CHECK_TEXT(endpoints("a"), "10.0.0.4:80=1");
	c->load_assignment->n_endpoints = 1;
	CHECK_INT(put(c), 0);
	CHECK_TEXT(endpoints("a"), "");
}

static void original_destination_is_left_alone(void)
{
	Cluster__Cluster *c = make_simple("a", "10.0.0.1:80");

	c->discovery_type = CLUSTER__CLUSTER__DISCOVERY_TYPE__ORIGINAL_DST;
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put(c), 0);
	CHECK_TEXT(endpoints("a"), "passthrough");
	c->discovery_type = CLUSTER__CLUSTER__DISCOVERY_TYPE__EDS;
	CHECK_INT(put(c), 0);
	CHECK_TEXT(endpoints("a"), "10.0.0.1:80=1");
	c->passthrough = true;
	CHECK_INT(put(c), 0);
	CHECK_TEXT(endpoints("a"), "passthrough");
}

static void counts_outlive_a_push(void)
{
	struct km_endpoint *e;
	struct km_endpoint_stats *counted;
	uint32_t handle, counter;

	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put(make_simple("a", "10.0.0.1:80 10.0.0.2:80")), 0);
	handle = endpoint_handle("a", "10.0.0.2:80");
	counter = counter_of("a");
	e = fake_node(handle);
	counted = fake_node(handle + 1);
	e->active = 3;
	e->ejected_until = 77;
	e->level = 2;
	e->fails = 4;
	counted->ok = 9;

	CHECK_INT(put(make_simple("a", "10.0.0.7:80 10.0.0.2:80 10.0.0.3:80")), 0);
	CHECK_INT(endpoint_handle("a", "10.0.0.2:80"), handle);
	CHECK_INT(counter_of("a"), counter);
	CHECK(e->active == 3 && e->ejected_until == 77 && e->level == 2 && e->fails == 4 &&
	      counted->ok == 9);
	e = fake_node(endpoint_handle("a", "10.0.0.3:80"));
	CHECK(!e->active && !e->ejected_until && e->id);

	/* Gone and back again is another endpoint. */
	CHECK_INT(put(make_simple("a", "10.0.0.7:80")), 0);
	CHECK_INT(put(make_simple("a", "10.0.0.7:80 10.0.0.2:80")), 0);
	e = fake_node(endpoint_handle("a", "10.0.0.2:80"));
	CHECK(!e->active && !e->fails);
}

static void ids_are_given_out_once(void)
{
	uint32_t last = 0;

	CHECK_INT(deserial_init(), 0);
	fake_meta()->next_id = UINT32_MAX - 2;
	for (int i = 0; i < 8; i++) {
		const struct km_endpoint *e;

		CHECK_INT(put(make_many("a", 1, 8000 + (unsigned int)i)), 0);
		e = fake_node(endpoint_handle("a", make_text("10.0.0.0:%d", 8000 + i)));
		CHECK(e->id && e->id != last);
		last = e->id;
	}
}

static void weights_of_kept_endpoints_follow(void)
{
	Cluster__Cluster *c = make_cluster("a");
	Endpoint__LocalityLbEndpoints *l = make_locality(c, 0, 0);
	const struct km_endpoint *e;

	make_endpoint(l, "10.0.0.1:80", 1);
	make_endpoint(l, "10.0.0.2:80", 1);
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put(c), 0);
	l->lb_endpoints[1]->load_balancing_weight = 5;
	CHECK_INT(put(c), 0);
	e = fake_node(endpoint_handle("a", "10.0.0.2:80"));
	CHECK_INT(e->weight, 5);
}

static void a_refused_batch_leaves_weights(void)
{
	Cluster__Cluster *c = make_simple("a", "10.0.0.1:80 10.0.0.2:80");
	const struct km_endpoint *e;

	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put(c), 0);
	c->load_assignment->endpoints[0]->lb_endpoints[1]->load_balancing_weight = 5;
	CHECK_INT(PUT(c, make_simple("b", "0.0.0.0:80")), -EINVAL);
	e = fake_node(endpoint_handle("a", "10.0.0.2:80"));
	CHECK_INT(e->weight, 1);
}

static void what_connects_saw_can_be_asked_for(void)
{
	struct km_endpoint_stats *counted;
	struct deserial_endpoint *e;
	size_t n;

	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put(make_simple("a", "10.0.0.1:80 [2001:db8::1]:443")), 0);
	counted = fake_node(endpoint_handle("a", "[2001:db8::1]:443") + 1);
	counted->ok = 2;
	counted->latency_ns = 3000;
	counted->timeouts = 4;
	CHECK_INT(deserial_endpoints("a", &e, &n), 0);
	if (CHECK_INT(n, 2)) {
		CHECK(e[0].family == 4 && e[0].port == 80 && e[0].ip[15] == 1);
		CHECK(e[1].family == 6 && e[1].port == 443 && e[1].ok == 2 &&
		      e[1].latency_ns == 3000 && e[1].timeouts == 4 && e[1].group == 0 &&
		      e[1].weight == 1 && e[1].total == 1);
	}
	free(e);
	CHECK_INT(deserial_endpoints("b", &e, &n), -ENOENT);
	CHECK_ERROR("Cluster b: not there");
}

static void clusters_sum_their_endpoints(void)
{
	Cluster__Cluster *c = make_simple("a", "10.0.0.1:80 10.0.0.2:80");
	struct km_endpoint_stats *counted;
	struct deserial_service *s;
	struct km_endpoint *e;
	size_t n;
	char name[KM_MAX_NAME + 1];

	/* One node in two groups counts once. */
	make_endpoint(make_locality(c, 0, 1), "10.0.0.1:80", 0);
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put(c), 0);
	CHECK_INT(put(make_simple("other", "10.0.0.1:80")), 0);
	for (int i = 1; i <= 2; i++) {
		char address[] = "10.0.0.1:80";
		uint32_t handle;

		address[7] = (char)('0' + i);
		handle = endpoint_handle("a", address);
		e = fake_node(handle);
		counted = fake_node(handle + 1);
		e->ejected_until = 100 * i;
		e->active = i;
		counted->ok = 10 * i;
		counted->latency_ns = 1000 * i;
		counted->refused = 2 * i;
		counted->timeouts = 3 * i;
		counted->errors = 4 * i;
		counted->ejections = 5 * i;
	}
	CHECK_INT(deserial_services(150, &s, &n), 0);
	if (CHECK_INT(n, 2)) {
		const struct deserial_service *a = s[0].name_len == 1 ? &s[0] : &s[1];

		CHECK(a->name_len == 1 && a->name[0] == 'a' && a->endpoints == 2);
		CHECK(a->ejected == 1 && a->active == 3 && a->ok == 30 && a->latency_ns == 3000);
		CHECK(a->refused == 6 && a->timeouts == 9 && a->errors == 12 && a->ejections == 15);
		a = a == s ? s + 1 : s;
		CHECK(a->name_len == 5 && !memcmp(a->name, "other", 5) && a->endpoints == 1 &&
		      !a->ok && !a->ejected);
	}
	free(s);
	CHECK_INT(deserial_cluster_name(cluster_root("other"), name, sizeof(name)), 0);
	CHECK_TEXT(name, "other");
	CHECK_INT(deserial_cluster_name(KM_MAX_CLUSTERS, name, sizeof(name)), -ENOENT);
	CHECK_INT(delete_cluster("a"), 0);
	CHECK_INT(delete_cluster("other"), 0);
	CHECK_INT(deserial_services(150, &s, &n), 0);
	CHECK_INT(n, 0);
	free(s);
}

static void bad_endpoints_are_refused(void)
{
	static const struct {
		const char *address;
		unsigned int port;
		const char *words;
	} bad[] = {
		{ "10.0.0.1:0", 0, "port: 0 is no port" },
		{ "10.0.0.1:1", 65536, "port: 65536 is no port" },
		{ "0.0.0.0:80", 20480, "zero address" },
		{ "[::]:80", 20480, "zero address" },
	};

	CHECK_INT(deserial_init(), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		Cluster__Cluster *c = make_simple("a", "10.0.0.9:80");
		Endpoint__LocalityLbEndpoints *l = make_locality(c, 0, 0);

		make_endpoint(l, bad[i].address, 0)->address->port = bad[i].port;
		CHECK_INT(put(c), -EINVAL);
		CHECK_ERROR("Cluster a: load_assignment.endpoints[1].lb_endpoints[0]: address");
		CHECK_ERROR(bad[i].words);
		l->lb_endpoints[0]->address = NULL;
		CHECK_INT(put(c), -EINVAL);
		CHECK_ERROR("address: missing");
	}
	CHECK_TEXT(endpoints("a"), "none");
}

static void every_count_of_endpoints_fits(void)
{
	CHECK_INT(deserial_init(), 0);
	for (unsigned int n = 0; n < 70; n++) {
		struct deserial_endpoint *e;
		size_t got;

		CHECK_INT(put(make_many("a", n, 80 + n)), 0);
		CHECK_INT(deserial_endpoints("a", &e, &got), 0);
		CHECK_INT(got, n);
		for (unsigned int i = 0; i < n && i < got; i++)
			CHECK(e[i].ip[15] == i && e[i].weight == 1 && e[i].total == n);
		free(e);
		endpoints("a");
	}
}

const struct test cluster_tests[] = {
	TEST(equal_endpoints_take_turns),
	TEST(families_and_priorities_are_groups),
	TEST(weights_are_exact),
	TEST(localities_share_by_their_weights),
	TEST(without_locality_weights_endpoints_count),
	TEST(a_priority_without_shares_is_no_group),
	TEST(an_address_twice_adds_up),
	TEST(large_weights_keep_their_proportion),
	TEST(unhealthy_and_unresolved_take_nothing),
	TEST(original_destination_is_left_alone),
	TEST(counts_outlive_a_push),
	TEST(ids_are_given_out_once),
	TEST(weights_of_kept_endpoints_follow),
	TEST(a_refused_batch_leaves_weights),
	TEST(what_connects_saw_can_be_asked_for),
	TEST(clusters_sum_their_endpoints),
	TEST(bad_endpoints_are_refused),
	TEST(every_count_of_endpoints_fits),
	TESTS_END,
};
