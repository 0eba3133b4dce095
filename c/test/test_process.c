// SPDX-License-Identifier: Apache-2.0
/* Contract: several processes write one store, each finding what others left. */
#include <errno.h>
#include <stdlib.h>

#include "fake.h"
#include "make.h"
#include "reader.h"
#include "test.h"

static int other_puts(void *arg)
{
	return put(make_simple(arg, "10.0.0.1:80")) != 0;
}

static void another_writer_is_noticed(void)
{
	Cluster__Cluster *c;

	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put(make_simple("a", "10.0.0.9:80")), 0);
	CHECK_INT(fake_process(other_puts, "b"), 0);
	c = deserial_lookup_elem("b", &cluster__cluster__descriptor);
	CHECK(c);
	deserial_free_elem(c);
	for (int i = 0; i < 20; i++) {
		char *name = make_text("c%d", i);

		CHECK_INT(fake_process(other_puts, name), 0);
		CHECK_INT(put(make_many("a", 10, 80 + (unsigned int)i)), 0);
		CHECK_TEXT(endpoints(name), "10.0.0.1:80=1");
	}
	CHECK_INT(fake_meta()->generation, 42);
}

static int other_deletes(void *arg)
{
	return delete_cluster("a") || put(make_simple("x", "10.0.0.7:80"));
}

static void what_another_has_deleted_is_gone(void)
{
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(PUT(make_simple("a", "10.0.0.9:80"), make_tcp_listener("10.0.0.1:80", "a")), 0);
	CHECK_INT(fake_process(other_deletes, NULL), 0);
	CHECK_INT(delete_cluster("a"), -ENOENT);
	CHECK_INT(put(make_simple("a", "10.0.0.9:80")), 0);
	CHECK_TEXT(where("10.0.0.1:80"), "a");
	CHECK_TEXT(endpoints("a"), "10.0.0.9:80=1");
	CHECK_TEXT(endpoints("x"), "10.0.0.7:80=1");
}

/* What another process retired may be in use by readers: a grace period passes
 * before the first reuse. */
static void reuse_after_another_waits_for_readers(void)
{
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put(make_simple("a", "10.0.0.9:80")), 0);
	CHECK_INT(fake_process(other_puts, "b"), 0);
	fake.graces = 0;
	CHECK_INT(put(make_simple("a", "10.0.0.8:80")), 0);
	CHECK_INT(fake.graces, 1);
	CHECK_INT(put(make_simple("a", "10.0.0.7:80")), 0);
	CHECK_INT(fake.graces, 1);
	/* What changes nothing need not wait. */
	CHECK_INT(fake_process(other_puts, "c"), 0);
	CHECK_INT(put(make_simple("a", "10.0.0.7:80")), 0);
	CHECK_INT(fake.graces, 1);
}

static int other_closes(void *arg)
{
	return deserial_uninit(true) != 0;
}

/* Taking a gone listener's entry out is no publication. */
static void an_entry_that_another_takes_out_is_noticed(void)
{
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put(make_tcp_listener("10.0.0.1:80", "a")), 0);
	CHECK_INT(delete_listener("10.0.0.1:80"), 0);
	CHECK_INT(fake_process(other_closes, NULL), 0);
	CHECK_INT(fake_listeners(), 0);
	CHECK_INT(put(make_tcp_listener("10.0.0.1:80", "b")), 0);
	CHECK_TEXT(where("10.0.0.1:80"), "b");
}

static int other_looks(void *arg)
{
	(void)arg;
	return deserial_uninit(true) || deserial_init() || deserial_uninit(true);
}

static void a_listener_comes_back_after_another_took_its_entry(void)
{
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(PUT(make_simple("a", "10.0.0.9:80"), make_tcp_listener("10.0.0.1:80", "a")), 0);
	CHECK_INT(delete_listener("10.0.0.1:80"), 0);
	CHECK_INT(fake_process(other_looks, NULL), 0);
	CHECK_INT(put(make_tcp_listener("10.0.0.1:80", "a")), 0);
	CHECK_TEXT(where("10.0.0.1:80"), "a");
}

static void a_port_is_marked_after_another_cleared_it(void)
{
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(PUT(make_simple("a", "10.0.0.9:80"), make_tcp_listener("10.0.0.1:80", "a")), 0);
	CHECK_INT(delete_listener("10.0.0.1:80"), 0);
	CHECK_INT(fake_process(other_looks, NULL), 0);
	CHECK_INT(put(make_tcp_listener("10.0.0.2:80", "a")), 0);
	CHECK_TEXT(where("10.0.0.2:80"), "a");
}

static void a_held_lock_times_out(void)
{
	CHECK_INT(deserial_init(), 0);
	fake.held = true;
	deserial_set_lock_timeout(30);
	CHECK_INT(put(make_cluster("a")), -ETIMEDOUT);
	CHECK_ERROR("lock /run/kmesh-node/store-17.lock: held by another writer for 30 ms");
	CHECK(!deserial_lookup_elem("a", &cluster__cluster__descriptor));
	CHECK_INT(errno, ETIMEDOUT);
	fake.held = false;
	CHECK_INT(put(make_cluster("a")), 0);
}

static void a_held_lock_keeps_init_waiting(void)
{
	fake.held = true;
	deserial_set_lock_timeout(0);
	CHECK_INT(deserial_init(), -ETIMEDOUT);
	fake.held = false;
	CHECK_INT(deserial_init(), 0);
}

static void emptying_takes_everything(void)
{
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(PUT(make_simple("a", "10.0.0.9:80"), make_route_config("r"),
		      make_tcp_listener("10.0.0.1:80", "a"),
		      make_tcp_listener("[2001:db8::1]:80", "a")),
		  0);
	CHECK_INT(fake_process(other_puts, "b"), 0);
	CHECK_INT(deserial_uninit(false), 0);
	CHECK_TEXT(where("10.0.0.1:80"), "pass");
	CHECK_TEXT(endpoints("a"), "none");
	CHECK_TEXT(endpoints("b"), "none");
	CHECK_INT(fake_listeners(), 0);
}

const struct test process_tests[] = {
	TEST(another_writer_is_noticed),
	TEST(what_another_has_deleted_is_gone),
	TEST(reuse_after_another_waits_for_readers),
	TEST(an_entry_that_another_takes_out_is_noticed),
	TEST(a_listener_comes_back_after_another_took_its_entry),
	TEST(a_port_is_marked_after_another_cleared_it),
	TEST(a_held_lock_times_out),
	TEST(a_held_lock_keeps_init_waiting),
	TEST(emptying_takes_everything),
	TESTS_END,
};
