/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Verdicts that were reached, by connection. An entry may be lost, to another
 * connection or because two CPUs wrote at once: then there is a new judgement.
 */
#ifndef KMESH_FLOW_H
#define KMESH_FLOW_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include "bpf/packet.h"
#include "bpf/seal.h"
#include "bpf/wmaps_auth.h"

#define FLOW_WORDS 7u /* with the seal */
enum flow_word { FLOW_PORTS = 4, FLOW_VERDICT = 5, FLOW_SEAL = 6 };
_Static_assert(__builtin_offsetof(struct kw_flow, seal) == FLOW_SEAL * 8, "seal");
_Static_assert(__builtin_offsetof(struct kw_flow, verdict) == FLOW_VERDICT * 8, "verdict");

/* The kernel's, as far as it is read: how many entries the loader asked for. */
struct bpf_map {
	__u32 max_entries;
} __attribute__((preserve_access_index));

/* The pair of entries that a connection may have: twice the first one's index is
 * in *first. False: the map has no pair. */
static __always_inline bool flow_place(const struct packet *p, __u32 *first)
{
	__u32 pairs = ((struct bpf_map *)&km_flow)->max_entries / 2;
	__u64 h = p->src.d[0] ^ (p->dst.d[0] << 32 | p->dst.d[0] >> 32);

	h = (h ^ p->src.d[1]) * KW_SEAL_PRIME;
	h = (h ^ h >> 32 ^ p->dst.d[1]) * KW_SEAL_PRIME;
	h = (h ^ h >> 32 ^ ((__u32)p->sport << 16 | p->dport)) * KW_SEAL_PRIME;
	*first = ((__u32)(h >> 32) & (pairs - 1)) * 2;
	return pairs;
}

static __always_inline bool flow_is(const __u64 *w, const struct packet *p)
{
	return w[0] == p->src.d[0] && w[1] == p->src.d[1] && w[2] == p->dst.d[0] &&
	       w[3] == p->dst.d[1] && (__u32)w[FLOW_PORTS] == ((__u32)p->dport << 16 | p->sport);
}

/* The verdict of a generation on a connection, 0 where there is none. */
static __always_inline __u32 flow_at(__u32 i, const struct packet *p, __u64 generation)
{
	const struct kw_flow *f = bpf_map_lookup_elem(&km_flow, &i);
	__u64 w[FLOW_WORDS];

	if (!f)
		return 0;
	copy_words(w, f, sizeof(w));
	if (w[FLOW_VERDICT] >> 2 != generation || !flow_is(w, p) ||
	    w[FLOW_SEAL] != seal_words(KW_SEAL_START, w, FLOW_SEAL))
		return 0;
	return w[FLOW_VERDICT] & 3;
}

static __always_inline __u32 flow_find(const struct packet *p, __u64 generation)
{
	__u32 first, verdict;

	if (!flow_place(p, &first))
		return 0;
	verdict = flow_at(first, p, generation);
	return verdict ? verdict : flow_at(first + 1, p, generation);
}

/* Which of the two to write: the connection's own, else one that no longer says
 * anything, else either. */
static __always_inline struct kw_flow *flow_slot(const struct packet *p, __u64 generation)
{
	__u32 first, second;
	struct kw_flow *a, *b;

	if (!flow_place(p, &first))
		return NULL;
	second = first + 1;
	a = bpf_map_lookup_elem(&km_flow, &first);
	b = bpf_map_lookup_elem(&km_flow, &second);
	if (!a || !b)
		return NULL;
	if (flow_is((const __u64 *)a, p))
		return a;
	if (flow_is((const __u64 *)b, p))
		return b;
	if (a->verdict >> 2 != generation)
		return a;
	if (b->verdict >> 2 != generation)
		return b;
	return bpf_get_prandom_u32() & 1 ? a : b;
}

static __always_inline void flow_put(const struct packet *p, __u64 generation,
				     enum kw_verdict verdict)
{
	struct kw_flow *f = flow_slot(p, generation);
	__u64 w[FLOW_WORDS];

	if (!f)
		return;
	w[0] = p->src.d[0];
	w[1] = p->src.d[1];
	w[2] = p->dst.d[0];
	w[3] = p->dst.d[1];
	w[FLOW_PORTS] = (__u32)p->dport << 16 | p->sport;
	w[FLOW_VERDICT] = generation << 2 | verdict;
	w[FLOW_SEAL] = seal_words(KW_SEAL_START, w, FLOW_SEAL);
	copy_words(f, w, sizeof(w));
}

#endif
