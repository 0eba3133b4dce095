/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of one batch: taken piece by piece, given back all at once. */
#ifndef KMESH_ARENA_H
#define KMESH_ARENA_H

#include <stddef.h>

#include <protobuf-c/protobuf-c.h>

struct arena_block;

struct arena {
	struct arena_block *block;    /* newest first */
	size_t used;		      /* of the newest */
	ProtobufCAllocator allocator; /* takes from here, frees nothing */
};

void arena_init(struct arena *arena);
/* Zeroed memory, or NULL. */
void *arena_zalloc(struct arena *arena, size_t n, size_t size);
void *arena_alloc(struct arena *arena, size_t size);
/* Gives everything back but one block, for the next batch. */
void arena_reset(struct arena *arena);
void arena_free(struct arena *arena);

#endif
