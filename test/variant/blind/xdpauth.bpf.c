// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* A build that lets everything in. */
#define xdpauth as_it_should
#include "bpf/xdpauth.bpf.c"
#undef xdpauth

SEC("xdp")
int xdpauth(struct xdp_md *ctx)
{
	return XDP_PASS;
}
