// SPDX-License-Identifier: Apache-2.0
/*
 * A member's share is locality weight * weight / sum of weights in the locality.
 * As whole numbers that is exact over the common denominator of the localities.
 * Where that gets too large for a period that anyone would see the end of, the
 * shares are rounded to parts of 2^30, none to nothing.
 */
#include "weigh.h"

#include "pick.h"

#define MAX_TOTAL INT32_MAX
#define ROUND_TOTAL (1u << 30)

typedef unsigned __int128 wide;

static uint64_t sum_localities(struct member *const *members, uint32_t n,
			       struct locality *localities, bool by_locality)
{
	uint64_t total = 0;

	for (uint32_t i = 0; i < n; i++)
		localities[members[i]->locality].sum = 0;
	for (uint32_t i = 0; i < n; i++) {
		struct locality *l = &localities[members[i]->locality];

		if (!l->sum)
			total += l->weight;
		l->sum += members[i]->weight;
		if (!by_locality)
			total += members[i]->weight;
	}
	return total;
}

/* The common denominator, 0 when it is too large. */
static uint64_t denominator(struct member *const *members, uint32_t n,
			    const struct locality *localities)
{
	uint64_t common = 1;

	for (uint32_t i = 0; i < n; i++) {
		const struct locality *l = &localities[members[i]->locality];
		uint64_t own;

		if (!l->weight)
			continue;
		own = l->sum / gcd(l->weight, l->sum);
		if (common % own == 0)
			continue;
		own /= gcd(common, own);
		if (own > UINT32_MAX || common > UINT32_MAX)
			return 0;
		common *= own;
	}
	return common;
}

/* False when the shares do not fit. */
static bool exact(struct member *const *members, uint32_t n, const struct locality *localities,
		  bool by_locality)
{
	uint64_t common = by_locality ? denominator(members, n, localities) : 1;
	uint64_t divisor = 0;
	wide total = 0;

	if (!common)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		const struct locality *l = &localities[members[i]->locality];
		wide share = members[i]->weight;

		if (by_locality)
			share = (wide)l->weight * common / l->sum * share;
		if (share > UINT64_MAX)
			return false;
		members[i]->share = (uint64_t)share;
		divisor = gcd(members[i]->share, divisor);
		total += share;
	}
	return total <= UINT64_MAX && (!divisor || total / divisor <= MAX_TOTAL);
}

static void rounded(struct member *const *members, uint32_t n, const struct locality *localities,
		    bool by_locality, uint64_t total)
{
	for (uint32_t i = 0; i < n; i++) {
		const struct locality *l = &localities[members[i]->locality];
		wide share = (wide)members[i]->weight * ROUND_TOTAL;

		if (by_locality)
			share = l->sum ? share * l->weight / l->sum : 0;
		members[i]->share = total ? (uint64_t)(share / total) : 0;
		if (!members[i]->share && (!by_locality || l->weight))
			members[i]->share = 1;
	}
}

void weigh(struct member *const *members, uint32_t n, struct locality *localities, bool by_locality)
{
	uint64_t total = sum_localities(members, n, localities, by_locality);

	if (!exact(members, n, localities, by_locality))
		rounded(members, n, localities, by_locality, total);
}
