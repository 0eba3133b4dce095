// SPDX-License-Identifier: Apache-2.0
#include "pick.h"

#include <errno.h>

#include "error.h"

uint64_t gcd(uint64_t a, uint64_t b)
{
	while (b) {
		uint64_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

/* Steps of the golden section spread best; coprime to total, they visit every
 * position once in a period. Equal weights need no spreading. */
static uint32_t step_of(uint32_t total, uint32_t n)
{
	uint64_t step = (uint64_t)total * 618 / 1000;

	if (total == n)
		return 1;
	if (!step)
		step = 1;
	while (gcd(step, total) != 1)
		step++;
	return (uint32_t)step;
}

static int counter_of(struct batch *b, struct parts *old, uint32_t *counter)
{
	if (old->counters.n) {
		/* They were turned round: the first one is last. */
		*counter = (uint32_t)old->counters.v[--old->counters.n];
		return 0;
	}
	*counter = index_take(b->s, &b->s->counters);
	if (!*counter)
		return error_set(-ENOSPC, "round-robin counters: all %u in use",
				 KM_MAX_COUNTERS - 1);
	if (vec_push(&b->counters, *counter)) {
		idset_give(&b->s->counters, *counter);
		return error_sys(-ENOMEM, "take a counter");
	}
	return 0;
}

int pick_build(struct batch *b, struct choice *choices, uint32_t n, bool in_turn, struct parts *old,
	       uint32_t *handle)
{
	struct km_entry *entries;
	struct km_pick *pick;
	void *node;
	uint64_t common = 0, total = 0;
	int err;

	if (n > KM_MAX_PICK)
		return error_set(-ENOSPC, "%u to choose from are more than %u", n, KM_MAX_PICK);
	for (uint32_t i = 0; i < n; i++)
		common = gcd(choices[i].weight, common);
	for (uint32_t i = 0; i < n; i++) {
		choices[i].weight /= common;
		total += choices[i].weight;
		if (choices[i].weight > UINT32_MAX || total > UINT32_MAX)
			return error_set(-EINVAL, "weights sum to more than 4294967295");
	}

	err = batch_run(b, pick_slots(n), handle, &node);
	if (err)
		return err;
	pick = node;
	pick->n = n;
	pick->total = (uint32_t)total;
	pick->step = step_of(pick->total, n);
	if (n > 1 && in_turn) {
		err = counter_of(b, old, &pick->counter);
		if (err)
			return err;
	}
	entries = (struct km_entry *)pick + KM_PICK_CELL0;
	total = 0;
	for (uint32_t i = 0; i < n; i++) {
		total += choices[i].weight;
		entries[i].cum = (uint32_t)total;
		entries[i].arg = choices[i].arg;
	}
	return 0;
}
