// SPDX-License-Identifier: Apache-2.0
#include "arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_SIZE (64u << 10)
#define KEEP_SIZE (1u << 20)

struct arena_block {
	struct arena_block *older;
	size_t size; /* of data */
	max_align_t data[];
};

static void *proto_alloc(void *arena, size_t size)
{
	return arena_alloc(arena, size);
}

static void proto_free(void *arena, void *pointer)
{
	(void)arena;
	(void)pointer;
}

void arena_init(struct arena *arena)
{
	memset(arena, 0, sizeof(*arena));
	arena->allocator.alloc = proto_alloc;
	arena->allocator.free = proto_free;
	arena->allocator.allocator_data = arena;
}

void *arena_alloc(struct arena *arena, size_t size)
{
	const size_t align = sizeof(max_align_t);
	struct arena_block *block = arena->block;
	void *p;

	if (size > SIZE_MAX / 4)
		return NULL;
	size = (size + align - 1) / align * align;
	if (!block || block->size - arena->used < size) {
		size_t room = block ? block->size * 2 : BLOCK_SIZE;

		if (room < size)
			room = size;
		block = malloc(sizeof(*block) + room);
		if (!block)
			return NULL;
		block->older = arena->block;
		block->size = room;
		arena->block = block;
		arena->used = 0;
	}
	p = (char *)block->data + arena->used;
	arena->used += size;
	return p;
}

void *arena_zalloc(struct arena *arena, size_t n, size_t size)
{
	void *p;

	if (size && n > SIZE_MAX / 4 / size)
		return NULL;
	p = arena_alloc(arena, n * size);
	if (p)
		memset(p, 0, n * size);
	return p;
}

void arena_reset(struct arena *arena)
{
	struct arena_block *block = arena->block;

	arena->used = 0;
	if (!block)
		return;
	while (block->older) {
		struct arena_block *older = block->older;

		block->older = older->older;
		free(older);
	}
	if (block->size > KEEP_SIZE) {
		free(block);
		arena->block = NULL;
	}
}

void arena_free(struct arena *arena)
{
	arena_reset(arena);
	free(arena->block);
	arena->block = NULL;
}
