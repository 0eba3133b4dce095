/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Who opened a connection of which only a packet in the middle is seen: after late
 * enrolment, an upgrade, a change of policies or a lost entry. The pod's own
 * sockets say it.
 */
#ifndef KMESH_DIRECTION_H
#define KMESH_DIRECTION_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include "bpf/packet.h"
#include "bpf/tcp.h"

enum direction {
	NO_CONNECTION, /* nothing that a packet could reach, but for a reset */
	OUTBOUND,
	INBOUND
};

/* A socket of the pod's namespace; from nobody: only one that listens. */
static __always_inline struct bpf_sock *socket_of(struct xdp_md *ctx, const struct packet *p,
						  bool from_nobody)
{
	struct bpf_sock_tuple t = {};

	if (p->v6) {
		if (!from_nobody) {
			__builtin_memcpy(t.ipv6.saddr, &p->src, sizeof(t.ipv6.saddr));
			t.ipv6.sport = p->sport;
		}
		__builtin_memcpy(t.ipv6.daddr, &p->dst, sizeof(t.ipv6.daddr));
		t.ipv6.dport = p->dport;
		return bpf_skc_lookup_tcp(ctx, &t, sizeof(t.ipv6), BPF_F_CURRENT_NETNS, 0);
	}
	if (!from_nobody) {
		t.ipv4.saddr = p->src.w[3];
		t.ipv4.sport = p->sport;
	}
	t.ipv4.daddr = p->dst.w[3];
	t.ipv4.dport = p->dport;
	return bpf_skc_lookup_tcp(ctx, &t, sizeof(t.ipv4), BPF_F_CURRENT_NETNS, 0);
}

static __always_inline bool listens(struct xdp_md *ctx, const struct packet *p)
{
	struct bpf_sock *sk = socket_of(ctx, p, true);
	bool is;

	if (!sk)
		return false;
	is = sk->state == BPF_TCP_LISTEN;
	bpf_sk_release(sk);
	return is;
}

/* A socket that accept() gave has the backlog of the one that listened, which is 0 in
 * those that connect. One that listened with a backlog of 0 is known as long as it
 * does. */
static __always_inline enum direction direction(struct xdp_md *ctx, const struct packet *p)
{
	struct bpf_sock *sk = socket_of(ctx, p, false);
	const struct tcp_sock *tp;
	__u32 backlog, state;

	if (!sk)
		return NO_CONNECTION;
	state = sk->state;
	tp = bpf_skc_to_tcp_sock(sk);
	backlog = tp ? tcp_backlog(tp) : 0;
	bpf_sk_release(sk);
	if (backlog || state == BPF_TCP_LISTEN || state == BPF_TCP_NEW_SYN_RECV)
		return INBOUND;
	if (state == BPF_TCP_TIME_WAIT || state == BPF_TCP_SYN_SENT)
		return NO_CONNECTION;
	return listens(ctx, p) ? INBOUND : OUTBOUND;
}

/* The number of the byte that the pod's end of a connection waits for. */
static __always_inline bool next_byte(struct xdp_md *ctx, const struct packet *p, __u32 *next)
{
	struct bpf_sock *sk = socket_of(ctx, p, false);
	const struct tcp_sock *tp;
	bool stands = false;

	if (!sk)
		return false;
	tp = bpf_skc_to_tcp_sock(sk);
	if (tp && sk->state != BPF_TCP_LISTEN) {
		*next = tp->rcv_nxt;
		stands = true;
	}
	bpf_sk_release(sk);
	return stands;
}

#endif
