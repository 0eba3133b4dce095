// SPDX-License-Identifier: Apache-2.0
/* Contract: pushes without end take no more than the first ones did. */
#include <stdio.h>
#include <unistd.h>

#include "fake.h"
#include "make.h"
#include "reader.h"
#include "test.h"

#define NAMES 40u
#define PUSHES 6000u
#define WARM_UP 1500u
/* With fewer slots retired nothing is waited for. */
#define RETIRED 512u

/* Names come and go, and so do addresses; what stays gets other endpoints, in
 * another number. */
static int push(unsigned int i)
{
	char *cluster = make_text("cluster-%u", i % NAMES);
	char *old = make_text("cluster-%u", (i + NAMES / 2) % NAMES);
	char *address = make_text("10.0.%u.%u:80", i % 7, 1 + i % 200);
	char *gone = make_text("10.0.%u.%u:80", (i - 90) % 7, 1 + (i - 90) % 200);
	char *name = make_text("route-%u", i % 11);
	Route__RouteConfiguration *route = make_route_config(name);
	Listener__Listener *listener = make_listener(address);
	const struct deserial_op ops[] = {
		{ .value = make_many(cluster, 1 + i % 30, 1 + i % 60000) },
		{ .op = DESERIAL_DELETE, .key = old, .descriptor = &cluster__cluster__descriptor },
		{ .value = route },
		{ .value = listener },
		{ .op = DESERIAL_DELETE,
		  .key = make_address(gone),
		  .descriptor = &listener__listener__descriptor },
	};

	make_route(make_host(route, "*"), "/",
		   i % 3 ? cluster : make_text("%s=3 %s=1", cluster, old));
	make_rds(make_chain(listener), name);
	return deserial_update_batch(ops, i < 90 ? 4 : 5);
}

/* Gives the thread that waits for readers the time it needs. Pushes that are faster than
 * it, on a busy machine, may take up to 32 MB more instead of waiting. */
static struct deserial_stats settled(void)
{
	struct deserial_stats s = { 0 };

	CHECK_INT(deserial_stats(&s), 0);
	for (int i = 0; i < 50000 && s.slots_pending >= RETIRED; i++) {
		usleep(200);
		CHECK_INT(deserial_stats(&s), 0);
	}
	CHECK(s.slots_pending < RETIRED);
	return s;
}

static struct deserial_stats after(unsigned int from, unsigned int to)
{
	struct deserial_stats s = { 0 };

	for (unsigned int i = from; i < to && !test_failed(); i++) {
		CHECK_INT(push(i), 0);
		s = settled();
	}
	return s;
}

static void pushes_without_end_take_no_more(void)
{
	struct deserial_stats early, late;

	CHECK_INT(deserial_init(), 0);
	/* Ids of endpoints begin anew on the way. */
	fake_meta()->next_id = KM_ENDPOINT_ID - 20000;
	early = after(0, WARM_UP);
	late = after(WARM_UP, PUSHES);
	CHECK_INT(late.generation, PUSHES);
	CHECK(fake_meta()->next_id > KM_ENDPOINT_ID);
	CHECK_INT(late.slabs.used, early.slabs.used);
	CHECK_INT(late.descriptors, early.descriptors);
	CHECK(late.listeners.used <= 100 && late.clusters.used <= NAMES);
	CHECK_INT(late.routes.used, 11);
	CHECK(late.counters.used <= NAMES + 11);
	CHECK(late.cluster_references <= NAMES);
	/* Nothing is lost: all that is taken is what a store that opens anew finds. */
	CHECK_INT(deserial_uninit(true), 0);
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(deserial_stats(&early), 0);
	CHECK_INT(late.slots.used, early.slots.used);
	CHECK_INT(late.clusters.used, early.clusters.used);
	CHECK_INT(late.cluster_references, early.cluster_references);
}

const struct test churn_tests[] = {
	TEST(pushes_without_end_take_no_more),
	TESTS_END,
};
