// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* A build whose connects are refused. */
#define sockconn4 as_it_should
#include "bpf/wconn4.bpf.c"
#undef sockconn4

SEC("cgroup/connect4")
int sockconn4(struct bpf_sock_addr *ctx)
{
	return DENY;
}
