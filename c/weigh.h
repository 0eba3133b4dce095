/* SPDX-License-Identifier: Apache-2.0 */
/* How often an endpoint is to be taken, from its own and its locality's weight. */
#ifndef KMESH_WEIGH_H
#define KMESH_WEIGH_H

#include <stdbool.h>
#include <stdint.h>

struct locality {
	uint32_t weight;
	uint64_t sum; /* of its members' weights */
};

struct member {
	uint32_t node;
	uint32_t group;
	uint32_t locality;
	uint32_t weight; /* not 0 */
	uint64_t share;	 /* out: 0 for none */
};

/* Sets the share of each member of one group. by_locality: localities have
 * weights; one without gets nothing then. */
void weigh(struct member *const *members, uint32_t n, struct locality *localities,
	   bool by_locality);

#endif
