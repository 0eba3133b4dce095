// SPDX-License-Identifier: Apache-2.0
#include "target.h"

#include <errno.h>
#include <string.h>

#include "error.h"
#include "pick.h"

static int by_name(struct batch *b, enum km_kind kind, const char *name, uint32_t *root)
{
	if (!name || !*name)
		return error_set(-EINVAL, "%s: names none",
				 kind == KM_CLUSTER ? "cluster" : "route_config_name");
	return batch_root(b, kind, name, (uint32_t)strnlen(name, UINT32_MAX), root);
}

int target_cluster(struct batch *b, const char *name, struct km_target *target)
{
	target->kind = KM_T_CLUSTER;
	return by_name(b, KM_CLUSTER, name, &target->arg);
}

int target_route(struct batch *b, const char *name, struct km_target *target)
{
	target->kind = KM_T_ROUTE;
	return by_name(b, KM_ROUTE, name, &target->arg);
}

int target_weighted(struct batch *b, const struct weight *weights, size_t n, struct parts *old,
		    struct km_target *target)
{
	struct choice *choices;
	uint32_t used = 0;
	int err;

	choices = arena_zalloc(&b->s->arena, n, sizeof(*choices));
	if (!choices)
		return error_sys(-ENOMEM, "weighted_clusters");
	for (size_t i = 0; i < n; i++) {
		if (!weights[i].weight)
			continue;
		err = by_name(b, KM_CLUSTER, weights[i].name, &choices[used].arg);
		if (err)
			return error_prefix(err, "weighted_clusters[%zu]", i);
		choices[used++].weight = weights[i].weight;
	}
	if (!used)
		return error_set(-EINVAL, "weighted_clusters: weights sum to 0");
	if (used == 1) {
		target->kind = KM_T_CLUSTER;
		target->arg = choices[0].arg;
		return 0;
	}
	target->kind = KM_T_WEIGHTED;
	err = pick_build(b, choices, used, true, old, &target->arg);
	return err ? error_prefix(err, "weighted_clusters") : 0;
}

struct resolved {
	bool done;
	struct km_target target;
};

static bool same(const struct km_target *a, const struct km_target *b)
{
	return a->kind == b->kind && a->arg == b->arg;
}

/* One after the other; neighbours with one target become one. */
static int resolve_intervals(struct batch *b, struct interval *intervals, uint32_t *n,
			     const struct resolver *resolver, struct resolved *cache,
			     struct km_target *targets, struct parts *old)
{
	uint32_t made = 0;

	for (uint32_t i = 0; i < *n; i++) {
		uint32_t id = intervals[i].id == RULE_NONE ? resolver->none : intervals[i].id;
		struct km_target target = { .kind = KM_T_PASS };
		int err = 0;

		if (id != RULE_NONE && !cache[id].done) {
			err = resolver->resolve(b, resolver->arg, id, old, &cache[id].target);
			cache[id].done = true;
		}
		if (err)
			return err;
		if (id != RULE_NONE)
			target = cache[id].target;
		if (made && same(&targets[made - 1], &target))
			continue;
		intervals[made].first = intervals[i].first;
		targets[made++] = target;
	}
	*n = made;
	return 0;
}

int target_rules(struct batch *b, struct rule *rules, uint32_t n, const struct scope *scope,
		 const struct resolver *resolver, struct parts *old, struct km_target *target)
{
	struct arena *arena = &b->s->arena;
	size_t most = 2 * (size_t)n + 2;
	uint32_t *stack = arena_zalloc(arena, (size_t)n + 1, sizeof(*stack));
	struct interval *intervals = arena_zalloc(arena, most, sizeof(*intervals));
	struct km_target *targets = arena_zalloc(arena, most, sizeof(*targets));
	struct resolved *cache = arena_zalloc(arena, (size_t)resolver->ids + 1, sizeof(*cache));
	int err;

	if (!stack || !intervals || !targets || !cache)
		return error_sys(-ENOMEM, "lay out address ranges");
	n = ranges_flatten(rules, n, stack, intervals);
	n = ranges_clip(intervals, n, &scope->first, &scope->last);
	err = resolve_intervals(b, intervals, &n, resolver, cache, targets, old);
	if (err)
		return err;
	if (n == 1) {
		*target = targets[0];
		return 0;
	}
	target->kind = KM_T_RANGES;
	return ranges_build(b, intervals, targets, n, &target->arg);
}
