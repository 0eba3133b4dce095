/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs of slots in the slabs (bpf/abi.h), handed out by a buddy allocator.
 *
 * What is free is known by this process alone, in bitmaps beside the slabs: the
 * slots themselves are shared with the data plane and hold nothing of it. A
 * block of order k is 2^k slots, aligned to its size. A run takes the first n
 * slots of a block and gives the rest back at once, so no slot is lost to
 * rounding.
 */
#ifndef KMESH_SLAB_H
#define KMESH_SLAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/abi.h"

#define SLAB_ORDERS (KM_SLAB_SHIFT + 1u)
#define SLAB_WORDS (KM_SLAB_SLOTS / 64u)
#define SLAB_BYTES ((size_t)KM_SLAB_SLOTS * KM_SLOT_SIZE)

/* Free blocks of one slab: a bit each, orders one after the other. */
struct slab {
	uint64_t top[SLAB_ORDERS]; /* words of the order that are not zero */
	uint64_t word[2u * SLAB_WORDS + SLAB_ORDERS];
	uint64_t *used; /* a bit a slot, only while free is being rebuilt */
};

struct slabs {
	uint8_t *base[KM_SLABS];
	struct slab *slab[KM_SLABS];
	uint32_t n;
	uint64_t free; /* slots */
	/* Slabs that have a free block of the order: a bit each. */
	struct {
		uint64_t top;
		uint64_t word[KM_SLABS / 64u];
	} avail[SLAB_ORDERS];
};

/* Takes over base, SLAB_BYTES of mapped memory, as the next slab; none of it is
 * free yet. */
int slabs_add(struct slabs *slabs, uint8_t *base);
/* Unmaps all slabs. */
void slabs_clear(struct slabs *slabs);

/* Takes a run of 1 .. KM_SLAB_SLOTS slots; -ENOSPC without a message. */
int slab_take(struct slabs *slabs, uint32_t slots, uint32_t *handle);
void slab_give(struct slabs *slabs, uint32_t handle, uint32_t slots);

/* Everything in slab i but the null handle becomes free. */
void slab_open(struct slabs *slabs, uint32_t i);

/* Rebuilding: begin forgets what is free, mark names a run that is used
 * (-EUCLEAN when a part of it was already), end frees all the rest. */
int slabs_mark_begin(struct slabs *slabs);
int slabs_mark(struct slabs *slabs, uint32_t handle, uint32_t slots);
void slabs_mark_end(struct slabs *slabs);

/* A run that was handed out, as memory. */
static inline void *slab_run(const struct slabs *slabs, uint32_t handle)
{
	return slabs->base[handle >> KM_SLAB_SHIFT] +
	       (size_t)(handle & (KM_SLAB_SLOTS - 1u)) * KM_SLOT_SIZE;
}

/* The run as memory, or NULL when there is no such run. */
static inline void *slab_at(const struct slabs *slabs, uint32_t handle, uint32_t slots)
{
	uint32_t slab = handle >> KM_SLAB_SHIFT;
	uint32_t slot = handle & (KM_SLAB_SLOTS - 1u);

	if (!handle || slab >= slabs->n || !slots || slots > KM_SLAB_SLOTS - slot)
		return NULL;
	return slab_run(slabs, handle);
}

#endif
