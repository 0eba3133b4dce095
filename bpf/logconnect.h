/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the data plane's log says of a connect. */
#ifndef KMESH_LOGCONNECT_H
#define KMESH_LOGCONNECT_H

#include "bpf/destination.h"
#include "bpf/log.h"

/* Of a connect to a; to: where it was sent, NULL where it was left alone. */
static __always_inline void log_connect(struct bpf_sock_addr *ctx, enum km_log_level level,
					enum km_log_what what, const struct km_addr *a,
					const __be32 *to, __be16 to_port, __u32 arg)
{
	struct km_log_entry *e = log_new(level, what, arg);

	if (!e)
		return;
	e->netns = bpf_get_netns_cookie(ctx);
	e->pid = bpf_get_current_pid_tgid() >> 32;
	ip_copy(e->orig, a->ip);
	e->orig_port = a->port;
	if (to) {
		ip_copy(e->dst, to);
		e->dst_port = to_port;
	}
	log_send(e);
}

/* Of a connect that is left alone, or will be. */
static __always_inline void log_pass(struct bpf_sock_addr *ctx, enum km_log_level level,
				     enum km_log_what what, const struct km_addr *a, __u32 arg)
{
	log_connect(ctx, level, what, a, NULL, 0, arg);
}

/* Of a connect of another protocol, whose destination nobody needs but the log. a: room
 * for it. */
static __always_inline void log_protocol(struct bpf_sock_addr *ctx, struct km_addr *a)
{
	if (!logs(KM_LOG_DEBUG))
		return;
	destination(ctx, a);
	log_pass(ctx, KM_LOG_DEBUG, KM_LOG_PROTOCOL, a, ctx->protocol);
}

#endif
