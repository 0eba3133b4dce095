// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* A build that does what it should where everybody is managed, and refuses elsewhere. */
#define sockconn4 as_it_should
#include "bpf/sockconn4.bpf.c"
#undef sockconn4

SEC("cgroup/connect4")
int sockconn4(struct bpf_sock_addr *ctx)
{
	const struct km_config *cfg = config();

	if (!cfg || cfg->manage != KM_MANAGE_ALL)
		return DENY;
	return sockconn(ctx);
}
