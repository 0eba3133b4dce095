// SPDX-License-Identifier: Apache-2.0
/* Contract: any message is stored as it came, or refused with its field. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fake.h"
#include "make.h"
#include "test.h"

static int put_wire(const void *wire, size_t len)
{
	const struct deserial_op op = {
		.descriptor = &cluster__cluster__descriptor,
		.wire = wire,
		.wire_len = len,
	};

	return deserial_update_batch(&op, 1);
}

static void every_length_is_restored(void)
{
	CHECK_INT(deserial_init(), 0);
	for (unsigned int n = 0; n < 20000; n = n * 3 / 2 + 1) {
		Cluster__Cluster *c = make_cluster("a"), *got;
		char *note = test_alloc(n + 1);

		memset(note, 'x', n);
		c->n_notes = 1;
		c->notes = &note;
		CHECK_INT(put(c), 0);
		got = deserial_lookup_elem("a", &cluster__cluster__descriptor);
		if (CHECK(got && got->n_notes == 1))
			CHECK_TEXT(got->notes[0], note);
		deserial_free_elem(got);
	}
}

static void unknown_fields_are_kept(void)
{
	/* name "a", field 1000 varint 5, field 1001 bytes "zz" */
	static const uint8_t wire[] = { 0x0a, 1, 'a', 0xc0, 0x3e, 5, 0xca, 0x3e, 2, 'z', 'z' };
	uint8_t *got;
	size_t len;

	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put_wire(wire, sizeof(wire)), 0);
	CHECK_INT(deserial_lookup_wire("a", &cluster__cluster__descriptor, &got, &len), 0);
	CHECK(len == sizeof(wire) && !memcmp(got, wire, len));
	free(got);
}

static void malformed_messages_are_refused(void)
{
	static const struct {
		const char *wire;
		size_t len;
		const char *words;
	} bad[] = {
		{ "\x0a\x05"
		  "a",
		  3, "malformed" },
		{ "\x0a\x03"
		  "a\0b",
		  5, "name: holds a zero byte" },
		{ "\x0a\x02\xc0\x80", 4, "name: not UTF-8" },
		{ "\x0a\x03\xed\xa0\x80", 5, "name: not UTF-8" },
		{ "\x0a\x04\xf5\x80\x80\x80", 6, "name: not UTF-8" },
		{ "\x0a\x01\xff", 3, "name: not UTF-8" },
		{ "\x0a\x01\xe2", 3, "name: not UTF-8" },
		{ "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11, "malformed" },
		{ "\x00\x01", 2, "malformed" },
		{ "\x0b", 1, "malformed" },
		{ "", 0, "name: empty" },
		{ "\x0a\x00", 2, "name: empty" },
	};

	CHECK_INT(deserial_init(), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CHECK_INT(put_wire(bad[i].wire, bad[i].len), -EINVAL);
		CHECK_ERROR(bad[i].words);
	}
	CHECK_INT(put_wire("\x0a\x04\xf4\x8f\xbf\xbf", 6), 0);
}

static void other_messages_are_refused(void)
{
	Core__SocketAddress *a = make_address("10.0.0.1:80");

	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put(a), -EINVAL);
	CHECK_ERROR("not core.SocketAddress");
	CHECK_INT(put(NULL), -EINVAL);
	CHECK_INT(deserial_delete_elem("a", NULL), -EINVAL);
	CHECK(!deserial_lookup_elem("a", &core__socket_address__descriptor));
	CHECK_INT(errno, EINVAL);
	CHECK(!deserial_lookup_all_elems(NULL));
	CHECK_INT(errno, EINVAL);
}

static void a_missing_element_is_refused(void)
{
	Cluster__Cluster *c = make_simple("a", "10.0.0.1:80");

	CHECK_INT(deserial_init(), 0);
	c->load_assignment->endpoints[0]->lb_endpoints[0] = NULL;
	CHECK_INT(put(c), -EINVAL);
	CHECK_ERROR("not a whole message");
}

static void the_key_must_be_the_messages_own(void)
{
	Cluster__Cluster *c = make_cluster("a");
	Listener__Listener *l = make_tcp_listener("10.0.0.1:80", "a");

	CHECK_INT(deserial_init(), 0);
	CHECK_INT(deserial_update_elem("a", c), 0);
	CHECK_INT(deserial_update_elem("b", c), -EINVAL);
	CHECK_ERROR("not the message's own");
	CHECK_INT(deserial_update_elem(make_address("10.0.0.1:80"), l), 0);
	CHECK_INT(deserial_update_elem(make_address("10.0.0.1:81"), l), -EINVAL);
}

static void calls_without_a_store_are_refused(void)
{
	struct deserial_stats stats;
	struct deserial_endpoint *e;
	uint8_t *buf;
	size_t n;

	CHECK_INT(put(make_cluster("a")), -ENODEV);
	CHECK_INT(delete_cluster("a"), -ENODEV);
	CHECK_INT(deserial_stats(&stats), -ENODEV);
	CHECK_INT(deserial_endpoints("a", &e, &n), -ENODEV);
	CHECK_INT(deserial_lookup_all_wire(&cluster__cluster__descriptor, &buf, &n), -ENODEV);
	CHECK(!deserial_lookup_elem("a", &cluster__cluster__descriptor));
	CHECK_INT(errno, ENODEV);
	CHECK_INT(deserial_uninit(true), -ENODEV);
	CHECK_ERROR("deserial_init comes first");
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(deserial_init(), -EALREADY);
}

const struct test wire_tests[] = {
	TEST(every_length_is_restored),		 TEST(unknown_fields_are_kept),
	TEST(malformed_messages_are_refused),	 TEST(other_messages_are_refused),
	TEST(a_missing_element_is_refused),	 TEST(the_key_must_be_the_messages_own),
	TEST(calls_without_a_store_are_refused), TESTS_END,
};
