/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Where a connect asks to go. V6 says which of the two programs this is. */
#ifndef KMESH_DESTINATION_H
#define KMESH_DESTINATION_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "bpf/abi.h"

static __always_inline void destination(struct bpf_sock_addr *ctx, struct km_addr *a)
{
	a->ip[0] = V6 ? ctx->user_ip6[0] : 0;
	a->ip[1] = V6 ? ctx->user_ip6[1] : 0;
	a->ip[2] = V6 ? ctx->user_ip6[2] : bpf_htonl(0xffff);
	a->ip[3] = V6 ? ctx->user_ip6[3] : ctx->user_ip4;
	a->port = (__be16)ctx->user_port;
	a->protocol = 0;
}

/* IPv4 is ::ffff:a.b.c.d, so that an IPv4-mapped address that came through connect6 is
 * the IPv4 connection that it is. */
static __always_inline bool is_ipv4(const __be32 *ip)
{
	return ip[0] == 0 && ip[1] == 0 && ip[2] == bpf_htonl(0xffff);
}

#endif
