/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A frame, down to its TCP header. What is not TCP is left alone. What could
 * hide a TCP header from here and show it to the stack is dropped: fragments that
 * begin within the header, a first fragment that does not hold all of it, a
 * chain of IPv6 extension headers that is too long or broken.
 */
#ifndef KMESH_PACKET_H
#define KMESH_PACKET_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "bpf/verifier.h"
#include "bpf/workload.h"

#define MAX_TAGS 2
#define MAX_EXTENSIONS 8
#define MAX_OFFSET 0x3fffu /* of any header: verifiers want to know */
#define MAX_FRAME 0xffffu  /* more than that is a GSO packet whose length field is 0 */
#define TCP_BYTES 20u	   /* of a header without options */
#define FRAG_OFFSET 0x1fff /* of IPv4's field, in units of 8 bytes */
#define FRAG_UNITS 3u	   /* a fragment that begins before it is within TCP's header */

enum tcp_flag { TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4, TCP_ACK = 16 };

struct tag {
	__be16 tci;
	__be16 proto;
};

/* Bytes instead of bit fields. */
struct tcp {
	__be16 source;
	__be16 dest;
	__be32 seq;
	__be32 ack;
	__u8 offset;
	__u8 flags;
	__be16 window;
	__u16 check;
	__be16 urgent;
};

struct packet {
	union kw_ip src;
	union kw_ip dst;
	__be16 sport;
	__be16 dport;
	__be32 seq;
	__be32 ack;
	__u32 len; /* of TCP's header and data */
	__u16 check;
	__u16 l3; /* offset of the IP header */
	__u16 l4; /* and of TCP's */
	__u8 flags;
	__u8 header; /* bytes of TCP's */
	__u8 v6;
};

enum parsed { IS_TCP, IS_OTHER, IS_HIDDEN };

static __always_inline bool is_tag(__be16 proto)
{
	return proto == bpf_htons(ETH_P_8021Q) || proto == bpf_htons(ETH_P_8021AD);
}

static __always_inline __s64 frame_bytes(struct xdp_md *ctx)
{
	__s64 n = (void *)(long)ctx->data_end - (void *)(long)ctx->data;

	/* Else clang goes on with half a pointer, where 32 bits are enough. */
	asm volatile("" : "+r"(n));
	return n;
}

/* Bytes from offset on that belong to IP: of a GSO packet of more than 64 KB the
 * length is not in the header. 0: less than it says. */
static __always_inline __u32 ip_bytes(struct xdp_md *ctx, __u32 offset, __u32 says, bool unsaid)
{
	__u32 have = frame_bytes(ctx) - offset;

	if (unsaid || (!says && have > MAX_FRAME))
		return have;
	return says <= have ? says : 0;
}

static __always_inline enum parsed parse_tcp(struct xdp_md *ctx, struct packet *p, bool v6,
					     __u32 l3, __u32 l4, __u32 len)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	const struct tcp *t;

	if (l4 > MAX_OFFSET)
		return IS_HIDDEN;
	t = data + l4;
	if ((void *)(t + 1) > end)
		return IS_HIDDEN;
	p->header = (t->offset >> 4) * 4;
	if (p->header < TCP_BYTES || p->header > len)
		return IS_HIDDEN;
	p->sport = t->source;
	p->dport = t->dest;
	p->seq = t->seq;
	p->ack = t->ack;
	p->flags = t->flags;
	p->check = t->check;
	p->len = len;
	/* One path from here on, however the packet got here. */
	p->v6 = v6 + unknown_zero(t->seq);
	p->l3 = l3 + unknown_zero(t->seq);
	p->l4 = l4 + unknown_zero(t->seq);
	return IS_TCP;
}

static __always_inline enum parsed parse_ipv4(struct xdp_md *ctx, struct packet *p, __u32 l3)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	const struct iphdr *ip = data + l3;
	__u32 header, bytes, fragment;

	if ((void *)(ip + 1) > end)
		return IS_OTHER; /* the stack drops it too */
	if (ip->protocol != IPPROTO_TCP)
		return IS_OTHER;
	header = ip->ihl * 4;
	fragment = bpf_ntohs(ip->frag_off) & FRAG_OFFSET;
	if (fragment)
		return fragment < FRAG_UNITS ? IS_HIDDEN : IS_OTHER;
	bytes = ip_bytes(ctx, l3, bpf_ntohs(ip->tot_len), false);
	if (ip->version != 4 || header < sizeof(*ip) || bytes < header)
		return IS_HIDDEN;
	p->src.d[0] = 0;
	p->src.w[2] = bpf_htonl(0xffff);
	p->src.w[3] = ip->saddr;
	p->dst.d[0] = 0;
	p->dst.w[2] = bpf_htonl(0xffff);
	p->dst.w[3] = ip->daddr;
	return parse_tcp(ctx, p, false, l3, l3 + header, bytes - header);
}

/* What all extension headers begin with. */
struct extension {
	__u8 next;
	__u8 len;
	__be16 fragment; /* of a fragment header: offset in units of 8 bytes << 3, and flags */
	__be32 rest;
};

static __always_inline __u32 extension_bytes(__u8 type, const struct extension *e)
{
	if (type == IPPROTO_FRAGMENT)
		return sizeof(*e);
	return type == IPPROTO_AH ? (e->len + 2) * 4 : (e->len + 1) * 8;
}

static __always_inline bool is_extension(__u8 type)
{
	return type == IPPROTO_HOPOPTS || type == IPPROTO_ROUTING || type == IPPROTO_DSTOPTS ||
	       type == IPPROTO_AH || type == IPPROTO_FRAGMENT;
}

/*
 * From the header of that type at offset l4 on to the first that is no extension header:
 * its offset where that is TCP's, else -enum parsed. Not inlined: verified once, by itself.
 */
__attribute__((noinline)) int extensions_walk(struct xdp_md *ctx, __u64 offset, __u64 type)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 l4 = offset, fragment;
	const struct extension *e;
	__u8 next = type;

	for (int i = 0; i < MAX_EXTENSIONS && is_extension(next); i++) {
		if (l4 > MAX_OFFSET)
			return -IS_HIDDEN;
		e = data + l4;
		if ((void *)(e + 1) > end)
			return -IS_HIDDEN;
		fragment = next == IPPROTO_FRAGMENT ? bpf_ntohs(e->fragment) >> 3 : 0;
		if (fragment)
			return e->next == IPPROTO_TCP && fragment < FRAG_UNITS ? -IS_HIDDEN
									       : -IS_OTHER;
		/* Not known, so that all types of header are one path. */
		l4 += extension_bytes(next, e) + unknown_zero(e->rest);
		next = e->next;
	}
	if (is_extension(next) || l4 > MAX_OFFSET)
		return -IS_HIDDEN;
	return next == IPPROTO_TCP ? (int)l4 : -IS_OTHER;
}

static __always_inline enum parsed parse_ipv6(struct xdp_md *ctx, struct packet *p, __u32 l3)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	const struct ipv6hdr *ip = data + l3;
	__u32 first = l3 + sizeof(*ip), bytes;
	int l4 = first;

	if ((void *)(ip + 1) > end)
		return IS_OTHER;
	if (ip->nexthdr != IPPROTO_TCP) {
		l4 = is_extension(ip->nexthdr) ? extensions_walk(ctx, first, ip->nexthdr)
					       : -IS_OTHER;
		/* clang knows how far it may be, the verifier not. */
		asm volatile("" : "+r"(l4));
		if (l4 < 0)
			return l4 == -IS_OTHER ? IS_OTHER : IS_HIDDEN;
	}
	/* A jumbogram's length is in its hop-by-hop header. */
	bytes = ip_bytes(ctx, first, bpf_ntohs(ip->payload_len),
			 !ip->payload_len && ip->nexthdr == IPPROTO_HOPOPTS);
	if (ip->version != 6 || bytes < l4 - first)
		return IS_HIDDEN;
	__builtin_memcpy(&p->src, &ip->saddr, sizeof(p->src));
	__builtin_memcpy(&p->dst, &ip->daddr, sizeof(p->dst));
	return parse_tcp(ctx, p, true, l3, l4, bytes - (l4 - first));
}

static __always_inline enum parsed parse(struct xdp_md *ctx, struct packet *p)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	const struct ethhdr *eth = data;
	__u32 l3 = sizeof(*eth);
	const struct tag *tag;
	__be16 proto;

	if ((void *)(eth + 1) > end)
		return IS_OTHER;
	proto = eth->h_proto;
	for (int i = 0; i < MAX_TAGS && is_tag(proto); i++) {
		tag = data + l3;
		if ((void *)(tag + 1) > end)
			return IS_OTHER;
		proto = tag->proto;
		l3 += sizeof(*tag);
	}
	/* Tags or none: one path. */
	l3 = (l3 + unknown_zero(proto)) & 31;
	if (proto == bpf_htons(ETH_P_IP))
		return parse_ipv4(ctx, p, l3);
	if (proto == bpf_htons(ETH_P_IPV6))
		return parse_ipv6(ctx, p, l3);
	return is_tag(proto) ? IS_HIDDEN : IS_OTHER;
}

#endif
