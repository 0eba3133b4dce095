// SPDX-License-Identifier: Apache-2.0
/* Contract: which filter chain a destination gets, and where that sends it. */
#include <errno.h>

#include "fake.h"
#include "make.h"
#include "reader.h"
#include "test.h"

static void exact_beats_wildcard(void)
{
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(PUT(make_tcp_listener("10.96.0.1:80", "exact"),
		      make_tcp_listener("0.0.0.0:80", "wildcard"),
		      make_tcp_listener("[2001:db8::1]:80", "exact6"),
		      make_tcp_listener("[::]:80", "wildcard6")),
		  0);
	CHECK_TEXT(where("10.96.0.1:80"), "exact");
	CHECK_TEXT(where("10.96.0.2:80"), "wildcard");
	CHECK_TEXT(where("10.96.0.1:81"), "pass");
	CHECK_TEXT(where("[2001:db8::1]:80"), "exact6");
	CHECK_TEXT(where("[2001:db8::2]:80"), "wildcard6");
	CHECK_TEXT(where("[::ffff:10.96.0.1]:80"), "exact");
}

static void a_deleted_exact_listener_leaves_the_wildcard(void)
{
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(PUT(make_tcp_listener("10.96.0.1:80", "exact"),
		      make_tcp_listener("0.0.0.0:80", "wildcard")),
		  0);
	CHECK_INT(delete_listener("10.96.0.1:80"), 0);
	CHECK_TEXT(where("10.96.0.1:80"), "wildcard");
	CHECK_INT(delete_listener("10.96.0.1:80"), -ENOENT);
	CHECK_ERROR("Listener 10.96.0.1:80: not there");
	CHECK_INT(delete_listener("[2001:db8::1]:80"), -ENOENT);
	CHECK_ERROR("Listener [2001:db8::1]:80: not there");
	/* Back again, before and after its entry was taken out. */
	CHECK_INT(put(make_tcp_listener("10.96.0.1:80", "again")), 0);
	CHECK_TEXT(where("10.96.0.1:80"), "again");
}

static void passthrough_and_udp_are_left_alone(void)
{
	Listener__Listener *l = make_tcp_listener("0.0.0.0:15001", "a");
	Listener__Listener *udp = make_tcp_listener("10.96.0.1:53", "a");

	l->passthrough = true;
	udp->address->protocol = CORE__SOCKET_ADDRESS__PROTOCOL__UDP;
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(PUT(l, udp), 0);
	CHECK_TEXT(where("10.0.0.1:15001"), "pass");
	CHECK_TEXT(where("10.96.0.1:53"), "pass");
	CHECK_INT(cluster_root("a"), 0);
	/* TCP on the same address is another listener. */
	CHECK_INT(put(make_tcp_listener("10.96.0.1:53", "dns")), 0);
	CHECK_TEXT(where("10.96.0.1:53"), "dns");
}

static Listener__Listener *by_prefix(const char *address)
{
	Listener__Listener *l = make_listener(address);
	Listener__FilterChain *chain;

	chain = make_chain(l);
	make_prefix(chain, "10.0.0.0/8");
	make_prefix(chain, "2001:db8::/32");
	make_tcp(chain, "eight");
	chain = make_chain(l);
	make_prefix(chain, "10.1.2.3/32");
	make_prefix(chain, "10.1.0.0/16");
	make_tcp(chain, "sixteen");
	chain = make_chain(l);
	make_prefix(chain, "0.0.0.0/0");
	make_tcp(chain, "all");
	return l;
}

static void the_longest_prefix_wins(void)
{
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(PUT(by_prefix("0.0.0.0:80"), by_prefix("[::]:80"), by_prefix("10.1.0.1:81")), 0);
	CHECK_TEXT(where("10.0.255.255:80"), "eight");
	CHECK_TEXT(where("10.1.0.0:80"), "sixteen");
	CHECK_TEXT(where("10.1.255.255:80"), "sixteen");
	CHECK_TEXT(where("10.2.0.0:80"), "eight");
	CHECK_TEXT(where("9.255.255.255:80"), "all");
	CHECK_TEXT(where("11.0.0.0:80"), "all");
	CHECK_TEXT(where("255.255.255.255:80"), "all");
	CHECK_TEXT(where("[2001:db8:1::1]:80"), "eight");
	CHECK_TEXT(where("[2001:db7::1]:80"), "pass");
	CHECK_TEXT(where("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:80"), "pass");
	CHECK_TEXT(where("10.1.0.1:81"), "sixteen");
}

static void a_prefix_is_of_its_own_family(void)
{
	Listener__Listener *four = make_listener("0.0.0.0:80");
	Listener__Listener *six = make_listener("[::]:80");
	Listener__FilterChain *chain;

	chain = make_chain(four);
	make_prefix(chain, "::/0");
	make_tcp(chain, "six");
	chain = make_chain(six);
	make_prefix(chain, "0.0.0.0/0");
	make_tcp(chain, "four");
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(PUT(four, six), 0);
	CHECK_TEXT(where("10.0.0.1:80"), "pass");
	CHECK_TEXT(where("[2001:db8::1]:80"), "pass");
}

static void the_default_chain_takes_the_rest(void)
{
	Listener__Listener *l = make_listener("0.0.0.0:80");
	Listener__FilterChain *chain = make_chain(l);

	make_prefix(chain, "10.0.0.0/8");
	make_tcp(chain, "ten");
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put(l), 0);
	CHECK_TEXT(where("11.0.0.1:80"), "pass");
	make_tcp(make_default(l), "rest");
	CHECK_INT(put(l), 0);
	CHECK_TEXT(where("10.0.0.1:80"), "ten");
	CHECK_TEXT(where("11.0.0.1:80"), "rest");
	CHECK_TEXT(where("1.0.0.1:80"), "rest");
}

static void chains_match_by_the_listeners_port(void)
{
	Listener__Listener *l = make_listener("0.0.0.0:80");
	Listener__FilterChain *chain;

	chain = make_chain(l);
	make_match(chain)->destination_port = 81;
	make_tcp(chain, "other");
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put(l), 0);
	CHECK_TEXT(where("10.0.0.1:80"), "pass");
	make_tcp(make_chain(l), "any");
	CHECK_INT(put(l), 0);
	CHECK_TEXT(where("10.0.0.1:80"), "any");
	/* A chain that names the port hides those that name none. */
	chain = make_chain(l);
	make_match(chain)->destination_port = 80;
	make_prefix(chain, "10.0.0.0/8");
	make_tcp(chain, "named");
	CHECK_INT(put(l), 0);
	CHECK_TEXT(where("10.0.0.1:80"), "named");
	CHECK_TEXT(where("11.0.0.1:80"), "pass");
}

/* One chain for each transport and application protocol that is given. */
static char *chosen(const char *const (*chains)[2])
{
	Listener__Listener *l = make_listener("10.0.0.1:80");

	for (; (*chains)[0]; chains++) {
		Listener__FilterChain *chain = make_chain(l);
		Listener__FilterChainMatch *m = make_match(chain);

		m->transport_protocol = make_text("%s", (*chains)[0]);
		if ((*chains)[1]) {
			m->application_protocols =
				make_grow(NULL, &m->n_application_protocols, sizeof(char *));
			m->application_protocols[0] = make_text("%s", (*chains)[1]);
		}
		make_tcp(chain, make_text("%s/%s", (*chains)[0], (*chains)[1] ? (*chains)[1] : ""));
	}
	make_tcp(make_default(l), "default");
	CHECK_INT(put(l), 0);
	return where("10.0.0.1:80");
}

#define CHOSEN(...) chosen((const char *const[][2]){ __VA_ARGS__, { NULL } })

static void chains_match_by_protocol(void)
{
	CHECK_INT(deserial_init(), 0);
	CHECK_TEXT(CHOSEN({ "" }, { "raw_buffer" }), "raw_buffer/");
	CHECK_TEXT(CHOSEN({ "tls" }, { "" }), "/");
	CHECK_TEXT(CHOSEN({ "tls" }), "default");
	CHECK_TEXT(CHOSEN({ "" }, { "", "http/1.1" }), "/http/1.1");
	CHECK_TEXT(CHOSEN({ "", "h2" }, { "" }), "/");
	CHECK_TEXT(CHOSEN({ "", "istio" }), "default");
	CHECK_TEXT(CHOSEN({ "", "h2c" }, { "raw_buffer" }), "raw_buffer/");
	CHECK_TEXT(CHOSEN({ "raw_buffer", "http/1.0" }, { "raw_buffer" }), "raw_buffer/http/1.0");
	/* No going back: raw_buffer was chosen, and none of it matches. */
	CHECK_TEXT(CHOSEN({ "raw_buffer", "istio" }, { "" }), "default");
	/* The first of equals. */
	CHECK_TEXT(CHOSEN({ "", "http/1.1" }, { "", "h2c" }), "/http/1.1");
}

static void server_names_never_match(void)
{
	Listener__Listener *l = make_listener("10.0.0.1:80");
	Listener__FilterChain *chain = make_chain(l);
	Listener__FilterChainMatch *m = make_match(chain);

	m->server_names = make_grow(NULL, &m->n_server_names, sizeof(char *));
	m->server_names[0] = make_text("a.example");
	make_tcp(chain, "named");
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put(l), 0);
	CHECK_TEXT(where("10.0.0.1:80"), "pass");
	make_tcp(make_chain(l), "any");
	CHECK_INT(put(l), 0);
	CHECK_TEXT(where("10.0.0.1:80"), "any");
}

static void weighted_clusters_keep_any_sum(void)
{
	Listener__Listener *l = make_listener("10.0.0.1:80");

	make_tcp_weighted(make_chain(l), "a=20 b=70 c=0 d=10");
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put(l), 0);
	CHECK_TEXT(where("10.0.0.1:80"), "a=2 b=7 d=1");
	/* A cluster of weight 0 is not referred to. */
	CHECK_INT(cluster_root("c"), 0);

	l = make_listener("10.0.0.1:80");
	make_tcp_weighted(make_chain(l), "a=333 b=667");
	CHECK_INT(put(l), 0);
	CHECK_TEXT(where("10.0.0.1:80"), "a=333 b=667");

	l = make_listener("10.0.0.1:80");
	make_tcp_weighted(make_chain(l), "a=0 b=5");
	CHECK_INT(put(l), 0);
	CHECK_TEXT(where("10.0.0.1:80"), "b");
}

static void weights_that_cannot_be_meant_are_refused(void)
{
	Listener__Listener *l = make_listener("10.0.0.1:80");

	make_tcp_weighted(make_chain(l), "a=0 b=0");
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put(l), -EINVAL);
	CHECK_ERROR(
		"Listener 10.0.0.1:80: filter_chains[0]: filters[0]: weighted_clusters: weights sum to 0");
	l = make_listener("10.0.0.1:80");
	make_tcp_weighted(make_chain(l), "a=4294967295 b=4294967294");
	CHECK_INT(put(l), -EINVAL);
	CHECK_ERROR("more than 4294967295");
	l = make_listener("10.0.0.1:80");
	make_tcp(make_chain(l), "");
	CHECK_INT(put(l), -EINVAL);
	CHECK_ERROR("cluster: names none");
	CHECK_TEXT(where("10.0.0.1:80"), "pass");
}

static void bad_prefixes_are_refused(void)
{
	static const char *const bad[] = { "10.0.0.0/33", "::/129", "x/8", "10.0.0/8", "/0" };

	CHECK_INT(deserial_init(), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		Listener__Listener *l = make_listener("10.0.0.1:80");
		Listener__FilterChain *chain = make_chain(l);

		make_prefix(chain, bad[i]);
		CHECK_INT(put(l), -EINVAL);
		CHECK_ERROR("filter_chains[0].filter_chain_match.prefix_ranges[0]: ");
	}
}

static void the_first_filter_that_leads_anywhere_counts(void)
{
	Listener__Listener *l = make_listener("10.0.0.1:80");
	Listener__FilterChain *chain = make_chain(l);

	make_tcp(chain, "nothing");
	chain->filters[0]->config_type_case = LISTENER__FILTER__CONFIG_TYPE__NOT_SET;
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put(l), 0);
	CHECK_TEXT(where("10.0.0.1:80"), "pass");
	make_tcp(chain, "second");
	make_tcp(chain, "third");
	CHECK_INT(put(l), 0);
	CHECK_TEXT(where("10.0.0.1:80"), "second");
}

static void a_listener_needs_an_address(void)
{
	Listener__Listener *l = make_tcp_listener("10.0.0.1:80", "a");

	CHECK_INT(deserial_init(), 0);
	l->address->ipv6.data = test_alloc(4);
	l->address->ipv6.len = 4;
	CHECK_INT(put(l), -EINVAL);
	CHECK_ERROR("address.ipv6: 4 bytes, not 16");
	l->address = NULL;
	CHECK_INT(put(l), -EINVAL);
	CHECK_ERROR("Listener: address: missing");
}

static void many_chains_and_filters_fit(void)
{
	Listener__Listener *l = make_listener("0.0.0.0:80");

	for (int i = 0; i < 256; i++) {
		Listener__FilterChain *chain = make_chain(l);

		make_prefix(chain, make_text("10.%d.0.0/16", i));
		for (int j = 0; j < 64; j++) {
			make_tcp(chain, make_text("c%d", i));
			if (j < 63)
				chain->filters[j]->config_type_case =
					LISTENER__FILTER__CONFIG_TYPE__NOT_SET;
		}
	}
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put(l), 0);
	for (int i = 0; i < 256; i++)
		CHECK_TEXT(where(make_text("10.%d.3.4:80", i)), make_text("c%d", i));
}

const struct test listener_tests[] = {
	TEST(exact_beats_wildcard),
	TEST(a_deleted_exact_listener_leaves_the_wildcard),
	TEST(passthrough_and_udp_are_left_alone),
	TEST(the_longest_prefix_wins),
	TEST(a_prefix_is_of_its_own_family),
	TEST(the_default_chain_takes_the_rest),
	TEST(chains_match_by_the_listeners_port),
	TEST(chains_match_by_protocol),
	TEST(server_names_never_match),
	TEST(weighted_clusters_keep_any_sum),
	TEST(weights_that_cannot_be_meant_are_refused),
	TEST(bad_prefixes_are_refused),
	TEST(the_first_filter_that_leads_anywhere_counts),
	TEST(a_listener_needs_an_address),
	TEST(many_chains_and_filters_fit),
	TESTS_END,
};
