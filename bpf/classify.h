/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The image of all policies, as workload.h lays it out. The functions that are not
 * inlined are verified once, by themselves; all that they take is numbers, for 5.10
 * knows nothing else.
 */
#ifndef KMESH_CLASSIFY_H
#define KMESH_CLASSIFY_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "bpf/packet.h"
#include "bpf/verifier.h"
#include "bpf/wmaps_auth.h"

#define ROW_WORDS (KW_ROWS_SLOT / 64u)
#define NO_ROW -1
#define BROKEN -2 /* an image that refers to what is not there */

/* A vector's place that no map has: what a broken image leads to. */
#define NOWHERE 0x7fffffffu

enum judgement { JUDGED_ALLOW, JUDGED_DENY, JUDGED_BROKEN };

static __always_inline const void *slot_at(__u32 i)
{
	return bpf_map_lookup_elem(&km_policy, &i);
}

/* Of a table of __u32. */
static __always_inline __u32 cell(__u32 table, __u32 i)
{
	const __u32 *slot = slot_at(table + i / 16);

	return slot ? slot[i & 15] : NOWHERE;
}

static __always_inline __u32 bits(__u64 n)
{
	n -= n >> 1 & 0x5555555555555555ull;
	n = (n & 0x3333333333333333ull) + (n >> 2 & 0x3333333333333333ull);
	n = (n + (n >> 4)) & 0x0f0f0f0f0f0f0f0full;
	return n * 0x0101010101010101ull >> 56;
}

/* The number of the lowest bit. */
static __always_inline __u32 lowest(__u64 word)
{
	__u64 lower = (word & -word) - 1;

	asm volatile("" : "+r"(lower)); /* clang knows this, and takes a table: one more map */
	return bits(lower);
}

/* The own row slot k of a vector, or that of its dimension's default vector. */
static __always_inline const __u64 *row_slot(__u32 base, __u32 vector, __u32 defaults, __u32 dim,
					     __u32 k)
{
	const struct kw_vector *head = slot_at(base + vector);

	if (head && !(head->own >> k & 1)) {
		vector = cell(defaults, dim);
		head = slot_at(base + vector);
	}
	return head ? slot_at(base + vector + 1 + bits(head->own & ((1ull << k) - 1))) : NULL;
}

/*
 * The first row of row slot k that all vectors have. at: base | k << 32, defaults: their
 * table, 01, 23 and 4: vectors of the dimensions of these numbers, 0 where it has none.
 */
__attribute__((noinline)) int rows_find(__u64 at, __u64 v01, __u64 v23, __u64 v4)
{
	__u32 v[KW_DIMS] = { v01, v01 >> 32, v23, v23 >> 32, v4 };
	__u32 base = at, k = at >> 32 & 63, defaults = v4 >> 32;
	__u64 rows[ROW_WORDS];
	const __u64 *w;

	for (__u32 i = 0; i < ROW_WORDS; i++)
		rows[i] = ~0ull - unknown_zero(v01); /* else each way here is walked */
	_Pragma("clang loop unroll(full)") for (__u32 d = 0; d < KW_DIMS; d++)
	{
		if (!v[d])
			continue;
		w = row_slot(base, v[d], defaults, d, k);
		if (!w)
			return BROKEN;
		_Pragma("clang loop unroll(full)") for (__u32 i = 0; i < ROW_WORDS; i++) rows[i] &=
			w[i];
	}
	_Pragma("clang loop unroll(full)") for (__u32 i = 0; i < ROW_WORDS; i++)
	{
		if (rows[i])
			return (i * 64 + lowest(rows[i])) & (KW_ROWS_SLOT - 1);
	}
	return NO_ROW;
}

/* The first row of the row slots that slots says. at: base | defaults << 32. */
__attribute__((noinline)) int row_find(__u64 slots, __u64 at, __u64 v01, __u64 v23, __u64 v4)
{
	int row;

	for (__u32 k = 0; k < KW_MAX_ROW_SLOTS && slots; k++, slots >>= 1) {
		if (!(slots & 1))
			continue;
		row = rows_find((__u32)at | (__u64)k << 32, v01, v23, (__u32)v4 | at >> 32 << 32);
		if (row != NO_ROW)
			return row < 0 ? row : k * KW_ROWS_SLOT + row;
	}
	return NO_ROW;
}

#define FEW_RANGES 256u /* a search among them does without the wider steps */

/* In the top bit: a range begins at or before the address. */
static __always_inline __u64 begins(const struct kw_range *r, __u64 hi, __u64 lo)
{
	return below(r->hi, hi) | (~below(hi, r->hi) & ~below(lo, r->lo));
}

/* The vector of the last range that begins at or before the address, entry 0 at least: by
 * halves down to the slot, then between the two that it holds. See lookup.h for why the
 * index is only used as a key. */
__attribute__((noinline)) int range_find(__u64 table, __u64 n, __u64 hi, __u64 lo)
{
	__u32 from = unknown_zero(n), probe, take;
	const struct kw_range *r;

	for (__u32 step = n > FEW_RANGES ? KW_MAX_KRANGES / 4 : FEW_RANGES / 4; step; step >>= 1) {
		probe = from + step;
		if (probe * 2 >= n)
			continue;
		r = slot_at(table + probe);
		if (!r)
			return NOWHERE;
		take = (__s64)begins(r, hi, lo) >> 63;
		from ^= (from ^ probe) & take;
	}
	r = slot_at(table + from);
	if (!r)
		return NOWHERE;
	if (from * 2 + 1 < n && begins(r + 1, hi, lo) >> 63)
		return r[1].vector;
	return r->vector;
}

static __always_inline __u32 address_vector(__u32 table, __u32 n, const union kw_ip *ip)
{
	return range_find(table, n, (__u64)bpf_ntohl(ip->w[0]) << 32 | bpf_ntohl(ip->w[1]),
			  (__u64)bpf_ntohl(ip->w[2]) << 32 | bpf_ntohl(ip->w[3]));
}

/* The vector of a port in a table of mask + 1 slots; other: of those that are not there. */
__attribute__((noinline)) int port_find(__u64 table, __u64 mask, __u64 port, __u64 other)
{
	const struct kw_port *c = slot_at(table + (KW_PORT_SLOT(port) & mask));

	for (__u32 i = 0; c && i < KW_PORT_CELLS; i++) {
		if (c[i].port == port && c[i].vector)
			return c[i].vector;
	}
	return other;
}

static __always_inline struct kw_pset set_of(const struct kw_image *m, __u32 base, __u32 pset)
{
	__u32 i = pset < m->n_psets ? pset : 0;
	const struct kw_pset *slot = slot_at(base + m->psets + i / 8);
	struct kw_pset none = {};

	return slot ? slot[i & 7] : none;
}

/* Row slots in which a vector has rows. Vector 0: of a dimension that says nothing. */
static __always_inline __u64 slots_of(__u32 base, __u32 vector)
{
	const struct kw_vector *head = vector ? slot_at(base + vector) : NULL;

	return head ? head->nonempty : ~0ull;
}

/* No policy says anything about who may connect to a pod of this set. */
static __always_inline bool unguarded(const struct kw_image *m, __u32 base,
				      const struct kw_pset *set)
{
	return m->dims & 1 << KW_D_PSET && !(set->flags & KW_PSET_ALLOW) &&
	       !slots_of(base, set->vector);
}

/* What the policies say about a packet; the one that denies, to *policy. */
static __always_inline enum judgement classify(const struct kw_image *m, __u32 base,
					       const struct packet *p, const struct kw_pset *set,
					       __u32 identity, __u32 *policy)
{
	__u64 slots = ~0ull >> (63 - ((m->rows - 1) / KW_ROWS_SLOT & 63));
	__u32 v[KW_DIMS], dims = m->dims;
	__s64 row;

	for (__u32 d = 0; d < KW_DIMS; d++)
		v[d] = unknown_zero(dims); /* else each set of dimensions is walked */
	if (dims & 1 << KW_D_PSET)
		v[KW_D_PSET] = set->vector;
	if (dims & 1 << KW_D_IDENTITY)
		v[KW_D_IDENTITY] =
			cell(base + m->identities, identity < m->n_identities ? identity : 0);
	if (dims & 1 << KW_D_SOURCE)
		v[KW_D_SOURCE] = address_vector(base + m->sources, m->n_sources, &p->src);
	if (dims & 1 << KW_D_PORT)
		v[KW_D_PORT] = port_find(base + m->ports, m->port_mask, bpf_ntohs(p->dport),
					 cell(base + m->defaults, KW_D_PORT));
	if (dims & 1 << KW_D_DEST)
		v[KW_D_DEST] = address_vector(base + m->dests, m->n_dests, &p->dst);
	if (slots > 1) { /* of a single one it takes less to look at the rows */
		for (__u32 d = 0; d < KW_DIMS; d++)
			slots &= slots_of(base, v[d]);
	}
	*policy = 0;
	row = row_find(slots, base | (__u64)(base + m->defaults) << 32, v[0] | (__u64)v[1] << 32,
		       v[2] | (__u64)v[3] << 32, v[4]);
	if (row == BROKEN)
		return JUDGED_BROKEN;
	if (row < 0 || row >= m->rows) /* beyond: the rest of the last slot */
		return set->flags & KW_PSET_ALLOW ? JUDGED_DENY : JUDGED_ALLOW;
	if (row >= m->deny)
		return JUDGED_ALLOW;
	*policy = cell(base + m->policies, row);
	return JUDGED_DENY;
}

#endif
