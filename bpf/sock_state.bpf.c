// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The result of a connect as the socket's own change of state: the variant for
 * stock kernels with BTF. It costs nothing per system call, and knows the
 * socket, so a non-blocking connect counts too. tp_btf: 5.5 on. The cookie is
 * read from the socket, for its helper is here only from 5.12 on.
 */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "bpf/abi.h"
#include "bpf/conn.h"
#include "bpf/result.h"
#include "bpf/tcp.h"

/* How long the SYN went unanswered. TCP has measured it, so no clock is read: in
 * eighths of a microsecond, as its first sample of the round trip. When the SYN
 * was sent again that is the last round trip alone; then the ticks since connect,
 * which is seconds ago. */
static __always_inline __u64 took(const struct tcp_sock *tp, const struct km_conn *c)
{
	const struct km_config *cfg;

	if (!tp->total_retrans)
		return tp->srtt_us / 8 * NSEC_PER_USEC;
	cfg = config();
	return cfg ? (bpf_jiffies64() - c->since) * cfg->tick : 0;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(sock_state, struct sock *sk, int from, int to)
{
	const struct tcp_sock *tp;
	struct km_conn *c;
	__u64 cookie;
	int err;

	if (from != BPF_TCP_SYN_SENT || (to != BPF_TCP_ESTABLISHED && to != BPF_TCP_CLOSE))
		return 0;
	cookie = sk->__sk_common.skc_cookie.counter;
	if (!cookie)
		return 0;
	c = conn_find(cookie);
	tp = c ? bpf_skc_to_tcp_sock(sk) : NULL;
	if (!tp)
		return 0;
	if (to == BPF_TCP_ESTABLISHED) {
		result(c, 0, took(tp, c));
	} else {
		err = sk->sk_err;
		/* Closed by the application before an answer came. When the SYN had
		 * to be sent again, after a second, that is the endpoint's doing;
		 * sooner it says nothing. */
		if (!err && tp->total_retrans)
			err = E_TIMEDOUT;
		if (err)
			result(c, err, 0);
	}
	if (!(c->flags & KM_CONN_COUNTED))
		c->cookie = 0;
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
