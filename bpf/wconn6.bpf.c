// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* connect() of an IPv6 socket, in workload mode. */
#define V6 1
#include "bpf/wconn.h"

SEC("cgroup/connect6")
int sockconn6(struct bpf_sock_addr *ctx)
{
	return sockconn(ctx);
}
