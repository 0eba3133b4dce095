// SPDX-License-Identifier: Apache-2.0
#include "slab.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kernel.h"

/* First word of an order in slab.word: orders 0 .. 6 take 64, 32, … 1 words,
 * the ones above one word each. */
static uint32_t first_word(uint32_t order)
{
	return order <= 6 ? 2u * SLAB_WORDS - (2u * SLAB_WORDS >> order)
			  : 2u * SLAB_WORDS - 1u + (order - 7u);
}

static void set_free(struct slabs *s, uint32_t i, uint32_t order, uint32_t block)
{
	struct slab *slab = s->slab[i];

	if (!slab->top[order]) {
		s->avail[order].word[i / 64] |= 1ull << i % 64;
		s->avail[order].top |= 1ull << i / 64;
	}
	slab->word[first_word(order) + block / 64] |= 1ull << block % 64;
	slab->top[order] |= 1ull << block / 64;
	s->free += 1ull << order;
}

static void clear_free(struct slabs *s, uint32_t i, uint32_t order, uint32_t block)
{
	struct slab *slab = s->slab[i];
	uint64_t *word = &slab->word[first_word(order) + block / 64];

	s->free -= 1ull << order;
	*word &= ~(1ull << block % 64);
	if (*word)
		return;
	slab->top[order] &= ~(1ull << block / 64);
	if (slab->top[order])
		return;
	s->avail[order].word[i / 64] &= ~(1ull << i % 64);
	if (!s->avail[order].word[i / 64])
		s->avail[order].top &= ~(1ull << i / 64);
}

static bool is_free(const struct slab *slab, uint32_t order, uint32_t block)
{
	return slab->word[first_word(order) + block / 64] >> block % 64 & 1;
}

/* Frees a block, joined with its buddies as far as they are free. */
static void join(struct slabs *s, uint32_t i, uint32_t order, uint32_t block)
{
	while (order < KM_SLAB_SHIFT && is_free(s->slab[i], order, block ^ 1u)) {
		clear_free(s, i, order, block ^ 1u);
		block >>= 1;
		order++;
	}
	set_free(s, i, order, block);
}

/* Frees slots [from, to) of slab i, in the largest aligned blocks. */
static void give(struct slabs *s, uint32_t i, uint32_t from, uint32_t to)
{
	while (from < to) {
		uint32_t order = from ? (uint32_t)__builtin_ctz(from) : KM_SLAB_SHIFT;

		while (1u << order > to - from)
			order--;
		join(s, i, order, from >> order);
		from += 1u << order;
	}
}

int slab_take(struct slabs *s, uint32_t slots, uint32_t *handle)
{
	uint32_t order = slots > 1 ? 32u - (uint32_t)__builtin_clz(slots - 1) : 0;
	uint32_t i, block, word, from;

	while (order < SLAB_ORDERS && !s->avail[order].top)
		order++;
	if (order >= SLAB_ORDERS)
		return -ENOSPC;

	word = (uint32_t)__builtin_ctzll(s->avail[order].top);
	i = word * 64 + (uint32_t)__builtin_ctzll(s->avail[order].word[word]);
	word = (uint32_t)__builtin_ctzll(s->slab[i]->top[order]);
	block = word * 64 + (uint32_t)__builtin_ctzll(s->slab[i]->word[first_word(order) + word]);

	clear_free(s, i, order, block);
	from = block << order;
	give(s, i, from + slots, from + (1u << order));
	*handle = i << KM_SLAB_SHIFT | from;
	return 0;
}

void slab_give(struct slabs *s, uint32_t handle, uint32_t slots)
{
	uint32_t slot = handle & (KM_SLAB_SLOTS - 1u);

	give(s, handle >> KM_SLAB_SHIFT, slot, slot + slots);
}

int slabs_add(struct slabs *s, uint8_t *base)
{
	struct slab *slab = calloc(1, sizeof(*slab));

	if (!slab)
		return -ENOMEM;
	s->slab[s->n] = slab;
	s->base[s->n] = base;
	s->n++;
	return 0;
}

void slab_open(struct slabs *s, uint32_t i)
{
	give(s, i, i ? 0 : 1, KM_SLAB_SLOTS);
}

void slabs_clear(struct slabs *s)
{
	for (uint32_t i = 0; i < s->n; i++) {
		kernel.map_munmap(s->base[i], SLAB_BYTES);
		free(s->slab[i]->used);
		free(s->slab[i]);
	}
	memset(s, 0, sizeof(*s));
}

int slabs_mark_begin(struct slabs *s)
{
	memset(s->avail, 0, sizeof(s->avail));
	s->free = 0;
	for (uint32_t i = 0; i < s->n; i++) {
		struct slab *slab = s->slab[i];

		memset(slab->top, 0, sizeof(slab->top));
		memset(slab->word, 0, sizeof(slab->word));
		if (!slab->used)
			slab->used = malloc(SLAB_WORDS * sizeof(uint64_t));
		if (!slab->used)
			return -ENOMEM;
		memset(slab->used, 0, SLAB_WORDS * sizeof(uint64_t));
	}
	if (s->n)
		s->slab[0]->used[0] = 1;
	return 0;
}

int slabs_mark(struct slabs *s, uint32_t handle, uint32_t slots)
{
	uint32_t slot = handle & (KM_SLAB_SLOTS - 1u);
	uint32_t end = slot + slots;
	uint64_t *used;

	if (!slab_at(s, handle, slots))
		return -EUCLEAN;
	used = s->slab[handle >> KM_SLAB_SHIFT]->used;
	while (slot < end) {
		uint32_t n = 64 - slot % 64;
		uint64_t mask;

		if (n > end - slot)
			n = end - slot;
		mask = (n == 64 ? ~0ull : (1ull << n) - 1) << slot % 64;
		if (used[slot / 64] & mask)
			return -EUCLEAN;
		used[slot / 64] |= mask;
		slot += n;
	}
	return 0;
}

/* First slot from slot on whose bit differs from a run of the given kind. */
static uint32_t skip(const uint64_t *used, uint32_t slot, uint64_t flip)
{
	while (slot < KM_SLAB_SLOTS) {
		uint64_t word = (used[slot / 64] ^ flip) >> slot % 64;

		if (word)
			return slot + (uint32_t)__builtin_ctzll(word);
		slot = (slot / 64 + 1) * 64;
	}
	return KM_SLAB_SLOTS;
}

void slabs_mark_end(struct slabs *s)
{
	for (uint32_t i = 0; i < s->n; i++) {
		const uint64_t *used = s->slab[i]->used;
		uint32_t from, to;

		for (to = 0; (from = skip(used, to, ~0ull)) < KM_SLAB_SLOTS;) {
			to = skip(used, from, 0);
			give(s, i, from, to);
		}
		free(s->slab[i]->used);
		s->slab[i]->used = NULL;
	}
}
