// SPDX-License-Identifier: Apache-2.0
#include "ranges.h"

#include <errno.h>
#include <stdlib.h>

#include "error.h"

int point_compare(const struct point *a, const struct point *b)
{
	if (a->hi != b->hi)
		return a->hi < b->hi ? -1 : 1;
	if (a->lo != b->lo)
		return a->lo < b->lo ? -1 : 1;
	return (a->port > b->port) - (a->port < b->port);
}

/* Outer rules before the inner ones that begin with them. */
static int by_begin(const void *a, const void *b)
{
	const struct rule *x = a, *y = b;
	int order = point_compare(&x->first, &y->first);

	if (!order)
		order = point_compare(&y->last, &x->last);
	if (!order)
		order = (x->id > y->id) - (x->id < y->id);
	return order;
}

/* The one after. False after the last of all. */
static bool next(const struct point *p, struct point *after)
{
	*after = *p;
	if (after->port < 65535) {
		after->port++;
		return true;
	}
	after->port = 0;
	if (!++after->lo && !++after->hi)
		return false;
	return true;
}

static void begin(struct interval *intervals, uint32_t *n, const struct point *first, uint32_t id)
{
	/* What begins at the same point is overtaken by the inner one. */
	if (*n && !point_compare(&intervals[*n - 1].first, first))
		(*n)--;
	if (*n && intervals[*n - 1].id == id)
		return;
	intervals[*n].first = *first;
	intervals[*n].id = id;
	(*n)++;
}

uint32_t ranges_flatten(struct rule *rules, uint32_t n, uint32_t *stack, struct interval *intervals)
{
	const struct point zero = { 0 };
	uint32_t depth = 0, made = 0;

	qsort(rules, n, sizeof(*rules), by_begin);
	begin(intervals, &made, &zero, RULE_NONE);
	for (uint32_t i = 0; i <= n; i++) {
		/* Rules that end before this one: the outer one goes on. */
		while (depth) {
			const struct rule *top = &rules[stack[depth - 1]];
			struct point after;

			if (i < n && point_compare(&top->last, &rules[i].first) >= 0)
				break;
			depth--;
			if (next(&top->last, &after))
				begin(intervals, &made, &after,
				      depth ? rules[stack[depth - 1]].id : RULE_NONE);
		}
		if (i == n)
			break;
		/* The first of equals has been put there already. */
		if (depth && !point_compare(&rules[stack[depth - 1]].first, &rules[i].first) &&
		    !point_compare(&rules[stack[depth - 1]].last, &rules[i].last))
			continue;
		begin(intervals, &made, &rules[i].first, rules[i].id);
		stack[depth++] = i;
	}
	return made;
}

uint32_t ranges_clip(struct interval *intervals, uint32_t n, const struct point *first,
		     const struct point *last)
{
	uint32_t from = 0, kept = 0;

	while (from + 1 < n && point_compare(&intervals[from + 1].first, first) <= 0)
		from++;
	for (uint32_t i = from; i < n; i++) {
		if (i > from && point_compare(&intervals[i].first, last) > 0)
			break;
		intervals[kept++] = intervals[i];
	}
	return kept;
}

int ranges_build(struct batch *b, const struct interval *intervals, const struct km_target *targets,
		 uint32_t n, uint32_t *handle)
{
	struct km_ranges *ranges;
	struct km_range *entry;
	void *node;
	int err;

	if (n > KM_MAX_RANGES)
		return error_set(-ENOSPC, "%u intervals of addresses are more than %u", n,
				 KM_MAX_RANGES);
	err = batch_run(b, ranges_slots(n), handle, &node);
	if (err)
		return err;
	ranges = node;
	ranges->n = n;
	entry = (struct km_range *)(ranges + 1);
	for (uint32_t i = 0; i < n; i++, entry++) {
		/* Clipped ones start before the listener's own addresses. */
		entry->hi = i ? intervals[i].first.hi : 0;
		entry->lo = i ? intervals[i].first.lo : 0;
		entry->port = i ? intervals[i].first.port : 0;
		entry->target = targets[i];
	}
	return 0;
}
