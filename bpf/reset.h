/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A packet becomes a reset: of the one who sent it, or of the pod's socket. What
 * stands between the frame's header and TCP's, options and fragment headers, goes
 * too. TCP's header stays where it is in memory, for the device may be told to
 * complete its checksum at that place.
 */
#ifndef KMESH_RESET_H
#define KMESH_RESET_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "bpf/packet.h"

#define FRAME_BYTES (sizeof(struct ethhdr) + MAX_TAGS * sizeof(struct tag)) /* at most */
#define RESET_HOPS 64
#define IPV4_DF 0x4000

/* A one's complement sum of network-order words. That of an IPv4-mapped address is
 * that of the IPv4 address. */
static __always_inline __u64 sum_words(const __u32 *w, __u32 n)
{
	__u64 sum = 0;

	for (__u32 i = 0; i < n; i++)
		sum += w[i];
	return sum;
}

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum >> 32) + (__u32)sum;
	sum = (sum >> 32) + (__u32)sum;
	sum = (sum >> 16) + (sum & 0xffff);
	sum = (sum >> 16) + (sum & 0xffff);
	return sum;
}

static __always_inline __u64 pseudo_header(const struct packet *p, __u32 len)
{
	return sum_words(p->src.w, 4) + sum_words(p->dst.w, 4) + bpf_htonl(IPPROTO_TCP) +
	       bpf_htonl(len);
}

/*
 * The field of a packet that no device has sent yet holds just the pseudo-header's
 * sum, and whoever sends or takes it in knows that; a program does not see it
 * otherwise. In a driver a packet that is sent back loses that knowledge.
 */
static __always_inline bool is_partial(const struct packet *p)
{
	return p->check == fold(pseudo_header(p, p->len));
}

/* What the reset says, and which way it goes. */
struct reset {
	__be32 seq;
	__be32 ack;
	__u8 flags;
	__u8 back;    /* to the one who sent the packet */
	bool partial; /* checksum */
};

static __always_inline void write_tcp(void *at, const struct packet *p, const struct reset *r)
{
	__u32 w[TCP_BYTES / 4] = {};
	__u64 sum = pseudo_header(p, TCP_BYTES);
	struct tcp *t = (struct tcp *)w;

	t->source = r->back ? p->dport : p->sport;
	t->dest = r->back ? p->sport : p->dport;
	t->seq = r->seq;
	t->ack = r->ack;
	t->offset = TCP_BYTES / 4 << 4;
	t->flags = r->flags;
	t->check = r->partial ? fold(sum) : ~fold(sum + sum_words(w, TCP_BYTES / 4));
	__builtin_memcpy(at, w, sizeof(w));
}

static __always_inline void write_ipv4(void *at, const struct packet *p, bool back)
{
	__u32 w[sizeof(struct iphdr) / 4] = {};
	struct iphdr *ip = (struct iphdr *)w;

	ip->version = 4;
	ip->ihl = sizeof(*ip) / 4;
	ip->tot_len = bpf_htons(sizeof(*ip) + TCP_BYTES);
	ip->frag_off = bpf_htons(IPV4_DF);
	ip->ttl = RESET_HOPS;
	ip->protocol = IPPROTO_TCP;
	ip->saddr = back ? p->dst.w[3] : p->src.w[3];
	ip->daddr = back ? p->src.w[3] : p->dst.w[3];
	ip->check = ~fold(sum_words(w, sizeof(w) / 4));
	__builtin_memcpy(at, w, sizeof(w));
}

static __always_inline void write_ipv6(void *at, const struct packet *p, bool back)
{
	struct ipv6hdr ip = {};

	ip.version = 6;
	ip.payload_len = bpf_htons(TCP_BYTES);
	ip.nexthdr = IPPROTO_TCP;
	ip.hop_limit = RESET_HOPS;
	__builtin_memcpy(&ip.saddr, back ? &p->dst : &p->src, sizeof(ip.saddr));
	__builtin_memcpy(&ip.daddr, back ? &p->src : &p->dst, sizeof(ip.daddr));
	__builtin_memcpy(at, &ip, sizeof(ip));
}

static __always_inline void swap_macs(__u16 *frame)
{
	__u16 half;

	for (int i = 0; i < ETH_ALEN / 2; i++) {
		half = frame[i];
		frame[i] = frame[ETH_ALEN / 2 + i];
		frame[ETH_ALEN / 2 + i] = half;
	}
}

/* The frame's header with its tags, in front of the IP header's new place. */
static __always_inline bool write_reset(struct xdp_md *ctx, const struct packet *p,
					const struct reset *r, const __u16 *frame)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 l3 = p->l3 & 31, ip = p->v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	void *at = data + l3;

	if (data + FRAME_BYTES > end || at + ip + TCP_BYTES > end)
		return false;
	/* May reach into the IP header, which is written after it. */
	for (__u32 i = 0; i < FRAME_BYTES / 2; i++)
		((__u16 *)data)[i] = frame[i];
	if (p->v6)
		write_ipv6(at, p, r->back);
	else
		write_ipv4(at, p, r->back);
	write_tcp(at + ip, p, r);
	return true;
}

static __always_inline bool reset_packet(struct xdp_md *ctx, const struct packet *p,
					 const struct reset *r)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 ip = p->v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	__u16 frame[FRAME_BYTES / 2];
	__s64 more;

	if (data + FRAME_BYTES > end)
		return false;
	for (__u32 i = 0; i < FRAME_BYTES / 2; i++)
		frame[i] = ((const __u16 *)data)[i];
	if (r->back)
		swap_macs(frame);
	if (bpf_xdp_adjust_head(ctx, p->l4 - p->l3 - ip))
		return false;
	more = frame_bytes(ctx) - (p->l3 + ip + TCP_BYTES);
	if (more && bpf_xdp_adjust_tail(ctx, -more))
		return false;
	return write_reset(ctx, p, r, frame);
}

#endif
