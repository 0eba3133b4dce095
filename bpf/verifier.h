/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Forms that verifiers can follow without walking every path. */
#ifndef KMESH_VERIFIER_H
#define KMESH_VERIFIER_H

#include <linux/types.h>

/* Zero, but neither the compiler nor the verifier knows; x: any value that came
 * from a map. An index to which it is added is loaded after x on every CPU. */
static __always_inline __u32 unknown_zero(__u64 x)
{
	__u64 v = 0;

	asm volatile("%0 ^= %1\n\t%0 ^= %1" : "+r"(v) : "r"(x));
	return v;
}

/* a < b in the top bit, without a branch: each would double the verifier's work. */
static __always_inline __u64 below(__u64 a, __u64 b)
{
	return (~a & b) | ((~a | b) & (a - b));
}

#endif
