// SPDX-License-Identifier: Apache-2.0
/* Contract: runs that are handed out never overlap, and all comes back. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fake.h"
#include "slab.h"
#include "test.h"

static struct slabs slabs;

static void open_slabs(uint32_t n)
{
	memset(&slabs, 0, sizeof(slabs));
	for (uint32_t i = 0; i < n; i++) {
		CHECK_INT(slabs_add(&slabs, test_alloc(SLAB_BYTES)), 0);
		slab_open(&slabs, i);
	}
}

static void close_slabs(void)
{
	fake.mapped += slabs.n;
	slabs_clear(&slabs);
}

static void the_null_slot_is_never_given_out(void)
{
	uint32_t handle, n = 0;

	open_slabs(1);
	while (!slab_take(&slabs, 1, &handle)) {
		CHECK(handle > 0 && handle < KM_SLAB_SLOTS);
		n++;
	}
	CHECK_INT(n, KM_SLAB_SLOTS - 1);
	CHECK_INT(slabs.free, 0);
	close_slabs();
}

static void a_whole_slab_is_one_run(void)
{
	uint32_t handle;

	open_slabs(2);
	CHECK_INT(slab_take(&slabs, KM_SLAB_SLOTS, &handle), 0);
	CHECK_INT(handle, KM_SLAB_SLOTS);
	CHECK_INT(slab_take(&slabs, KM_SLAB_SLOTS, &handle), -ENOSPC);
	CHECK_INT(slab_take(&slabs, KM_SLAB_SLOTS / 2, &handle), 0);
	close_slabs();
}

struct run {
	uint32_t handle, slots;
};

static uint8_t owner[3 * KM_SLAB_SLOTS];

static void random_runs_do_not_overlap_and_come_back(void)
{
	static struct run runs[4000];
	uint32_t n = 0;

	srand(1);
	memset(owner, 0, sizeof(owner));
	open_slabs(3);
	for (int step = 0; step < 200000; step++) {
		if (n < 4000 && rand() % 2) {
			struct run r = { .slots = 1u << rand() % 10 };

			r.slots = 1 + (uint32_t)rand() % r.slots;
			if (slab_take(&slabs, r.slots, &r.handle))
				continue;
			for (uint32_t i = 0; i < r.slots; i++)
				CHECK(!owner[r.handle + i]++);
			runs[n++] = r;
		} else if (n) {
			uint32_t i = (uint32_t)rand() % n;

			memset(owner + runs[i].handle, 0, runs[i].slots);
			slab_give(&slabs, runs[i].handle, runs[i].slots);
			runs[i] = runs[--n];
		}
	}
	while (n--)
		slab_give(&slabs, runs[n].handle, runs[n].slots);
	CHECK_INT(slabs.free, 3 * KM_SLAB_SLOTS - 1);
	/* Joined again to whole slabs. */
	CHECK_INT(slab_take(&slabs, KM_SLAB_SLOTS, &n), 0);
	close_slabs();
}

static void what_is_marked_is_not_free_after_a_rebuild(void)
{
	struct run kept[300];
	uint64_t used = 1;
	uint32_t handle;

	srand(2);
	open_slabs(2);
	for (int i = 0; i < 300; i++) {
		kept[i].slots = 1 + (uint32_t)rand() % 20;
		CHECK_INT(slab_take(&slabs, kept[i].slots, &kept[i].handle), 0);
		/* Lost ones in between are found. */
		slab_take(&slabs, 3, &handle);
	}
	CHECK_INT(slabs_mark_begin(&slabs), 0);
	for (int i = 0; i < 300; i++) {
		CHECK_INT(slabs_mark(&slabs, kept[i].handle, kept[i].slots), 0);
		used += kept[i].slots;
	}
	CHECK_INT(slabs_mark(&slabs, kept[7].handle, 1), -EUCLEAN);
	CHECK_INT(slabs_mark(&slabs, 0, 1), -EUCLEAN);
	CHECK_INT(slabs_mark(&slabs, 2 * KM_SLAB_SLOTS, 1), -EUCLEAN);
	CHECK_INT(slabs_mark(&slabs, KM_SLAB_SLOTS + 1, KM_SLAB_SLOTS), -EUCLEAN);
	slabs_mark_end(&slabs);
	CHECK_INT(slabs.free, 2 * KM_SLAB_SLOTS - used);
	while (!slab_take(&slabs, 1, &handle)) {
		for (int i = 0; i < 300; i++)
			CHECK(handle < kept[i].handle || handle >= kept[i].handle + kept[i].slots);
	}
	close_slabs();
}

const struct test slab_tests[] = {
	TEST(the_null_slot_is_never_given_out),
	TEST(a_whole_slab_is_one_run),
	TEST(random_runs_do_not_overlap_and_come_back),
	TEST(what_is_marked_is_not_free_after_a_rebuild),
	TESTS_END,
};
