// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* A build in which a stage of the chain goes nowhere. */
#define route_config6 as_it_should
#include "bpf/sockconn6.bpf.c"
#undef route_config6

SEC("cgroup/connect6")
int route_config6(struct bpf_sock_addr *ctx)
{
	return PASS;
}
