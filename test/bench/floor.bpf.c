/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The least that a program on each hook can cost: what kmesh-node's figures are
 * held against. The benchmark runs these in the same pass as the real ones.
 */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "bpf/abi.h"

struct floor_addr {
	__be32 ip;
	__be32 port; /* as bpf_sock_addr.user_port holds it */
};

/* Sized and typed as km_netns and km_listener are. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, KM_MAX_NETNS);
	__type(key, __u64);
	__type(value, struct km_netns);
} floor_netns SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, KM_MAX_LISTENERS);
	__type(key, struct km_addr);
	__type(value, struct floor_addr);
} floor_addr SEC(".maps");

static __always_inline bool is_enrolled(struct bpf_sock_addr *ctx)
{
	__u64 cookie = bpf_get_netns_cookie(ctx);

	return bpf_map_lookup_elem(&floor_netns, &cookie);
}

SEC("cgroup/connect4")
int floor_return(struct bpf_sock_addr *ctx)
{
	return 1;
}

SEC("cgroup/connect4")
int floor_lookup(struct bpf_sock_addr *ctx)
{
	/* Both ways return 1; the write keeps the lookup from being optimised
	 * away and is never reached by the namespaces that are measured. */
	if (is_enrolled(ctx) && ctx->user_port == 0)
		ctx->user_ip4 = 0;
	return 1;
}

SEC("cgroup/connect4")
int floor_rewrite(struct bpf_sock_addr *ctx)
{
	struct km_addr key = {};
	struct floor_addr *to;

	if (!is_enrolled(ctx))
		return 1;
	key.ip[2] = bpf_htonl(0xffff);
	key.ip[3] = ctx->user_ip4;
	key.port = (__be16)ctx->user_port;
	to = bpf_map_lookup_elem(&floor_addr, &key);
	if (!to)
		return 1;
	ctx->user_ip4 = to->ip;
	ctx->user_port = to->port;
	return 1;
}

SEC("sockops")
int floor_sockops(struct bpf_sock_ops *ctx)
{
	return 1;
}

/* Asks for close events, so that a return-only program beside it has them too. */
SEC("sockops")
int floor_closes(struct bpf_sock_ops *ctx)
{
	if (ctx->op == BPF_SOCK_OPS_TCP_CONNECT_CB ||
	    ctx->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
		bpf_sock_ops_cb_flags_set(ctx, BPF_SOCK_OPS_STATE_CB_FLAG);
	return 1;
}

SEC("tp_btf/inet_sock_set_state")
int floor_state(__u64 *ctx)
{
	return 0;
}

SEC("xdp")
int floor_pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}

/* What floor_tuples runs: one program for the test run. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} floor_next SEC(".maps");

/* Makes every packet of a test run the first of a connection: the source's port
 * counts up and, when it wraps, the last byte of the source's address. The packet
 * is an IPv4 one without options, on Ethernet. */
SEC("xdp")
int floor_tuples(struct xdp_md *ctx)
{
	unsigned char *p = (void *)(long)ctx->data;

	if (p + 36 > (unsigned char *)(long)ctx->data_end)
		return XDP_ABORTED;
	if (!++p[35] && !++p[34])
		p[29]++;
	bpf_tail_call(ctx, &floor_next, 0);
	return XDP_ABORTED;
}

char _license[] SEC("license") = "Dual BSD/GPL";
