/* SPDX-License-Identifier: Apache-2.0 */
/* Rules by address and port, laid out as the disjoint intervals of km_ranges. */
#ifndef KMESH_RANGES_H
#define KMESH_RANGES_H

#include <stdbool.h>
#include <stdint.h>

#include "batch.h"

/* A destination in host byte order, so that it compares as a number. */
struct point {
	uint64_t hi;
	uint64_t lo;
	uint32_t port; /* 0 .. 65535 */
};

/* From first to last, both of them included. Two rules are disjoint, or one
 * lies within the other: the inner one counts, of equal ones the first. */
struct rule {
	struct point first;
	struct point last;
	uint32_t id; /* of what it leads to */
};

#define RULE_NONE UINT32_MAX

struct interval {
	struct point first;
	uint32_t id; /* RULE_NONE where no rule is */
};

/* Turns n rules into intervals that cover everything from zero on: at most
 * 2 * n + 1 of them, no two neighbours alike. Sorts the rules. */
uint32_t ranges_flatten(struct rule *rules, uint32_t n, uint32_t *stack,
			struct interval *intervals);

/* Leaves of the intervals what lies between two points. */
uint32_t ranges_clip(struct interval *intervals, uint32_t n, const struct point *first,
		     const struct point *last);

/* The node for the intervals; targets[i] is where interval i leads. */
int ranges_build(struct batch *b, const struct interval *intervals, const struct km_target *targets,
		 uint32_t n, uint32_t *handle);

int point_compare(const struct point *a, const struct point *b);

/* address.c */
/* All ports of an address, 16 bytes. */
void rule_address(struct rule *rule, const uint8_t ip[16]);
/* An address as text, IPv4 as ::ffff:a.b.c.d. */
bool parse_ip(const char *text, uint8_t ip[16], bool *is4);
/* a.b.c.d, a.b.c.d:port, x:y::z, [x:y::z], [x:y::z]:port, "*" or "*:port". */
struct domain {
	bool any; /* "*" */
	uint8_t ip[16];
	uint32_t port; /* 0: all */
};
bool parse_domain(const char *text, struct domain *domain);
/* The addresses of a prefix. */
int rule_prefix(struct rule *rule, const char *prefix, uint32_t len, bool *is4);

#endif
