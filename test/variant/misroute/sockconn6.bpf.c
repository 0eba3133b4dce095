// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* A build whose last stage redirects to the port beside the right one. */
#define cluster6 as_it_should
#include "bpf/sockconn6.bpf.c"
#undef cluster6

SEC("cgroup/connect6")
int cluster6(struct bpf_sock_addr *ctx)
{
	int verdict = cluster(ctx);

	ctx->user_port = bpf_htons(bpf_ntohs((__be16)ctx->user_port) + 1);
	return verdict;
}
