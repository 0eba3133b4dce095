// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* connect() of an IPv4 socket, in workload mode. */
#define V6 0
#include "bpf/wconn.h"

SEC("cgroup/connect4")
int sockconn4(struct bpf_sock_addr *ctx)
{
	return sockconn(ctx);
}
