// SPDX-License-Identifier: Apache-2.0
/* Contract: after any sequence of batches the store is what a model of it is. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fake.h"
#include "make.h"
#include "model.h"
#include "reader.h"
#include "test.h"

static unsigned int dice(unsigned int sides)
{
	return (unsigned int)rand() % sides;
}

static Cluster__Cluster *random_cluster(const char *name)
{
	Cluster__Cluster *c = make_cluster(name);

	for (unsigned int l = dice(4); l; l--) {
		Endpoint__LocalityLbEndpoints *locality = make_locality(c, dice(4), dice(3));

		for (unsigned int n = dice(12); n; n--)
			make_endpoint(locality,
				      dice(4) ? make_text("10.0.0.%u:%u", 1 + dice(9), 80 + dice(2))
					      : make_text("[2001:db8::%u]:80", 1 + dice(5)),
				      dice(5))
				->unhealthy = !dice(8);
	}
	c->lb_policy = dice(2);
	return c;
}

static const char *random_target(void)
{
	return dice(2) ? make_text("c%u", dice(8))
		       : make_text("c%u=%u c%u=%u c%u=1", dice(8), dice(9), dice(8), dice(9),
				   dice(8));
}

static Route__RouteConfiguration *random_route(const char *name)
{
	Route__RouteConfiguration *rc = make_route_config(name);

	for (unsigned int h = dice(5); h; h--)
		make_route(make_host(rc,
				     dice(3) ? make_text("10.9.0.%u 10.9.0.%u:80", dice(5), dice(5))
					     : "*"),
			   dice(4) ? "/" : "/v1", random_target());
	return rc;
}

static Listener__Listener *random_listener(const char *address)
{
	Listener__Listener *l = make_listener(address);

	for (unsigned int n = dice(4); n; n--) {
		Listener__FilterChain *chain = make_chain(l);

		if (dice(2))
			make_prefix(chain, make_text("10.%u.0.0/%u", dice(3), 8 + 8 * dice(2)));
		switch (dice(4)) {
		case 0:
			make_tcp(chain, make_text("c%u", dice(8)));
			break;
		case 1:
			make_tcp_weighted(chain,
					  make_text("c%u=2 c%u=%u", dice(8), dice(8), dice(4)));
			break;
		case 2:
			make_rds(chain, make_text("r%u", dice(4)));
			break;
		default:
			make_inline(chain, random_route("inline"));
		}
	}
	if (dice(2))
		make_tcp(make_default(l), make_text("c%u", dice(8)));
	return l;
}

static const void *random_message(void)
{
	switch (dice(4)) {
	case 0:
		return random_listener(dice(4) ? make_text("10.9.0.%u:80", dice(5)) : "0.0.0.0:80");
	case 1:
		return random_route(make_text("r%u", dice(4)));
	default:
		return random_cluster(make_text("c%u", dice(8)));
	}
}

static void random_batch(struct deserial_op *ops, size_t *n)
{
	*n = 1 + dice(6);
	memset(ops, 0, *n * sizeof(*ops));
	for (size_t i = 0; i < *n; i++) {
		ops[i].op = dice(4) ? DESERIAL_UPDATE : DESERIAL_DELETE;
		ops[i].value = random_message();
	}
}

static void random_batches(void)
{
	struct deserial_op ops[8];
	size_t n;

	srand(4);
	CHECK_INT(deserial_init(), 0);
	model_clear();
	for (int i = 0; i < 3000 && !test_failed(); i++) {
		random_batch(ops, &n);
		if (!deserial_update_batch(ops, n))
			model_apply(ops, n);
		model_check();
		if (i % 100)
			continue;
		model_check_slots();
	}
	model_clear();
}

static void random_batches_with_failures(void)
{
	struct deserial_op ops[8];
	size_t n;

	srand(5);
	CHECK_INT(deserial_init(), 0);
	model_clear();
	for (int i = 0; i < 2000 && !test_failed(); i++) {
		int err;

		random_batch(ops, &n);
		fake.calls = 0;
		fake.fail_at = dice(8);
		fake.fail_with = -ENOMEM;
		err = deserial_update_batch(ops, n);
		fake.fail_at = 0;
		if (!err)
			model_apply(ops, n);
		model_check();
		if (i % 100 == 0)
			model_check_slots();
	}
	model_clear();
}

const struct test random_tests[] = {
	TEST(random_batches),
	TEST(random_batches_with_failures),
	TESTS_END,
};
