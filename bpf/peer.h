/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Whose an address is. */
#ifndef KMESH_PEER_H
#define KMESH_PEER_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include "bpf/seal.h"
#include "bpf/wmaps_auth.h"
#include "bpf/wmaps_node.h"

#define PEER_READS 4 /* of a value that is being overwritten */

/* All zero where nothing is known of it. False: it changed all the while. */
static __always_inline bool peer_find(const union kw_ip *ip, struct kw_peer *peer)
{
	const struct kw_peer *p;
	struct kw_stats *st;

	for (int i = 0; i < PEER_READS; i++) {
		p = bpf_map_lookup_elem(&km_peer, ip);
		if (!p) {
			__builtin_memset(peer, 0, sizeof(*peer));
			return true;
		}
		copy_words(peer, p, sizeof(*peer));
		if (peer->seal == peer_seal(ip, peer))
			return true;
		st = wstats();
		if (st)
			st->reread++;
	}
	return false;
}

#endif
