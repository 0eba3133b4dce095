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

SEC("tp_btf/inet_sock_set_state")
int floor_state(__u64 *ctx)
{
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
