// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Counts the open connections of endpoints whose cluster balances by them: up
 * when the first SYN is about to leave (connect alone may still find no
 * route), down when the socket closes. Asking the kernel for state changes on
 * counted sockets only keeps the others at one run per event less.
 */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include "bpf/abi.h"
#include "bpf/conn.h"
#include "bpf/slab.h"

static __always_inline void count(struct km_conn *c, int by)
{
	struct km_endpoint *e = conn_endpoint(c);

	if (e)
		__sync_fetch_and_add(&e->active, by);
}

static __always_inline void opening(struct bpf_sock_ops *ctx)
{
	struct km_conn *c = conn_find(bpf_get_socket_cookie(ctx));

	if (!c || (c->flags & (KM_CONN_COUNT | KM_CONN_COUNTED)) != KM_CONN_COUNT)
		return;
	if (bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG))
		return; /* its close would not be seen: do not count it */
	count(c, 1);
	c->flags |= KM_CONN_COUNTED;
}

static __always_inline void closed(struct bpf_sock_ops *ctx)
{
	struct km_conn *c = conn_find(bpf_get_socket_cookie(ctx));

	if (!c || !(c->flags & KM_CONN_COUNTED))
		return;
	count(c, -1);
	c->flags = 0;
	/* A connect that failed has its result taken after this. */
	if (ctx->args[0] != BPF_TCP_SYN_SENT)
		c->cookie = 0;
}

SEC("sockops")
int sock_ops(struct bpf_sock_ops *ctx)
{
	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		opening(ctx);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		if (ctx->args[1] == BPF_TCP_CLOSE)
			closed(ctx);
		break;
	}
	return 1;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
