/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a tree is made of, found by walking it.
 *
 * Nothing in the maps is believed: a handle out of range, a chain that does not
 * end or counts that do not fit is -EUCLEAN, with a message.
 */
#ifndef KMESH_TREE_H
#define KMESH_TREE_H

#include <stdint.h>

#include "slab.h"
#include "vec.h"

struct parts {
	struct vec runs;      /* run_word() */
	struct vec refs;      /* ref_word(), one for each occurrence */
	struct vec counters;  /* indexes, in the order of the walk */
	struct vec endpoints; /* handles; one may come more than once */
	uint64_t slots;	      /* of runs */
	uint32_t groups;      /* of endpoints */
};

static inline uint64_t run_word(uint32_t handle, uint32_t slots)
{
	return (uint64_t)slots << 32 | handle;
}

static inline uint32_t run_handle(uint64_t word)
{
	return (uint32_t)word;
}

static inline uint32_t run_slots(uint64_t word)
{
	return (uint32_t)(word >> 32);
}

static inline uint64_t ref_word(enum km_kind kind, uint32_t root)
{
	return (uint64_t)kind << 32 | root;
}

static inline uint32_t ref_root(uint64_t word)
{
	return (uint32_t)word;
}

static inline enum km_kind ref_kind(uint64_t word)
{
	return (enum km_kind)(word >> 32);
}

#define KM_ENDPOINT_SLOTS 2u

static inline uint32_t cluster_slots(uint32_t groups)
{
	return (KM_CLUSTER_CELL0 + groups + KM_CELLS4 - 1) / KM_CELLS4;
}

static inline uint32_t pick_slots(uint32_t n)
{
	return (KM_PICK_CELL0 + n + KM_CELLS8 - 1) / KM_CELLS8;
}

static inline uint32_t ranges_slots(uint32_t n)
{
	return 1 + (n + 1) / 2;
}

static inline uint32_t chunk_slots(uint32_t len)
{
	return (uint32_t)((offsetof(struct km_chunk, data) + len + KM_SLOT_SIZE - 1) /
			  KM_SLOT_SIZE);
}

static inline const __u32 *cluster_groups(const struct km_cluster *cluster)
{
	return (const __u32 *)cluster + KM_CLUSTER_CELL0;
}

static inline const struct km_entry *pick_entries(const struct km_pick *pick)
{
	return (const struct km_entry *)pick + KM_PICK_CELL0;
}

static inline const struct km_range *ranges_entries(const struct km_ranges *ranges)
{
	return (const struct km_range *)(ranges + 1);
}

/* Sorts words and leaves each once. */
void words_unique(struct vec *words);

void parts_clear(struct parts *parts);
void parts_free(struct parts *parts);

/* Adds the parts of the tree at handle, which root index root of that kind
 * owns. */
int tree_walk(const struct slabs *slabs, enum km_kind kind, uint32_t root, uint32_t handle,
	      struct parts *parts);

/* Slots that all slabs have. */
static inline uint64_t slabs_total(const struct slabs *slabs)
{
	return (uint64_t)slabs->n * KM_SLAB_SLOTS;
}

#endif
