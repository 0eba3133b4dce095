// SPDX-License-Identifier: Apache-2.0
/*
 * Contract: whichever call to the kernel fails, nothing is lost or left half
 * done, and what comes next works.
 */
#include <errno.h>
#include <string.h>

#include "fake.h"
#include "make.h"
#include "reader.h"
#include "test.h"

static const int errors[] = { -EPERM, -ENOMEM, -ENOSPC };

/* The call that is to fail next, counted from now. */
static void arm(unsigned int k, int err)
{
	fake.calls = 0;
	fake.fail_at = k;
	fake.fail_with = err;
}

/* Was it made at all? */
static bool disarm(void)
{
	bool reached = fake.calls >= fake.fail_at;

	fake.fail_at = 0;
	return reached;
}

static int put_first(void)
{
	return PUT(make_tcp_listener("10.0.0.1:80", "a"),
		   make_simple("a", "10.1.0.1:80 10.1.0.2:80"));
}

/* Changes, adds and deletes, and needs more slabs than there are. */
static int put_second(void)
{
	struct deserial_op ops[] = {
		{ .value = make_tcp_listener("10.0.0.2:80", "b") },
		{ .value = make_tcp_listener("0.0.0.0:81", "b") },
		{ .value = make_simple("a", "10.1.0.3:80") },
		{ .value = make_many("b", 3000, 80) },
		{ .op = DESERIAL_DELETE, .value = make_tcp_listener("10.0.0.1:80", "a") },
	};

	return deserial_update_batch(ops, 5);
}

static void check_first(void)
{
	CHECK_TEXT(where("10.0.0.1:80"), "a");
	CHECK_TEXT(where("10.0.0.2:80"), "pass");
	CHECK_TEXT(where("10.0.0.2:81"), "pass");
	CHECK_TEXT(endpoints("a"), "10.1.0.1:80=1 10.1.0.2:80=1");
	CHECK_TEXT(endpoints("b"), "none");
}

static void check_second(void)
{
	CHECK_TEXT(where("10.0.0.1:80"), "pass");
	CHECK_TEXT(where("10.0.0.2:80"), "b");
	CHECK_TEXT(where("10.0.0.2:81"), "b");
	CHECK_TEXT(endpoints("a"), "10.1.0.3:80=1");
	CHECK(endpoint_handle("b", "10.0.11.183:80"));
}

/* Used slots are what a walk finds. */
static void check_nothing_lost(void)
{
	struct deserial_stats before, after;

	CHECK_INT(deserial_stats(&before), 0);
	CHECK_INT(deserial_uninit(true), 0);
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(deserial_stats(&after), 0);
	CHECK_INT(after.slots.used, before.slots.used);
	/* Retired ones count as used until they are free. */
	CHECK(after.counters.used <= before.counters.used);
}

static bool init_fails_at(unsigned int k, int err)
{
	bool reached;
	int rc;

	fake_reset();
	arm(k, err);
	rc = deserial_init();
	reached = disarm();
	if (rc) {
		CHECK(strlen(deserial_error()) > 10);
		CHECK_INT(fake.open, 0);
		CHECK_INT(fake.mapped, 0);
		CHECK_INT(deserial_init(), 0);
	}
	CHECK_INT(put_first(), 0);
	check_first();
	fake_end();
	return reached;
}

static void every_call_of_init(void)
{
	for (size_t e = 0; e < 3; e++) {
		unsigned int k = 1;

		while (init_fails_at(k, errors[e]))
			k++;
		CHECK(k > 20);
		fake_reset();
	}
}

static bool restore_fails_at(unsigned int k, int err)
{
	bool reached;

	fake_reset();
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put_first(), 0);
	CHECK_INT(put_second(), 0);
	CHECK_INT(deserial_uninit(true), 0);
	arm(k, err);
	if (deserial_init()) {
		disarm();
		reached = true;
		CHECK_INT(fake.open, 0);
		CHECK_INT(deserial_init(), 0);
	} else {
		reached = disarm();
	}
	check_second();
	check_nothing_lost();
	fake_end();
	return reached;
}

static void every_call_of_restoring(void)
{
	for (size_t e = 0; e < 3; e++) {
		unsigned int k = 1;

		while (restore_fails_at(k, errors[e]))
			k++;
		CHECK(k > 25);
		fake_reset();
	}
}

static bool publish_fails_at(unsigned int k, int err)
{
	bool reached;
	int rc;

	fake_reset();
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put_first(), 0);
	arm(k, err);
	rc = put_second();
	reached = disarm();
	if (rc) {
		CHECK(strlen(deserial_error()) > 10);
		CHECK_INT(fake_meta()->writing, 0);
		check_first();
		check_nothing_lost();
		CHECK_INT(put_second(), 0);
	}
	check_second();
	check_nothing_lost();
	fake_end();
	return reached;
}

static void every_call_of_publishing(void)
{
	for (size_t e = 0; e < 3; e++) {
		unsigned int k = 1;

		while (publish_fails_at(k, errors[e]))
			k++;
		CHECK(k > 5);
		fake_reset();
	}
}

/* Enough in turn for grace periods in the thread and for growing. */
static bool burst_fails_at(unsigned int k, int err)
{
	unsigned int failed = 0;
	bool reached;

	fake_reset();
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put_first(), 0);
	arm(k, err);
	for (unsigned int i = 0; i < 40; i++)
		failed += put(make_many("c", 200, 80 + i % 2)) != 0;
	CHECK(failed <= 1);
	reached = disarm();
	CHECK_INT(put(make_many("c", 3, 99)), 0);
	CHECK_TEXT(endpoints("c"), "10.0.0.0:99=1 10.0.0.1:99=1 10.0.0.2:99=1");
	check_first();
	check_nothing_lost();
	fake_end();
	return reached;
}

static void every_call_of_a_burst(void)
{
	for (unsigned int k = 1; k < 90; k++)
		burst_fails_at(k, errors[k % 3]);
	fake_reset();
}

static bool close_fails_at(unsigned int k, int err, bool persist)
{
	bool reached;

	fake_reset();
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put_first(), 0);
	CHECK_INT(delete_listener("10.0.0.1:80"), 0);
	arm(k, err);
	deserial_uninit(persist);
	reached = disarm();
	CHECK_INT(fake.open, 0);
	CHECK_INT(fake.mapped, 0);
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put_first(), 0);
	check_first();
	check_nothing_lost();
	CHECK_INT(deserial_uninit(false), 0);
	CHECK_INT(fake_listeners(), 0);
	return reached;
}

static void every_call_of_closing(void)
{
	for (size_t e = 0; e < 6; e++) {
		unsigned int k = 1;

		while (close_fails_at(k, errors[e / 2], e % 2))
			k++;
		CHECK(k > 3);
		fake_reset();
	}
}

static bool read_fails_at(unsigned int k, int err)
{
	struct element_list_node *head;
	bool reached;

	fake_reset();
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put_first(), 0);
	arm(k, err);
	head = deserial_lookup_all_elems(&listener__listener__descriptor);
	CHECK(head || errno == -err);
	deserial_free_elem_list(head);
	reached = disarm();
	check_first();
	fake_end();
	return reached;
}

static void every_call_of_reading(void)
{
	unsigned int k = 1;

	while (read_fails_at(k, -EPERM))
		k++;
	CHECK_INT(k, 2);
	fake_reset();
}

const struct test fault_tests[] = {
	TEST(every_call_of_init),
	TEST(every_call_of_restoring),
	TEST(every_call_of_publishing),
	TEST(every_call_of_a_burst),
	TEST(every_call_of_closing),
	TEST(every_call_of_reading),
	TESTS_END,
};
