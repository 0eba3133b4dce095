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
 * write here. So the state is sealed with the thread that wrote it: a state
 * that is not whole, or not ours, does not open, and the chain starts again.
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

#define STATES 8u /* threads that share a CPU seldom share a state */

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, STATES);
	__type(key, __u32);
	__type(value, struct state);
} km_scratch SEC(".maps");

static __always_inline __u64 seal(const struct state *s, __u64 thread)
{
	const __u64 *w = (const __u64 *)s;

	return thread * 0x9e3779b97f4a7c15ull ^ w[1] ^ (w[2] << 1 | w[2] >> 63) ^
	       (w[3] << 2 | w[3] >> 62);
}

static __always_inline struct state *scratch(__u64 thread)
{
	__u32 i = thread & (STATES - 1);

	return bpf_map_lookup_elem(&km_scratch, &i);
}

static __always_inline bool state_save(struct state *s)
{
	__u64 thread = bpf_get_current_pid_tgid();
	struct state *p = scratch(thread);

	if (!p)
		return false;
	s->seal = seal(s, thread);
	*p = *s;
	return true;
}

static __always_inline bool state_open(struct state *s)
{
	__u64 thread = bpf_get_current_pid_tgid();
	const struct state *p = scratch(thread);

	if (!p)
		return false;
	*s = *p;
	return s->seal == seal(s, thread);
}

#endif
