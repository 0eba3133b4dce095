// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The result of a connect as the socket's own change of state: the variant for
 * stock kernels with BTF. It costs nothing per system call, and knows the
 * socket, so a non-blocking connect counts too. tp_btf: 5.5 on. The cookie is
 * read from the socket, for its helper is here only from 5.12 on.
 */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "bpf/abi.h"
#include "bpf/conn.h"
#include "bpf/result.h"

struct sock_common {
	struct {
		long long counter;
	} skc_cookie;
} __attribute__((preserve_access_index));

struct sock {
	struct sock_common __sk_common;
	int sk_err;
} __attribute__((preserve_access_index));

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(sock_state, const struct sock *sk, int from, int to)
{
	struct km_conn *c;
	__u64 cookie;
	int err;

	if (from != BPF_TCP_SYN_SENT || (to != BPF_TCP_ESTABLISHED && to != BPF_TCP_CLOSE))
		return 0;
	cookie = sk->__sk_common.skc_cookie.counter;
	if (!cookie)
		return 0;
	c = conn_find(cookie);
	if (!c)
		return 0;
	err = to == BPF_TCP_ESTABLISHED ? 0 : sk->sk_err;
	result(c, err, to == BPF_TCP_CLOSE && err == 0);
	if (!(c->flags & KM_CONN_COUNTED))
		c->cookie = 0;
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
