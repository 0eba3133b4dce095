// SPDX-License-Identifier: Apache-2.0
/* Contract: the virtual host of an address, and routes that are not guessed. */
#include <errno.h>

#include "fake.h"
#include "make.h"
#include "reader.h"
#include "test.h"

static Listener__Listener *with_rds(const char *address, const char *name)
{
	Listener__Listener *l = make_listener(address);

	make_rds(make_chain(l), name);
	return l;
}

static Route__RouteConfiguration *by_address(const char *name)
{
	Route__RouteConfiguration *rc = make_route_config(name);

	make_route(make_host(rc, "a.ns.svc 10.96.0.1 10.96.0.1:80 2001:db8::1"), "/", "a");
	make_route(make_host(rc, "b.ns.svc [2001:db8::2]:80 [2001:db8::3] 10.96.0.2:80"), "",
		   "b=1 c=3");
	make_route(make_host(rc, "*"), "/", "rest");
	return rc;
}

static void the_virtual_host_is_found_by_address(void)
{
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(PUT(with_rds("0.0.0.0:80", "80"), with_rds("[::]:80", "80"),
		      with_rds("0.0.0.0:81", "80"), by_address("80")),
		  0);
	CHECK_TEXT(where("10.96.0.1:80"), "a");
	CHECK_TEXT(where("10.96.0.1:81"), "a");
	CHECK_TEXT(where("10.96.0.2:80"), "b=1 c=3");
	CHECK_TEXT(where("10.96.0.2:81"), "rest");
	CHECK_TEXT(where("10.96.0.3:80"), "rest");
	CHECK_TEXT(where("10.96.0.0:80"), "rest");
	CHECK_TEXT(where("[2001:db8::1]:80"), "a");
	CHECK_TEXT(where("[2001:db8::2]:80"), "b=1 c=3");
	CHECK_TEXT(where("[2001:db8::3]:80"), "b=1 c=3");
	CHECK_TEXT(where("[2001:db8::4]:80"), "rest");
}

static void a_route_that_comes_later_takes_effect(void)
{
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put(with_rds("0.0.0.0:80", "80")), 0);
	CHECK_TEXT(where("10.96.0.1:80"), "pass");
	CHECK_INT(put(by_address("80")), 0);
	CHECK_TEXT(where("10.96.0.1:80"), "a");
	CHECK_INT(delete_route("80"), 0);
	CHECK_TEXT(where("10.96.0.1:80"), "pass");
	CHECK_INT(delete_route("80"), -ENOENT);
	CHECK_INT(put(by_address("80")), 0);
	CHECK_TEXT(where("10.96.0.1:80"), "a");
}

static void an_inline_route_is_the_same(void)
{
	Listener__Listener *wildcard = make_listener("0.0.0.0:80");
	Listener__Listener *exact = make_listener("10.96.0.2:80");
	Listener__Listener *other = make_listener("10.96.0.2:81");
	Listener__FilterChain *chain = make_chain(wildcard);

	make_prefix(chain, "10.0.0.0/8");
	make_inline(chain, by_address("x"));
	make_tcp(make_default(wildcard), "default");
	make_inline(make_chain(exact), by_address("x"));
	make_inline(make_chain(other), by_address("x"));
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(PUT(wildcard, exact, other), 0);
	CHECK_TEXT(where("10.96.0.1:80"), "a");
	CHECK_TEXT(where("10.96.0.2:80"), "b=1 c=3");
	CHECK_TEXT(where("10.96.0.2:81"), "rest");
	CHECK_TEXT(where("10.97.0.0:80"), "rest");
	CHECK_TEXT(where("11.96.0.1:80"), "default");
}

static void what_depends_on_the_request_passes(void)
{
	Route__RouteConfiguration *rc = make_route_config("80");
	Route__VirtualHost *path = make_host(rc, "10.0.0.1");
	Route__VirtualHost *header = make_host(rc, "10.0.0.2");
	Route__VirtualHost *condition = make_host(rc, "10.0.0.3");
	Route__VirtualHost *redirect = make_host(rc, "10.0.0.4");
	Route__HeaderMatcher matcher = ROUTE__HEADER_MATCHER__INIT;
	Route__HeaderMatcher *matchers = &matcher;
	Route__Route *r;

	make_route(path, "/v2", "a");
	make_route(path, "/", "b");
	r = make_route(header, "/", "a");
	r->match->headers = &matchers;
	r->match->n_headers = 1;
	make_route(condition, "/", "a")->match->condition = make_text("path /x");
	make_route(redirect, "/", NULL);
	make_route(redirect, "/", "a");
	make_host(rc, "10.0.0.5"); /* without routes */
	make_route(make_host(rc, "*"), "/", "rest");
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(PUT(with_rds("0.0.0.0:80", "80"), rc), 0);
	for (int i = 1; i <= 5; i++)
		CHECK_TEXT(where(make_text("10.0.0.%d:80", i)), "pass");
	CHECK_TEXT(where("10.0.0.6:80"), "rest");
}

static void the_first_of_equal_domains_counts(void)
{
	Route__RouteConfiguration *rc = make_route_config("80");

	make_route(make_host(rc, "10.0.0.1 *"), "/", "first");
	make_route(make_host(rc, "10.0.0.1 10.0.0.1:80 *"), "/", "second");
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(PUT(with_rds("0.0.0.0:80", "80"), with_rds("0.0.0.0:81", "80"), rc), 0);
	CHECK_TEXT(where("10.0.0.1:80"), "second");
	CHECK_TEXT(where("10.0.0.1:81"), "first");
	CHECK_TEXT(where("10.0.0.2:80"), "first");
}

static void any_host_of_a_port(void)
{
	Route__RouteConfiguration *rc = make_route_config("80");
	Listener__Listener *known = make_listener("0.0.0.0:82");

	make_route(make_host(rc, "*:82"), "/", "port");
	make_route(make_host(rc, "10.0.0.1"), "/", "address");
	make_route(make_host(rc, "*"), "/", "rest");
	make_inline(make_chain(known), rc);
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(PUT(with_rds("0.0.0.0:80", "80"), rc, known), 0);
	CHECK_TEXT(where("10.0.0.1:82"), "address");
	CHECK_TEXT(where("10.0.0.2:82"), "port");
	/* Where the port is not known beforehand it is not guessed. */
	CHECK_TEXT(where("10.0.0.1:80"), "address");
	CHECK_TEXT(where("10.0.0.2:80"), "pass");
}

static void names_are_no_addresses(void)
{
	static const char *const names[] = {
		"10.0.0.1.example",
		"10.0.0",
		"[10.0.0.1]",
		"[2001:db8::1",
		"[2001:db8::1]x",
		"10.0.0.1:",
		"10.0.0.1:0",
		"10.0.0.1:65536",
		"10.0.0.1:8o",
		"*.example",
		"",
		"x*",
		"**",
		"[*]",
		"[]",
		":80",
		"10.0.0.1:80:90",
		"[2001:db8::1]:99999999999",
	};
	Route__RouteConfiguration *rc = make_route_config("80");

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		Route__VirtualHost *host = make_host(rc, "x");

		host->domains[0] = make_text("%s", names[i]);
		make_route(host, "/", "a");
	}
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(PUT(with_rds("0.0.0.0:80", "80"), rc), 0);
	CHECK_TEXT(where("10.0.0.1:80"), "pass");
	CHECK_INT(cluster_root("a"), 0);
}

static void a_bad_route_is_named(void)
{
	Route__RouteConfiguration *rc = make_route_config("80");

	make_route(make_host(rc, "*"), "/", "a=0 b=0");
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(put(rc), -EINVAL);
	CHECK_ERROR(
		"RouteConfiguration 80: virtual_hosts[0].routes[0].route: weighted_clusters: weights sum to 0");
}

static void a_hundred_and_more_weighted_clusters_fit(void)
{
	Route__RouteConfiguration *rc = make_route_config("80");
	char *clusters = make_text("c0=1");
	char *want;

	for (int i = 1; i < 200; i++)
		clusters = make_text("%s c%d=%d", clusters, i, i + 1);
	want = make_text("%s", clusters);
	make_route(make_host(rc, "*"), "/", clusters);
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(PUT(with_rds("0.0.0.0:80", "80"), rc), 0);
	CHECK_TEXT(where("10.0.0.1:80"), want);
}

static void a_thousand_virtual_hosts_are_found(void)
{
	Route__RouteConfiguration *rc = make_route_config("80");

	for (int i = 0; i < 1000; i++)
		make_route(make_host(rc, make_text("10.1.%d.%d 10.1.%d.%d:80", i / 250, i % 250,
						   i / 250, i % 250)),
			   "/", make_text("c%d", i));
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(PUT(with_rds("0.0.0.0:80", "80"), rc), 0);
	for (int i = 0; i < 1000; i += 37)
		CHECK_TEXT(where(make_text("10.1.%d.%d:80", i / 250, i % 250)),
			   make_text("c%d", i));
	CHECK_TEXT(where("10.1.0.250:80"), "pass");
}

const struct test route_tests[] = {
	TEST(the_virtual_host_is_found_by_address),
	TEST(a_route_that_comes_later_takes_effect),
	TEST(an_inline_route_is_the_same),
	TEST(what_depends_on_the_request_passes),
	TEST(the_first_of_equal_domains_counts),
	TEST(any_host_of_a_port),
	TEST(names_are_no_addresses),
	TEST(a_bad_route_is_named),
	TEST(a_hundred_and_more_weighted_clusters_fit),
	TEST(a_thousand_virtual_hosts_are_found),
	TESTS_END,
};
