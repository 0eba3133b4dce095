// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* A build that redirects to the port beside the right one. */
#define sockconn6 as_it_should
#include "bpf/wconn6.bpf.c"
#undef sockconn6

SEC("cgroup/connect6")
int sockconn6(struct bpf_sock_addr *ctx)
{
	__be32 before = ctx->user_ip6[3];
	int verdict = sockconn(ctx);

	if (ctx->user_ip6[3] != before)
		ctx->user_port = bpf_htons(bpf_ntohs((__be16)ctx->user_port) + 1);
	return verdict;
}
