// SPDX-License-Identifier: Apache-2.0
/*
 * Contract: readers that run beside a writer see one batch or the next, never a
 * mixture and never nothing; and calls may come from several threads.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "fake.h"
#include "make.h"
#include "reader.h"
#include "test.h"

static atomic_bool stop;

struct reading {
	unsigned int reader;
	uint32_t a, b;
	const Core__SocketAddress *address;
	unsigned long reads, overtaken;
};

/* Clusters a and b, and the one behind the listener, change together. */
static void *read_on(void *arg)
{
	struct reading *r = arg;

	while (!atomic_load(&stop)) {
		uint64_t generation;
		int a, b, behind;

		fake_read_begin(r->reader);
		generation = __atomic_load_n(&fake_meta()->generation, __ATOMIC_ACQUIRE);
		a = port_at(r->a, generation);
		behind = port_behind(r->address, generation);
		b = port_at(r->b, generation);
		fake_read_end(r->reader);
		if (a < 0 || b < 0 || behind < 0) {
			r->overtaken++;
			continue;
		}
		r->reads++;
		if (!CHECK_INT(b, a) || !CHECK_INT(behind, a))
			break;
	}
	return NULL;
}

static void readers_never_see_a_mixture(void)
{
	static const char *const names[] = { "even", "odd" };
	struct reading readings[2];
	pthread_t threads[2];
	const void *batches[40][5];

	/* Wide enough for the slots to come round often. */
	for (unsigned int i = 0; i < 40; i++) {
		batches[i][0] = make_many("a", 40, 1000 + i);
		batches[i][1] = make_many("b", 40, 1000 + i);
		batches[i][2] = make_many(names[i % 2], 1, 1000 + i);
		batches[i][3] = make_many(names[1 - i % 2], 1, 7);
		batches[i][4] = make_tcp_listener("10.0.0.1:80", names[i % 2]);
	}
	CHECK_INT(deserial_init(), 0);
	fake.grace_us = 200;
	CHECK_INT(put_all(5, batches[0]), 0);
	atomic_store(&stop, false);
	for (unsigned int i = 0; i < 2; i++) {
		readings[i] = (struct reading){
			.reader = i,
			.a = cluster_root("a"),
			.b = cluster_root("b"),
			.address = make_address("10.0.0.1:80"),
		};
		pthread_create(&threads[i], NULL, read_on, &readings[i]);
	}
	for (unsigned int n = 1; n < 6000 && !test_failed(); n++)
		CHECK_INT(put_all(5, batches[n % 40]), 0);
	atomic_store(&stop, true);
	for (unsigned int i = 0; i < 2; i++) {
		pthread_join(threads[i], NULL);
		CHECK(readings[i].reads > 1000);
		CHECK(readings[i].overtaken < readings[i].reads);
	}
	CHECK(fake.graces > 20);
}

struct writing {
	const Cluster__Cluster *clusters[2];
	const char *name;
	int errors;
};

static void *write_on(void *arg)
{
	struct writing *w = arg;

	for (unsigned int i = 0; i < 500; i++) {
		Cluster__Cluster *got;

		if (put(w->clusters[i % 2]))
			w->errors++;
		got = deserial_lookup_elem(w->name, &cluster__cluster__descriptor);
		if (!got ||
		    got->load_assignment->endpoints[0]->n_lb_endpoints !=
			    w->clusters[i % 2]->load_assignment->endpoints[0]->n_lb_endpoints)
			w->errors++;
		deserial_free_elem(got);
	}
	return NULL;
}

static void calls_come_from_several_threads(void)
{
	struct writing writings[4];
	pthread_t threads[4];

	CHECK_INT(deserial_init(), 0);
	for (unsigned int i = 0; i < 4; i++) {
		writings[i].name = make_text("c%u", i);
		writings[i].clusters[0] = make_many(writings[i].name, 30, 80);
		writings[i].clusters[1] = make_many(writings[i].name, 20, 81);
		writings[i].errors = 0;
	}
	for (unsigned int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, write_on, &writings[i]);
	for (unsigned int i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		CHECK_INT(writings[i].errors, 0);
	}
	CHECK_INT(fake_meta()->generation, 2000);
}

/* The message of an error is that of the thread which got it. */
static void *fail_elsewhere(void *arg)
{
	CHECK_TEXT(deserial_error(), "");
	CHECK(delete_cluster("elsewhere"));
	CHECK_ERROR("elsewhere");
	return NULL;
}

static void errors_are_of_their_thread(void)
{
	pthread_t thread;

	CHECK_INT(deserial_init(), 0);
	CHECK(delete_cluster("here"));
	pthread_create(&thread, NULL, fail_elsewhere, NULL);
	pthread_join(thread, NULL);
	CHECK_ERROR("Cluster here: not there");
}

const struct test thread_tests[] = {
	TEST(readers_never_see_a_mixture),
	TEST(calls_come_from_several_threads),
	TEST(errors_are_of_their_thread),
	TESTS_END,
};
