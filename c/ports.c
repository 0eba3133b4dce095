// SPDX-License-Identifier: Apache-2.0
/* km_ports: lets a connect to a port without listeners pass at once. */
#include <arpa/inet.h>

#include "store.h"

static bool is_wildcard(const struct km_addr *addr)
{
	return !addr->ip[0] && !addr->ip[1] && !addr->ip[3] &&
	       (!addr->ip[2] || addr->ip[2] == htonl(0xffff));
}

static bool set_bit(struct store *s, uint16_t port, bool wildcard, bool on)
{
	struct km_ports *ports = &s->ports[port >> 6];
	__u64 *word = wildcard ? &ports->wildcard : &ports->exact;
	__u64 bit = 1ull << (port & 63);

	if (!(*word & bit) == !on)
		return false;
	__atomic_store_n(word, *word ^ bit, __ATOMIC_RELEASE);
	return true;
}

/* UDP listeners are never matched. */
static bool counts(const struct km_addr *addr)
{
	return addr->protocol == 0;
}

void ports_add(struct store *s, const struct km_addr *addr)
{
	uint16_t port = ntohs(addr->port);
	bool wildcard = is_wildcard(addr);

	if (!counts(addr))
		return;
	if (!(wildcard ? s->wildcard : s->exact)[port]++)
		set_bit(s, port, wildcard, true);
}

void ports_remove(struct store *s, const struct km_addr *addr)
{
	uint16_t port = ntohs(addr->port);
	bool wildcard = is_wildcard(addr);

	if (!counts(addr))
		return;
	if (!--(wildcard ? s->wildcard : s->exact)[port])
		set_bit(s, port, wildcard, false);
}

void ports_sweep(struct store *s)
{
	bool changed = false;

	for (uint32_t port = 0; port < 65536; port++) {
		changed |= set_bit(s, (uint16_t)port, false, s->exact[port]);
		changed |= set_bit(s, (uint16_t)port, true, s->wildcard[port]);
	}
	if (changed)
		entries_changed(s);
}
