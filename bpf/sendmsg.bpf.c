// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Puts in front of the first bytes to a waypoint where the connection was going: TLVs,
 * big-endian, `01 length address port` and `FE 0`. A socket keeps the program that
 * km_sock had when it came in; so that one only calls the other, and what has not
 * written yet follows an upgrade.
 */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "bpf/stack.h"
#include "bpf/wmaps_waypoint.h"

#define TLV_DESTINATION 1
#define TLV_END 0xfe

struct destination {
	__u8 type;
	__be32 length;
} __attribute__((packed));

struct end {
	__be16 port;
	__u8 type;
	__be32 length;
} __attribute__((packed));

struct metadata4 {
	struct destination head;
	__be32 ip;
	struct end end;
} __attribute__((packed));

struct metadata6 {
	struct destination head;
	union kw_ip ip;
	struct end end;
} __attribute__((packed));

_Static_assert(sizeof(struct metadata4) == KW_METADATA4, "metadata4");
_Static_assert(sizeof(struct metadata6) == KW_METADATA6, "metadata6");

/* size bytes of room in front of what is being written. NULL: none. */
static __always_inline void *front(struct sk_msg_md *msg, __u32 size)
{
	void *data;

	if (bpf_msg_push_data(msg, 0, size, 0))
		return NULL;
	data = msg->data;
	return data + size <= msg->data_end ? data : NULL;
}

static __always_inline void head(struct destination *d, __u32 size)
{
	d->type = TLV_DESTINATION;
	d->length = bpf_htonl(size + sizeof(__be16));
}

static __always_inline void end(struct end *e, __be16 port)
{
	e->port = port;
	e->type = TLV_END;
	e->length = 0;
}

static __always_inline bool put4(struct sk_msg_md *msg, const struct kw_msg *m)
{
	struct metadata4 *t = front(msg, sizeof(*t));

	if (!t)
		return false;
	head(&t->head, sizeof(t->ip));
	t->ip = m->ip.w[3];
	end(&t->end, m->port);
	return true;
}

static __always_inline bool put6(struct sk_msg_md *msg, const struct kw_msg *m)
{
	struct metadata6 *t = front(msg, sizeof(*t));

	if (!t)
		return false;
	head(&t->head, sizeof(t->ip));
	t->ip = m->ip;
	end(&t->end, m->port);
	return true;
}

/* Data that reached a waypoint without metadata would be taken for metadata: better
 * an error from the write. */
SEC("sk_msg")
int metadata(struct sk_msg_md *msg)
{
	struct bpf_sock *sk = msg->sk;
	struct kw_msg *m = sk ? bpf_sk_storage_get(&km_msg_store, sk, NULL, 0) : NULL;

	if (!m || m->done)
		return SK_PASS;
	if (!(m->family == 4 ? put4(msg, m) : put6(msg, m)))
		return SK_DROP;
	m->done = 1;
	return SK_PASS;
}

SEC("sk_msg")
int sendmsg(struct sk_msg_md *msg)
{
	take_whole_stack();
	bpf_tail_call_static(msg, &km_tail_msg, 0);
	return SK_DROP;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
