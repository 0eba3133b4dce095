/* SPDX-License-Identifier: Apache-2.0 */
/* Weighted choices, struct km_pick. */
#ifndef KMESH_PICK_H
#define KMESH_PICK_H

#include "batch.h"

struct choice {
	uint64_t weight; /* not 0 */
	uint32_t arg;
};

/* Makes the node for n choices, their weights divided by what they have in
 * common; old gives the counter it had. One that is not taken in turn needs none. */
int pick_build(struct batch *b, struct choice *choices, uint32_t n, bool in_turn, struct parts *old,
	       uint32_t *handle);

uint64_t gcd(uint64_t a, uint64_t b);

#endif
