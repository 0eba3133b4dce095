// SPDX-License-Identifier: Apache-2.0
/*
 * Contract: a writer that dies between any two of its stores leaves everything
 * old or everything new, for those who read and for the next writer, whether
 * that one has opened the store before the crash or opens it after.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake.h"
#include "make.h"
#include "reader.h"
#include "test.h"

static unsigned int steps, stop_at;

static void stop(void)
{
	if (++steps == stop_at)
		_exit(42);
}

static int put_old(void)
{
	Route__RouteConfiguration *rc = make_route_config("r");
	Listener__Listener *l = make_listener("0.0.0.0:90");

	make_route(make_host(rc, "*"), "/", "a");
	make_rds(make_chain(l), "r");
	return PUT(make_tcp_listener("10.0.0.1:80", "a"), make_tcp_listener("10.0.0.2:80", "a"),
		   make_simple("a", "10.1.0.1:80 10.1.0.2:80"), make_simple("b", "10.1.0.1:80"), rc,
		   l);
}

static int put_new(void)
{
	Route__RouteConfiguration *rc = make_route_config("r");
	struct deserial_op ops[] = {
		{ .value = make_tcp_listener("10.0.0.1:80", "c") },
		{ .value = make_tcp_listener("10.0.0.3:80", "a") },
		{ .value = make_tcp_listener("10.0.0.4:84", "c") },
		{ .value = make_simple("a", "10.1.0.2:80 10.1.0.3:80") },
		{ .value = make_simple("c", "10.1.0.9:80") },
		{ .value = rc },
		{ .op = DESERIAL_DELETE, .value = make_tcp_listener("10.0.0.2:80", "a") },
		{ .op = DESERIAL_DELETE, .key = "b", .descriptor = &cluster__cluster__descriptor },
	};

	make_route(make_host(rc, "*"), "/", "c");
	return deserial_update_batch(ops, 8);
}

static bool is_old(void)
{
	return !strcmp(where("10.0.0.1:80"), "a") && !strcmp(where("10.0.0.2:80"), "a") &&
	       !strcmp(where("10.0.0.3:80"), "pass") && !strcmp(where("10.0.0.4:84"), "pass") &&
	       !strcmp(where("10.7.7.7:90"), "a") &&
	       !strcmp(endpoints("a"), "10.1.0.1:80=1 10.1.0.2:80=1") &&
	       !strcmp(endpoints("b"), "10.1.0.1:80=1") && !strcmp(endpoints("c"), "none");
}

static bool is_new(void)
{
	return !strcmp(where("10.0.0.1:80"), "c") && !strcmp(where("10.0.0.2:80"), "pass") &&
	       !strcmp(where("10.0.0.3:80"), "a") && !strcmp(where("10.0.0.4:84"), "c") &&
	       !strcmp(where("10.7.7.7:90"), "c") &&
	       !strcmp(endpoints("a"), "10.1.0.2:80=1 10.1.0.3:80=1") &&
	       !strcmp(endpoints("b"), "none") && !strcmp(endpoints("c"), "10.1.0.9:80=1");
}

static int child(void *arg)
{
	steps = 0;
	kernel.step = stop;
	if (deserial_init())
		return 1;
	return put_new() ? 2 : 0;
}

static void check_nothing_lost(void)
{
	struct deserial_stats before, after;

	CHECK_INT(deserial_stats(&before), 0);
	CHECK_INT(deserial_uninit(true), 0);
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(deserial_stats(&after), 0);
	CHECK_INT(after.slots.used, before.slots.used);
}

/* True while the child was stopped before its end. */
static bool crash_at(unsigned int k)
{
	bool old, stopped;
	int rc;

	fake_reset();
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put_old(), 0);
	CHECK(is_old());
	CHECK_INT(deserial_uninit(true), 0);
	stop_at = k;
	rc = fake_process(child, NULL);
	stopped = rc == 42;
	CHECK(stopped || !rc);

	old = is_old();
	CHECK(old || is_new());
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put(make_simple("y", "10.2.0.1:80")), 0);
	CHECK(old ? is_old() : is_new());
	CHECK_INT(fake_meta()->writing, 0);
	check_nothing_lost();
	CHECK_INT(put_new(), 0);
	CHECK(is_new());
	CHECK_INT(put_old(), 0);
	CHECK_TEXT(where("10.0.0.1:80"), "a");
	check_nothing_lost();
	CHECK_INT(deserial_uninit(false), 0);
	CHECK_INT(fake_listeners(), 0);
	return stopped;
}

static void before_the_next_writer_opens(void)
{
	unsigned int k = 1;

	while (crash_at(k))
		k++;
	CHECK(k > 15);
	fake_reset();
}

static int child_of_open(void *arg)
{
	steps = 0;
	kernel.step = stop;
	return put_new() ? 2 : 0;
}

static bool crash_beside(unsigned int k)
{
	bool old, stopped;
	int rc;

	fake_reset();
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put_old(), 0);
	stop_at = k;
	rc = fake_process(child_of_open, NULL);
	stopped = rc == 42;
	CHECK(stopped || !rc);
	old = is_old();
	CHECK(old || is_new());
	CHECK_INT(put(make_simple("y", "10.2.0.1:80")), 0);
	CHECK(old ? is_old() : is_new());
	CHECK_INT(fake_meta()->writing, 0);
	check_nothing_lost();
	CHECK_INT(put_new(), 0);
	CHECK(is_new());
	check_nothing_lost();
	fake_end();
	return stopped;
}

static void beside_a_writer_that_has_it_open(void)
{
	unsigned int k = 1;

	while (crash_beside(k))
		k++;
	CHECK(k > 15);
	fake_reset();
}

const struct test crash_tests[] = {
	TEST(before_the_next_writer_opens),
	TEST(beside_a_writer_that_has_it_open),
	TESTS_END,
};
