/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Seals: whether a value of a HASH is whole, and of the key that was asked for. */
#ifndef KMESH_SEAL_H
#define KMESH_SEAL_H

#include <linux/types.h>
#include "bpf/workload.h"

/* n words more, as they lie in memory. */
static __always_inline __u64 seal_words(__u64 s, const __u64 *w, __u32 n)
{
	for (__u32 i = 0; i < n; i++)
		s = KW_SEAL_STEP(s, w[i]);
	return s;
}

/* Words of a value before its seal. */
#define KW_SEALED(type) (__builtin_offsetof(struct type, seal) / sizeof(__u64))

static __always_inline __u64 frontend_seal(const struct km_addr *key, const struct kw_frontend *f)
{
	__u64 s = KW_SEAL_START;

	s = KW_SEAL_STEP(s, (__u64)key->ip[1] << 32 | key->ip[0]);
	s = KW_SEAL_STEP(s, (__u64)key->ip[3] << 32 | key->ip[2]);
	s = KW_SEAL_STEP(s, (__u64)key->port);
	return seal_words(s, (const __u64 *)f, KW_SEALED(kw_frontend));
}

static __always_inline __u64 peer_seal(const union kw_ip *key, const struct kw_peer *p)
{
	return seal_words(seal_words(KW_SEAL_START, key->d, 2), (const __u64 *)p,
			  KW_SEALED(kw_peer));
}

static __always_inline __u64 flow_seal(const struct kw_flow *f)
{
	return seal_words(KW_SEAL_START, (const __u64 *)f, KW_SEALED(kw_flow));
}

/* Copies words of a value that may be changing, each read once. */
static __always_inline void copy_words(void *to, const void *from, __u32 bytes)
{
	for (__u32 i = 0; i < bytes / sizeof(__u64); i++)
		((__u64 *)to)[i] = ((const volatile __u64 *)from)[i];
}

#endif
