/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The roots of one kind: which index has which key, how many trees refer to it.
 * A root is in use while it has a tree, is referred to, or is a listener's whose
 * entry in km_listener has not gone yet.
 */
#ifndef KMESH_NAMES_H
#define KMESH_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/abi.h"
#include "slab.h"

/* Indexes 1 .. max-1 of something, a bit each: the lowest free one is next. */
struct idset {
	uint64_t *used;
	uint32_t max;
	uint32_t hint; /* nothing below is free */
	uint32_t n;    /* used */
};

int idset_init(struct idset *set, uint32_t max);
void idset_free(struct idset *set);
void idset_clear(struct idset *set);
/* The lowest free index, taken; 0 when none is free. */
uint32_t idset_take(struct idset *set);
/* False when it was taken already, or there is no such index. */
bool idset_mark(struct idset *set, uint32_t i);
void idset_give(struct idset *set, uint32_t i);
/* The lowest index above i that is taken, 0 when there is none. */
uint32_t idset_next(const struct idset *set, uint32_t i);

struct table {
	enum km_kind kind;
	struct km_root *root; /* the map */
	struct idset used;
	uint32_t mask;	  /* of a hash, to a bucket */
	uint32_t *bucket; /* first of those with this hash */
	uint32_t *next;
	uint32_t *hash;
	uint32_t *refs;	      /* trees' references; of a listener: times retired */
	uint32_t *change;     /* in the batch at hand, 1 up; 0: none */
	struct km_addr *addr; /* listeners: its key */
	uint32_t live;	      /* roots with a tree */
};

int table_init(struct table *t, enum km_kind kind, struct km_root *root, uint32_t max);
void table_free(struct table *t);
/* Forgets every root. */
void table_clear(struct table *t);

uint32_t hash_bytes(const void *data, size_t len);

/* Index of the root with that key, 0 when there is none. */
uint32_t table_find_name(const struct table *t, const struct slabs *slabs, const char *name,
			 uint32_t len, uint32_t hash);
uint32_t table_find_addr(const struct table *t, const struct km_addr *addr, uint32_t hash);

/* Makes an index findable, or no longer so. */
void table_link(struct table *t, uint32_t i, uint32_t hash);
void table_unlink(struct table *t, uint32_t i);

static inline uint32_t root_handle(uint64_t word)
{
	return (uint32_t)(word & KM_HANDLE_MASK);
}

static inline uint64_t root_generation(uint64_t word)
{
	return word >> KM_HANDLE_BITS;
}

/* The committed tree's handle, 0 when there is none. Under the lock only. */
static inline uint32_t table_tree(const struct table *t, uint32_t i)
{
	return root_handle(__atomic_load_n(&t->root[i].cur, __ATOMIC_RELAXED));
}

static inline uint32_t name_slots(uint32_t len)
{
	return (uint32_t)((offsetof(struct km_name, data) + len + KM_SLOT_SIZE - 1) / KM_SLOT_SIZE);
}

/* The root's name, or NULL when what is there is none. */
const struct km_name *table_name(const struct table *t, const struct slabs *slabs, uint32_t i);

#endif
