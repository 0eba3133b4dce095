// SPDX-License-Identifier: Apache-2.0
#include "names.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

int idset_init(struct idset *set, uint32_t max)
{
	set->max = max;
	set->used = calloc((max + 63) / 64, sizeof(uint64_t));
	if (!set->used)
		return -ENOMEM;
	idset_clear(set);
	return 0;
}

void idset_free(struct idset *set)
{
	free(set->used);
	memset(set, 0, sizeof(*set));
}

void idset_clear(struct idset *set)
{
	memset(set->used, 0, (set->max + 63) / 64 * sizeof(uint64_t));
	set->used[0] = 1;
	set->hint = 1;
	set->n = 0;
}

uint32_t idset_take(struct idset *set)
{
	for (uint32_t w = set->hint / 64; w < (set->max + 63) / 64; w++) {
		uint32_t i;

		if (set->used[w] == ~0ull)
			continue;
		i = w * 64 + (uint32_t)__builtin_ctzll(~set->used[w]);
		if (i >= set->max)
			break;
		set->used[w] |= 1ull << i % 64;
		set->hint = i + 1;
		set->n++;
		return i;
	}
	set->hint = set->max;
	return 0;
}

bool idset_mark(struct idset *set, uint32_t i)
{
	if (!i || i >= set->max || set->used[i / 64] >> i % 64 & 1)
		return false;
	set->used[i / 64] |= 1ull << i % 64;
	set->n++;
	return true;
}

void idset_give(struct idset *set, uint32_t i)
{
	set->used[i / 64] &= ~(1ull << i % 64);
	set->n--;
	if (i < set->hint)
		set->hint = i;
}

uint32_t idset_next(const struct idset *set, uint32_t i)
{
	uint64_t word;

	for (i++; i < set->max; i = (i / 64 + 1) * 64) {
		word = set->used[i / 64] >> i % 64;
		if (word)
			return i + (uint32_t)__builtin_ctzll(word);
	}
	return 0;
}

int table_init(struct table *t, enum km_kind kind, struct km_root *root, uint32_t max)
{
	uint32_t buckets = 1;

	memset(t, 0, sizeof(*t));
	t->kind = kind;
	t->root = root;
	while (buckets < max)
		buckets *= 2;
	t->mask = buckets - 1;
	if (idset_init(&t->used, max))
		return -ENOMEM;
	t->bucket = calloc(buckets, sizeof(*t->bucket));
	t->next = calloc(max, sizeof(*t->next));
	t->hash = calloc(max, sizeof(*t->hash));
	t->refs = calloc(max, sizeof(*t->refs));
	t->change = calloc(max, sizeof(*t->change));
	if (kind == KM_LISTENER)
		t->addr = calloc(max, sizeof(*t->addr));
	if (!t->bucket || !t->next || !t->hash || !t->refs || !t->change ||
	    (kind == KM_LISTENER && !t->addr))
		return -ENOMEM;
	return 0;
}

void table_free(struct table *t)
{
	idset_free(&t->used);
	free(t->bucket);
	free(t->next);
	free(t->hash);
	free(t->refs);
	free(t->change);
	free(t->addr);
	memset(t, 0, sizeof(*t));
}

void table_clear(struct table *t)
{
	idset_clear(&t->used);
	memset(t->bucket, 0, (t->mask + 1) * sizeof(*t->bucket));
	memset(t->refs, 0, t->used.max * sizeof(*t->refs));
	t->live = 0;
}

uint32_t hash_bytes(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t h = 0x9e3779b97f4a7c15ull ^ len;
	uint64_t word;

	for (; len >= sizeof(word); len -= sizeof(word), p += sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		h = (h ^ word) * 0xff51afd7ed558ccdull;
		h ^= h >> 32;
	}
	word = 0;
	memcpy(&word, p, len);
	h = (h ^ word) * 0xc4ceb9fe1a85ec53ull;
	return (uint32_t)(h ^ h >> 32);
}

const struct km_name *table_name(const struct table *t, const struct slabs *slabs, uint32_t i)
{
	uint32_t handle = t->root[i].name;
	const struct km_name *name = slab_at(slabs, handle, 1);

	if (!name || !name->len || name->len > KM_MAX_NAME ||
	    !slab_at(slabs, handle, name_slots(name->len)))
		return NULL;
	return name;
}

uint32_t table_find_name(const struct table *t, const struct slabs *slabs, const char *name,
			 uint32_t len, uint32_t hash)
{
	uint32_t i = t->bucket[hash & t->mask];

	for (; i; i = t->next[i]) {
		const struct km_name *has;

		if (t->hash[i] != hash)
			continue;
		has = table_name(t, slabs, i);
		if (has && has->len == len && !memcmp(has->data, name, len))
			return i;
	}
	return 0;
}

uint32_t table_find_addr(const struct table *t, const struct km_addr *addr, uint32_t hash)
{
	uint32_t i = t->bucket[hash & t->mask];

	for (; i; i = t->next[i]) {
		if (t->hash[i] == hash && !memcmp(&t->addr[i], addr, sizeof(*addr)))
			return i;
	}
	return 0;
}

void table_link(struct table *t, uint32_t i, uint32_t hash)
{
	uint32_t *bucket = &t->bucket[hash & t->mask];

	t->hash[i] = hash;
	t->next[i] = *bucket;
	*bucket = i;
}

void table_unlink(struct table *t, uint32_t i)
{
	uint32_t *at = &t->bucket[t->hash[i] & t->mask];

	while (*at && *at != i)
		at = &t->next[*at];
	if (*at)
		*at = t->next[i];
}
