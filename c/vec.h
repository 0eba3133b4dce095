/* SPDX-License-Identifier: Apache-2.0 */
/* A growing array of 64-bit words. */
#ifndef KMESH_VEC_H
#define KMESH_VEC_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

struct vec {
	uint64_t *v;
	size_t n;
	size_t cap;
};

/* Makes room for more words: pushes of that many cannot fail. */
static inline int vec_reserve(struct vec *vec, size_t more)
{
	size_t cap = vec->cap ? vec->cap : 64;
	uint64_t *v;

	if (vec->cap - vec->n >= more)
		return 0;
	while (cap - vec->n < more)
		cap *= 2;
	v = realloc(vec->v, cap * sizeof(*v));
	if (!v)
		return -ENOMEM;
	vec->v = v;
	vec->cap = cap;
	return 0;
}

static inline int vec_push(struct vec *vec, uint64_t word)
{
	if (vec->n == vec->cap) {
		int err = vec_reserve(vec, 1);

		if (err)
			return err;
	}
	vec->v[vec->n++] = word;
	return 0;
}

static inline void vec_free(struct vec *vec)
{
	free(vec->v);
	vec->v = NULL;
	vec->n = vec->cap = 0;
}

#endif
