// SPDX-License-Identifier: Apache-2.0
/* Contract: a wrong hand-off is refused with the variable's name. */
#include <errno.h>
#include <stdlib.h>

#include "deserial.h"
#include "env.h"
#include "fake.h"
#include "make.h"
#include "test.h"

static void refused(const char *words)
{
	CHECK_INT(deserial_init(), -EINVAL);
	CHECK_ERROR(words);
	CHECK_INT(fake.open, 0);
	CHECK_INT(fake.mapped, 0);
}

static void junk_is_refused(void)
{
	static const char *const junk[] = {
		"",    "x",    "12x", " 12",	    "-1",
		"+12", "0x0b", "0",   "4294967296", "99999999999999999999"
	};

	for (size_t i = 0; i < sizeof(junk) / sizeof(junk[0]); i++) {
		setenv("KMESH_META", junk[i], 1);
		refused("KMESH_META=\"");
		CHECK_ERROR("not a map's id");
	}
}

static void absence_is_refused_for_each(void)
{
	for (int i = 0; i < ENV_MAPS; i++) {
		fake_env();
		unsetenv(env_name(i));
		refused(make_text("%s: not set", env_name(i)));
	}
}

static void an_id_that_is_no_map_is_refused(void)
{
	setenv("Cluster", "4000000000", 1);
	refused("Cluster=4000000000: there is no map with that id");
}

static void another_maps_id_is_refused(void)
{
	setenv("KMESH_META", make_text("%d", FAKE_LISTENER), 1);
	refused("KMESH_META=11: is Listener already");
	fake_env();
	setenv("Listener", make_text("%d", FAKE_META), 1);
	refused("Listener=17: map is ARRAY, not HASH");
	fake_env();
	setenv("Cluster", make_text("%d", FAKE_ROUTE), 1);
	refused("Cluster=14: map has max_entries 4096, not 20480");
	fake_env();
	setenv("KMESH_META", make_text("%d", FAKE_PORTS), 1);
	refused("KMESH_META=18: map has value size 16, not 64");
}

static void a_map_without_mmap_is_refused(void)
{
	fake_info(FAKE_PORTS)->map_flags = 0;
	refused("KMESH_PORTS=18: map has flags 0, not");
}

static void a_layout_that_differs_is_refused(void)
{
	fake_info(FAKE_LISTENER)->key_size = 40;
	refused("Listener=11: map has key size 40, not 20");
}

static void an_open_descriptor_is_used_and_left_open(void)
{
	int fd = fake_fd(FAKE_META);

	setenv("KMESH_META_FD", make_text("%d", fd), 1);
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(deserial_uninit(true), 0);
	CHECK_INT(fake.open, 1);
	fake_close(fd);
}

static void a_descriptor_of_another_map_is_not_used(void)
{
	int fd = fake_fd(FAKE_PORTS);

	setenv("KMESH_META_FD", make_text("%d", fd), 1);
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(deserial_uninit(true), 0);
	fake_close(fd);
}

static void a_closed_descriptor_with_a_dead_id_is_refused(void)
{
	setenv("Listener", "4000000000", 1);
	setenv("Listener_FD", "1499", 1);
	refused("Listener=4000000000");
	CHECK_ERROR("Listener_FD is no open descriptor");
}

static void a_closed_descriptor_falls_back_to_the_id(void)
{
	setenv("Listener_FD", "1499", 1);
	CHECK_INT(deserial_init(), 0);
}

static void a_descriptor_that_is_no_number_is_refused(void)
{
	setenv("Listener_FD", "three", 1);
	refused("Listener_FD=\"three\"");
}

static void another_slab_zero_is_refused(void)
{
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(deserial_uninit(true), 0);
	/* A map of the right layout that is not the store's first slab. */
	*fake_info(FAKE_FIRST_SLAB) = *fake_info(FAKE_INNER);
	fake_info(FAKE_INNER)->id = 0;
	fake_info(FAKE_FIRST_SLAB)->id = FAKE_FIRST_SLAB;
	CHECK_INT(kernel.map_create("x", fake_info(FAKE_FIRST_SLAB)), 1000);
	setenv("INNER_MAP_ID", make_text("%d", FAKE_FIRST_SLAB), 1);
	CHECK_INT(deserial_init(), -EINVAL);
	CHECK_ERROR("INNER_MAP_ID=19: slab 0 of OUTTER_MAP_ID is map 16");
	fake_close(1000);
}

static void another_layout_version_is_refused(void)
{
	fake_meta()->abi = KM_ABI_VERSION + 1;
	CHECK_INT(deserial_init(), -EPROTO);
	CHECK_ERROR("the store has layout");
}

const struct test env_tests[] = {
	TEST(junk_is_refused),
	TEST(absence_is_refused_for_each),
	TEST(an_id_that_is_no_map_is_refused),
	TEST(another_maps_id_is_refused),
	TEST(a_map_without_mmap_is_refused),
	TEST(a_layout_that_differs_is_refused),
	TEST(an_open_descriptor_is_used_and_left_open),
	TEST(a_descriptor_of_another_map_is_not_used),
	TEST(a_closed_descriptor_with_a_dead_id_is_refused),
	TEST(a_closed_descriptor_falls_back_to_the_id),
	TEST(a_descriptor_that_is_no_number_is_refused),
	TEST(another_slab_zero_is_refused),
	TEST(another_layout_version_is_refused),
	TESTS_END,
};
