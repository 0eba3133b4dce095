// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* A build that does nothing with the sockets of connections. */
#define sock_ops as_it_should
#include "bpf/wsockops.bpf.c"
#undef sock_ops

SEC("sockops")
int sock_ops(struct bpf_sock_ops *ctx)
{
	return 1;
}
