/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The choice of an endpoint within a cluster. */
#ifndef KMESH_BALANCE_H
#define KMESH_BALANCE_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "bpf/abi.h"
#include "bpf/lookup.h"

/* Choices by policy in one group before its endpoints are tried in order. */
#define TRIES 4
/* All are ejected: the next choice is taken as it is. */
#define ANY 255
/* Endpoints tried in order by one run of the program, which then calls itself:
 * with the kernel's limit of 33 tail calls, more than 4096 in all. */
#define SEARCH 160

struct choice {
	struct km_endpoint *endpoint;
	__u32 handle;
	__u32 index;
};

static __always_inline bool choose(struct choice *c, __u32 pick, __u32 index)
{
	const struct km_entry *e = entry_at(pick, index);

	if (!e)
		return false;
	c->index = index;
	c->handle = e->arg;
	c->endpoint = node(e->arg);
	return c->endpoint != NULL;
}

static __always_inline bool healthy(const struct choice *c, __u64 now)
{
	return c->endpoint->ejected_until <= now;
}

/* Is a the better of two for LEAST_REQUEST: healthy, then fewer connections
 * for its weight. */
static __always_inline bool less(const struct choice *a, const struct choice *b, __u64 now)
{
	if (healthy(a, now) != healthy(b, now))
		return healthy(a, now);
	return (__u64)a->endpoint->active * b->endpoint->weight <
	       (__u64)b->endpoint->active * a->endpoint->weight;
}

/* One endpoint by the cluster's policy, ejected or not. LEAST_REQUEST is the
 * better of two chosen at random by weight. */
static __always_inline bool choose_by_policy(struct choice *best, __u32 pick,
					     const struct km_pick *p, __u32 lb, __u64 now)
{
	int rounds = lb == KM_LEAST_REQUEST && p->n > 1 ? 2 : 1;
	struct choice c;

	best->endpoint = NULL;
	for (int k = 0; k < 2 && k < rounds; k++) {
		__u32 i = pick_index(pick, p, lb != KM_ROUND_ROBIN);

		if (k && i == best->index && p->total == p->n) /* equal weights: two that differ */
			i = i + 1 < p->n ? i + 1 : 0;
		if (!choose(&c, pick, i))
			return false;
		if (!k || less(&c, best, now))
			*best = c;
	}
	return best->endpoint != NULL;
}

#endif
