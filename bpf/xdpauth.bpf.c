// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Authorization, on what a pod's NIC receives. TCP alone is judged:
 *
 *   SYN without ACK     by the policies, always
 *   RST, SYN with ACK   passes: neither opens a connection to the pod
 *   anything else       by the connection's entry in km_flow; without one of the
 *                       present generation, by the policies if the pod did not open
 *                       the connection itself (direction.h)
 *
 * A denied SYN comes back as a reset. On a connection that stands, data becomes a
 * reset of the pod's socket, and what comes after it, which the pod did not
 * acknowledge, a reset of the other side; a packet without data resets the other
 * side at once.
 *
 * Needs 5.10 (bpf_skc_to_tcp_sock in XDP).
 */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include "bpf/classify.h"
#include "bpf/direction.h"
#include "bpf/event.h"
#include "bpf/flow.h"
#include "bpf/log.h"
#include "bpf/packet.h"
#include "bpf/peer.h"
#include "bpf/reset.h"
#include "bpf/wmaps_auth.h"
#include "bpf/wmaps_node.h"

/* The policies of one moment. */
struct rules {
	const struct kw_image *image;
	__u64 generation;
	__u32 base; /* slot of the image */
	bool exempt;
	bool native;
};

/* False: there are none. */
static __always_inline bool rules_now(struct rules *r)
{
	__u32 zero = 0;
	const struct kw_pstate *s = bpf_map_lookup_elem(&km_pstate, &zero);
	__u64 word;

	if (!s)
		return false;
	word = *(const volatile __u64 *)&s->word;
	r->generation = word >> 1;
	r->base = (word & 1) << (s->half_shift & 31);
	r->exempt = s->exempt;
	r->native = s->native;
	r->image = slot_at(r->base);
	return r->image && r->image->abi && r->image->rows;
}

/* By the identity at the packet's source and the policies of its destination. */
static __always_inline enum judgement judge(const struct rules *r, const struct packet *p,
					    __u32 *policy)
{
	struct kw_peer to, from;
	struct kw_stats *st;
	struct kw_pset set;

	if (!peer_find(&p->dst, &to))
		return JUDGED_BROKEN;
	set = set_of(r->image, r->base, to.pset);
	if (unguarded(r->image, r->base, &set))
		return JUDGED_ALLOW;
	if (!peer_find(&p->src, &from))
		return JUDGED_BROKEN;
	if (from.flags & KW_PEER_NODE && r->exempt) {
		st = wstats();
		if (st)
			st->exempted++;
		return JUDGED_ALLOW;
	}
	return classify(r->image, r->base, p, &set, from.identity, policy);
}

/* p: NULL where its addresses are not known. */
static __always_inline void log_packet(enum km_log_level level, enum km_log_what what,
				       const struct packet *p, __u32 arg)
{
	struct km_log_entry *e = log_new(level, what, arg);

	if (!e)
		return;
	if (p) {
		ip_copy(e->orig, p->src.w);
		ip_copy(e->dst, p->dst.w);
		e->orig_port = p->sport;
		e->dst_port = p->dport;
	}
	log_send(e);
}

static __always_inline void count_denial(const struct packet *p, __u32 policy)
{
	__u64 *n = bpf_map_lookup_elem(&km_denied, &policy), now;
	struct kw_event *e;

	if (n)
		__sync_fetch_and_add(n, 1);
	log_packet(KM_LOG_INFO, KM_LOG_DENIED, p, policy);
	if (!reader(&now))
		return;
	e = event_new(KW_E_DENIED, now);
	if (!e)
		return;
	e->src = p->src;
	e->dst = p->dst;
	e->orig = p->dst;
	e->sport = p->sport;
	e->dport = p->dport;
	e->orig_port = p->dport;
	e->policy = policy;
	event_send(e);
}

/* p: NULL where its headers are hidden. */
static __always_inline int drop(const struct packet *p)
{
	struct kw_stats *st = wstats();

	if (st && !p)
		st->unparsed++;
	else if (st)
		st->unsealed++;
	log_packet(KM_LOG_ERROR, p ? KM_LOG_UNSEALED : KM_LOG_UNPARSED, p, 0);
	return XDP_DROP;
}

static __always_inline bool opens(const struct packet *p)
{
	return (p->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

/* The byte that the pod's socket waits for: any other number it would ask about. */
static __always_inline void to_pod(struct reset *out, __u32 next)
{
	out->back = unknown_zero(next);
	out->flags = TCP_RST;
	out->seq = bpf_htonl(next);
}

/* As the stack answers where nobody listens. */
static __always_inline void to_sender(struct reset *out, const struct packet *p)
{
	__u32 taken = p->len - p->header + !!(p->flags & TCP_SYN) + !!(p->flags & TCP_FIN);

	out->back = 1 + unknown_zero(p->seq); /* one path from here on */
	if (p->flags & TCP_ACK) {
		out->flags = TCP_RST;
		out->seq = p->ack;
	} else {
		out->flags = TCP_RST | TCP_ACK;
		out->ack = bpf_htonl(bpf_ntohl(p->seq) + taken);
	}
}

/* The pod is told once, by the first packet with data. */
static __always_inline int refuse(struct xdp_md *ctx, const struct rules *r, const struct packet *p,
				  bool told)
{
	bool data = !opens(p) && (p->len > p->header || p->flags & TCP_FIN);
	struct reset out = {};
	__u32 next;

	if (data && !told && next_byte(ctx, p, &next)) {
		flow_put(p, r->generation, KW_V_TOLD);
		to_pod(&out, next);
	} else {
		to_sender(&out, p);
	}
	out.partial = !(out.back && r->native) && is_partial(p);
	if (!reset_packet(ctx, p, &out))
		return XDP_DROP;
	if (!out.back)
		return XDP_PASS;
	/* In veth's driver a packet of XDP_TX waits for the peer's next one, unless the
	 * peer has a program too; one that is redirected does not. */
	return r->native ? bpf_redirect(ctx->ingress_ifindex, 0) : XDP_TX;
}

/* On a packet of which none is known; 0: there is none to be had. */
static __always_inline __u32 verdict_on(struct xdp_md *ctx, const struct rules *r,
					const struct packet *p)
{
	__u32 verdict = KW_V_ALLOW, policy;
	enum direction way = opens(p) ? INBOUND : direction(ctx, p);

	if (way == NO_CONNECTION)
		return KW_V_ALLOW;
	if (way == INBOUND) {
		switch (judge(r, p, &policy)) {
		case JUDGED_BROKEN:
			return 0;
		case JUDGED_DENY:
			count_denial(p, policy);
			verdict = KW_V_DENY;
			break;
		case JUDGED_ALLOW:
			break;
		}
	}
	/* A denied SYN has no entry: there may be many, and each is judged. */
	if (verdict == KW_V_ALLOW || !opens(p))
		flow_put(p, r->generation, verdict);
	return verdict;
}

SEC("xdp")
int xdpauth(struct xdp_md *ctx)
{
	__u32 verdict = 0;
	struct packet p;
	struct rules r;

	switch (parse(ctx, &p)) {
	case IS_OTHER:
		return XDP_PASS;
	case IS_HIDDEN:
		return drop(NULL);
	case IS_TCP:
		break;
	}
	if (p.flags & TCP_RST || (p.flags & TCP_SYN && p.flags & TCP_ACK) || !rules_now(&r))
		return XDP_PASS;
	if (!opens(&p))
		verdict = flow_find(&p, r.generation);
	if (!verdict)
		verdict = verdict_on(ctx, &r, &p);
	if (!verdict)
		return drop(&p);
	if (verdict == KW_V_ALLOW)
		return XDP_PASS;
	return refuse(ctx, &r, &p, verdict == KW_V_TOLD);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
