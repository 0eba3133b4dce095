/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Whose connections are managed, and the control address. */
#ifndef KMESH_ENROL_H
#define KMESH_ENROL_H

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "bpf/abi.h"
#include "bpf/maps_config.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, KM_MAX_NETNS);
	__type(key, __u64);
	__type(value, struct km_netns);
} km_netns SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, KM_NETNS_SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} km_netns_slot SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, KM_MAX_OWN);
	__type(key, __u64);
	__type(value, __u32);
} km_own SEC(".maps");

static __always_inline __u64 *netns_slot(__u64 netns)
{
	__u32 i = KM_NETNS_SLOT(netns);

	return bpf_map_lookup_elem(&km_netns_slot, &i);
}

/* Is it managed, and with which flags? A namespace that has any is asked for.
 * bpf_get_netns_cookie: sock_addr programs from 5.7 on. */
static __always_inline bool managed_with(struct bpf_sock_addr *ctx, __u64 netns, __u32 *flags)
{
	const __u64 *slot = netns_slot(netns);
	const struct km_config *cfg;
	const struct km_netns *pod;
	__u64 socket;

	*flags = 0;
	if (slot && *slot == netns)
		return true;
	pod = slot && *slot ? bpf_map_lookup_elem(&km_netns, &netns) : NULL;
	if (pod) {
		*flags = *(const volatile __u32 *)&pod->flags;
		return true;
	}
	cfg = config();
	if (!cfg || cfg->manage != KM_MANAGE_ALL)
		return false;
	socket = bpf_get_socket_cookie(ctx);
	return !bpf_map_lookup_elem(&km_own, &socket);
}

static __always_inline bool managed(struct bpf_sock_addr *ctx, __u64 netns)
{
	__u32 flags;

	return managed_with(ctx, netns, &flags);
}

/* 0.0.0.2 or ::2. */
static __always_inline bool is_control(const struct km_addr *a)
{
	return a->ip[3] == bpf_htonl(KM_CONTROL_HOST) && a->ip[0] == 0 && a->ip[1] == 0 &&
	       (a->ip[2] == 0 || a->ip[2] == bpf_htonl(0xffff));
}

/* Enrols or releases the caller's network namespace where the operator allows
 * it. Returns true when that was done: the caller then answers with EPERM, the
 * one result that an address of this kind cannot give by itself. The host's
 * own namespace is never taken this way. */
static __always_inline bool control(struct bpf_sock_addr *ctx, __u64 netns)
{
	const struct km_config *cfg = config();
	__be16 port = (__be16)ctx->user_port;
	struct km_netns value = {};
	__u64 *slot = netns_slot(netns);

	if (!slot || !cfg || !cfg->control)
		return false;
	if (port == bpf_htons(KM_CONTROL_LEAVE)) {
		bpf_map_delete_elem(&km_netns, &netns);
		if (*slot == netns)
			*slot = KM_NETNS_ASK;
		return true;
	}
	if (port != bpf_htons(KM_CONTROL_ENROLL) || netns == bpf_get_netns_cookie(NULL))
		return false;
	value.since = bpf_ktime_get_ns();
	/* What is enrolled keeps its flags and addresses. */
	if (bpf_map_update_elem(&km_netns, &netns, &value, BPF_NOEXIST) &&
	    !bpf_map_lookup_elem(&km_netns, &netns))
		return false;
	if (!*slot)
		*slot = netns;
	return true;
}

#endif
