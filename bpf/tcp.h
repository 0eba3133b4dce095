/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the kernel's TCP socket says and a program's context does not. */
#ifndef KMESH_TCP_H
#define KMESH_TCP_H

#include <linux/types.h>
#include <bpf/bpf_core_read.h>

#define NSEC_PER_USEC 1000ull

struct sock_common {
	struct {
		long long counter;
	} skc_cookie;
	unsigned long skc_flags;
} __attribute__((preserve_access_index));

struct sock {
	struct sock_common __sk_common;
	int sk_err;
	__u32 sk_max_ack_backlog;
} __attribute__((preserve_access_index));

struct inet_sock {
	struct sock sk;
} __attribute__((preserve_access_index));

struct inet_connection_sock {
	struct inet_sock icsk_inet;
} __attribute__((preserve_access_index));

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u64 bytes_received;
	__u64 bytes_sent;
	__u64 bytes_retrans;
	__u32 srtt_us; /* in eighths */
	__u32 total_retrans;
	__u32 rcv_nxt;
} __attribute__((preserve_access_index));

/* Bit of skc_flags: the peer's FIN came. It counts as a byte received. */
#define SOCK_DONE 1

static __always_inline int tcp_error(const struct tcp_sock *tp)
{
	return tp->inet_conn.icsk_inet.sk.sk_err;
}

/* That listen() was given: of a socket that listens, and of those it accepted. */
static __always_inline __u32 tcp_backlog(const struct tcp_sock *tp)
{
	return tp->inet_conn.icsk_inet.sk.sk_max_ack_backlog;
}

static __always_inline __u64 tcp_sent(const struct tcp_sock *tp)
{
	return tp->bytes_sent - tp->bytes_retrans;
}

static __always_inline __u64 tcp_received(const struct tcp_sock *tp)
{
	return tp->bytes_received -
	       (tp->inet_conn.icsk_inet.sk.__sk_common.skc_flags >> SOCK_DONE & 1);
}

#endif
