/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef KMESH_STACK_H
#define KMESH_STACK_H

#include <linux/types.h>

/* Without a JIT, a program that is tail-called goes on with the stack of the one
 * that was entered, and newer kernels (seen on 6.12 and 7.2, not on 6.1) make
 * that only as deep as the entered one needs: a deeper stage would write over
 * the kernel's own stack. So the one that is entered takes all of it. */
static __always_inline void take_whole_stack(void)
{
	asm volatile("*(u64 *)(r10 - 512) = %0" : : "r"(0ull) : "memory");
}

#endif
