// SPDX-License-Identifier: Apache-2.0
/* Contract: what was retired is free when no reader can hold it, not before. */
#include <unistd.h>

#include "fake.h"
#include "make.h"
#include "reader.h"
#include "test.h"

static unsigned int graces(void)
{
	return __atomic_load_n(&fake.graces, __ATOMIC_RELAXED);
}

static struct deserial_stats stats(void)
{
	struct deserial_stats s = { 0 };

	CHECK_INT(deserial_stats(&s), 0);
	return s;
}

static int put_churn(unsigned int port)
{
	return put(make_many("churn", 3000, port));
}

/* Opens a store with so much room that nothing here has to wait. */
static void open_with_room(void)
{
	unsigned int before;

	CHECK_INT(deserial_init(), 0);
	for (unsigned int i = 0; i < 12; i++)
		CHECK_INT(put_churn(80 + i), 0);
	do {
		before = graces();
		usleep(20000);
	} while (graces() != before);
}

/* Retires enough for the thread to wait for readers; one keeps it waiting. */
static void retire_much(void)
{
	unsigned int before = graces();

	CHECK_INT(put_churn(1), 0);
	for (int i = 0; i < 5000 && graces() == before; i++)
		usleep(1000);
	CHECK_INT(graces(), before + 1);
}

static void let_it_end(void)
{
	uint64_t before = stats().slots_pending;

	fake_read_end(0);
	for (int i = 0; i < 5000 && stats().slots_pending == before; i++)
		usleep(1000);
}

static void a_listener_that_goes_twice_stays_for_the_second_time(void)
{
	open_with_room();
	CHECK_INT(put(make_tcp_listener("10.0.0.1:80", "a")), 0);
	fake_read_begin(0);
	CHECK_INT(delete_listener("10.0.0.1:80"), 0);
	retire_much();
	CHECK_INT(put(make_tcp_listener("10.0.0.1:80", "b")), 0);
	CHECK_INT(delete_listener("10.0.0.1:80"), 0);
	let_it_end();
	CHECK_INT(put(make_simple("x", "10.0.0.1:80")), 0);
	CHECK_INT(fake_listeners(), 1);
	CHECK_INT(deserial_uninit(true), 0);
	CHECK_INT(fake_listeners(), 0);
}

static void a_listener_that_came_back_stays(void)
{
	open_with_room();
	CHECK_INT(put(make_tcp_listener("10.0.0.1:80", "a")), 0);
	fake_read_begin(0);
	CHECK_INT(delete_listener("10.0.0.1:80"), 0);
	retire_much();
	CHECK_INT(put(make_tcp_listener("10.0.0.1:80", "b")), 0);
	let_it_end();
	CHECK_INT(put(make_simple("x", "10.0.0.1:80")), 0);
	CHECK_TEXT(where("10.0.0.1:80"), "b");
}

static int other_puts(void *arg)
{
	return put(make_simple("b", "10.0.0.1:80")) != 0;
}

static void a_wait_from_before_a_rebuild_frees_nothing(void)
{
	uint64_t used;

	open_with_room();
	fake_read_begin(0);
	retire_much();
	CHECK_INT(fake_process(other_puts, NULL), 0);
	used = stats().slots.used; /* finds that it has to rebuild */
	fake_read_end(0);
	usleep(50000);
	CHECK_INT(stats().slots.used, used);
	for (unsigned int i = 0; i < 5; i++)
		CHECK_INT(put(make_many(make_text("c%u", i), 500, 80)), 0);
	used = stats().slots.used;
	CHECK_INT(deserial_uninit(true), 0);
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(stats().slots.used, used);
}

static void closing_waits_for_the_thread(void)
{
	open_with_room();
	fake.grace_us = 20000;
	CHECK_INT(put_churn(1), 0);
	CHECK_INT(deserial_uninit(true), 0);
	CHECK_INT(deserial_init(), 0);
}

const struct test reclaim_tests[] = {
	TEST(a_listener_that_goes_twice_stays_for_the_second_time),
	TEST(a_listener_that_came_back_stays),
	TEST(a_wait_from_before_a_rebuild_frees_nothing),
	TEST(closing_waits_for_the_thread),
	TESTS_END,
};
