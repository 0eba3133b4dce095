// SPDX-License-Identifier: Apache-2.0
/* Addresses as control planes write them. */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "error.h"
#include "ranges.h"

static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

bool parse_ip(const char *text, uint8_t ip[16], bool *is4)
{
	*is4 = false;
	if (inet_pton(AF_INET6, text, ip) == 1)
		return true;
	if (inet_pton(AF_INET, text, ip + 12) != 1)
		return false;
	memcpy(ip, mapped, sizeof(mapped));
	*is4 = true;
	return true;
}

static bool parse_port(const char *text, uint32_t *port)
{
	uint32_t n = 0;

	for (; *text >= '0' && *text <= '9' && n <= 65535; text++)
		n = n * 10 + (uint32_t)(*text - '0');
	*port = n;
	return !*text && n && n <= 65535;
}

bool parse_domain(const char *text, struct domain *domain)
{
	char host[INET6_ADDRSTRLEN];
	const char *from = text, *end, *rest;
	bool is4;

	memset(domain, 0, sizeof(*domain));
	if (*text == '[') {
		from++;
		end = strchr(from, ']');
		if (!end)
			return false;
		rest = end + 1;
	} else {
		end = strchr(text, ':');
		/* Two colons and no bracket: an IPv6 address alone. */
		if (!end || strchr(end + 1, ':'))
			end = text + strlen(text);
		rest = end;
	}
	if ((size_t)(end - from) >= sizeof(host))
		return false;
	memcpy(host, from, (size_t)(end - from));
	host[end - from] = 0;
	if (*rest && (*rest != ':' || !parse_port(rest + 1, &domain->port)))
		return false;
	if (*text == '*' && !strcmp(host, "*")) {
		domain->any = true;
		return true;
	}
	return parse_ip(host, domain->ip, &is4) && (*text != '[' || !is4);
}

static void set_point(struct point *point, const uint8_t ip[16], uint32_t port)
{
	uint64_t word[2];

	memcpy(word, ip, sizeof(word));
	point->hi = be64toh(word[0]);
	point->lo = be64toh(word[1]);
	point->port = port;
}

void rule_address(struct rule *rule, const uint8_t ip[16])
{
	set_point(&rule->first, ip, 0);
	set_point(&rule->last, ip, 65535);
}

int rule_prefix(struct rule *rule, const char *prefix, uint32_t len, bool *is4)
{
	uint8_t first[16], last[16];

	if (!parse_ip(prefix, first, is4))
		return error_set(-EINVAL, "address_prefix \"%.64s\": not an IP address", prefix);
	if (len > (*is4 ? 32 : 128))
		return error_set(-EINVAL, "prefix_len %u: more than %d bits", len, *is4 ? 32 : 128);
	if (*is4)
		len += 96;
	memcpy(last, first, sizeof(last));
	for (uint32_t i = 0; i < 16; i++) {
		uint32_t bits = len > i * 8 ? len - i * 8 : 0;
		uint8_t mask = bits >= 8 ? 0 : (uint8_t)(0xff >> bits);

		first[i] &= (uint8_t)~mask;
		last[i] |= mask;
	}
	set_point(&rule->first, first, 0);
	set_point(&rule->last, last, 65535);
	return 0;
}
