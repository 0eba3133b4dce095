/* SPDX-License-Identifier: Apache-2.0 */
/* Where a connection goes next, struct km_target. */
#ifndef KMESH_TARGET_H
#define KMESH_TARGET_H

#include "batch.h"
#include "ranges.h"
#include "route/route.pb-c.h"

struct weight {
	const char *name;
	uint32_t weight;
};

int target_cluster(struct batch *b, const char *name, struct km_target *target);
int target_route(struct batch *b, const char *name, struct km_target *target);
/* Those of weight 0 take no connections. */
int target_weighted(struct batch *b, const struct weight *weights, size_t n, struct parts *old,
		    struct km_target *target);

/* The connections that are asked about. */
struct scope {
	struct point first, last;
	uint32_t port; /* 0: not known */
};

/* The target of what rules lead to, by their id. */
struct resolver {
	int (*resolve)(struct batch *b, const void *arg, uint32_t id, struct parts *old,
		       struct km_target *target);
	const void *arg;
	uint32_t ids;  /* 0 .. ids-1 */
	uint32_t none; /* id for where no rule is; RULE_NONE: pass */
};

/* The rules as one target: resolves what the scope reaches, each id once. */
int target_rules(struct batch *b, struct rule *rules, uint32_t n, const struct scope *scope,
		 const struct resolver *resolver, struct parts *old, struct km_target *target);

/* The virtual host by address, and its first route (route.c). */
int target_virtual_hosts(struct batch *b, const Route__RouteConfiguration *rc,
			 const struct scope *scope, struct parts *old, struct km_target *target);

#endif
