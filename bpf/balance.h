/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The choice of an endpoint within a cluster. */
#ifndef KMESH_BALANCE_H
#define KMESH_BALANCE_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "bpf/abi.h"
#include "bpf/lookup.h"

/* Choices by policy in one group before its endpoints are tried in order. */
#define TRIES 8
/* All are ejected: the next choice is taken as it is. */
#define ANY 255
/* Slots of up to 8 endpoints that one run of search looks at before it calls
 * itself. Within the kernel's limit of 33 tail calls that is 600 endpoints that
 * are ejected side by side; past it, one of them is taken. */
#define SEARCH 4

struct choice {
	struct km_endpoint *endpoint;
	__u32 handle;
	__u32 index;
};

static __always_inline bool choose(struct choice *c, __u32 handle, __u32 index)
{
	c->index = index;
	c->handle = handle;
	c->endpoint = handle ? node(handle) : NULL;
	return c->endpoint != NULL;
}

/* With outlier detection off, what was ejected before takes connections again. */
static __always_inline bool detects(void)
{
	const struct km_config *cfg = config();

	return cfg && cfg->outlier_failures;
}

static __always_inline bool healthy(const struct choice *c)
{
	__u64 until = c->endpoint->ejected_until;

	/* Reading the clock costs more than all the rest of the choice. */
	return !until || !detects() || until <= bpf_ktime_get_ns();
}

/* Is a the better of two for LEAST_REQUEST: healthy, then fewer connections
 * for its weight. */
static __always_inline bool less(const struct choice *a, const struct choice *b)
{
	bool up = healthy(a);

	if (up != healthy(b))
		return up;
	return (__u64)a->endpoint->active * b->endpoint->weight <
	       (__u64)b->endpoint->active * a->endpoint->weight;
}

/* One endpoint by the cluster's policy, ejected or not. LEAST_REQUEST is the
 * better of two: one chosen by weight, so that idle endpoints get their share,
 * and any other. */
static __always_inline bool choose_by_policy(struct choice *c, __u32 pick, const struct km_pick *p,
					     __u32 lb)
{
	struct choice other;
	__u64 random = 0;
	__u32 i, handle;

	if (lb != KM_ROUND_ROBIN)
		random = (__u64)bpf_get_prandom_u32() << 32 | bpf_get_prandom_u32();
	handle = pick_entry(pick, p, lb == KM_ROUND_ROBIN, random, &i);
	if (!choose(c, handle, i))
		return false;
	if (lb != KM_LEAST_REQUEST || p->n < 2)
		return true;
	handle = pick_second(pick, p, random, &i);
	if (choose(&other, handle, i) && less(&other, c))
		*c = other;
	return true;
}

/* The first healthy endpoint in the slot'th slot of a choice. A cell that holds
 * no entry counts as an endpoint that is ejected for ever. */
static __always_inline bool choose_in_slot(struct choice *c, __u32 pick, __u32 slot, __u32 n,
					   __u64 now)
{
	const struct km_entry *e = node(pick + slot);
	__u32 i = slot * KM_CELLS8 - KM_PICK_CELL0;

	if (!e)
		return false;
	_Pragma("clang loop unroll(full)") for (__u32 k = 0; k < KM_CELLS8; k++, i++)
	{ /* i wraps in the header's two cells */
		__u64 unused = ~(((__s64)i - n) >> 63);

		c->handle = e[k].arg;
		c->endpoint = node(c->handle);
		if (c->endpoint && (c->endpoint->ejected_until | unused) <= now)
			return true;
	}
	return false;
}

#endif
