/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What a connect carries from one tail call to the next. */
#ifndef KMESH_STATE_H
#define KMESH_STATE_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "bpf/abi.h"

/*
 * A tail call keeps the context and drops the stack. The context of connect has
 * no room, sk_storage costs 700 ns, so the state is in per-CPU scratch. Under full
 * or lazy preemption another task's connect may run on this CPU in between and
 * write here. So the state is sealed with the destination, which every stage
 * has from the context: what is not whole, or of another destination, does not
 * open, and the chain starts again. The state of another connect to the same
 * destination serves as well: its choices are as good, of one generation.
 */
struct state {
	__u64 seal;
	__u64 generation; /* that this connect goes by */
	struct km_target target;
	__u16 slot;	/* cluster: of the group's choice, to be searched next */
	__u16 searched; /* cluster: slots found ejected */
	__u8 group;	/* cluster: priority that is being tried */
	__u8 tries;	/* cluster: choices by policy so far */
	__u8 restarts;
	__u8 pad;
};

#define STATES 8u /* destinations on a CPU seldom share a state */

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, STATES);
	__type(key, __u32);
	__type(value, struct state);
} km_scratch SEC(".maps");

static __always_inline __u64 seal(const struct state *s, const struct km_addr *a)
{
	const __u64 *w = (const __u64 *)s;
	__u64 high = (__u64)a->ip[0] << 32 | a->ip[1];
	__u64 low = (__u64)a->ip[2] << 32 | a->ip[3];

	return (high + a->port) * 0x9e3779b97f4a7c15ull ^ low * 0xc2b2ae3d27d4eb4full ^ w[1] ^
	       (w[2] << 1 | w[2] >> 63) ^ (w[3] << 2 | w[3] >> 62);
}

static __always_inline struct state *scratch(const struct km_addr *a)
{
	__u32 i = (a->ip[3] >> 24 ^ a->port >> 8) & (STATES - 1);

	return bpf_map_lookup_elem(&km_scratch, &i);
}

static __always_inline bool state_save(struct state *s, const struct km_addr *a)
{
	struct state *p = scratch(a);

	if (!p)
		return false;
	s->seal = seal(s, a);
	*p = *s;
	return true;
}

static __always_inline bool state_open(struct state *s, const struct km_addr *a)
{
	const struct state *p = scratch(a);

	if (!p)
		return false;
	*s = *p;
	return s->seal == seal(s, a);
}

#endif
