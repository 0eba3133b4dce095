// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* A build that does not tell waypoints where connections are going. */
#define metadata as_it_should
#include "bpf/sendmsg.bpf.c"
#undef metadata

SEC("sk_msg")
int metadata(struct sk_msg_md *msg)
{
	return SK_PASS;
}
