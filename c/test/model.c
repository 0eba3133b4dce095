// SPDX-License-Identifier: Apache-2.0
#include "model.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/cluster.pb-c.h"
#include "listener/listener.pb-c.h"
#include "route/route.pb-c.h"
#include "test.h"

#define ENTRIES 4096
#define KM_MODEL_KEY 1100

struct entry {
	const ProtobufCMessageDescriptor *descriptor;
	char key[KM_MODEL_KEY];
	uint8_t *wire;
	size_t len;
};

static struct entry entries[ENTRIES];
static size_t used;

static const ProtobufCMessageDescriptor *const kinds[] = {
	&cluster__cluster__descriptor,
	&listener__listener__descriptor,
	&route__route_configuration__descriptor,
};

/* A key of any kind as text; an IPv4 address has one form alone. */
static void key_of(const ProtobufCMessage *m, char *key, size_t size)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	const Core__SocketAddress *a;
	uint8_t ip[16];

	if (m->descriptor != kinds[1]) {
		snprintf(key, size, "%s",
			 m->descriptor == kinds[0] ? ((const Cluster__Cluster *)m)->name
						   : ((const Route__RouteConfiguration *)m)->name);
		return;
	}
	a = ((const Listener__Listener *)m)->address;
	memcpy(ip, mapped, sizeof(mapped));
	memcpy(ip + 12, &a->ipv4, 4);
	if (a->ipv6.len == 16)
		memcpy(ip, a->ipv6.data, 16);
	for (size_t i = 0; i < 16; i++)
		snprintf(key + 2 * i, size - 2 * i, "%02x", ip[i]);
	snprintf(key + 32, size - 32, " %u %d", a->port, (int)a->protocol);
}

static struct entry *find(const ProtobufCMessage *m, const char *key)
{
	for (size_t i = 0; i < used; i++) {
		if (entries[i].descriptor == m->descriptor && !strcmp(entries[i].key, key))
			return &entries[i];
	}
	return NULL;
}

void model_clear(void)
{
	while (used)
		free(entries[--used].wire);
}

static void forget(struct entry *e)
{
	free(e->wire);
	*e = entries[--used];
}

static void keep(const ProtobufCMessage *m, const char *key, const struct deserial_op *op)
{
	struct entry *e = find(m, key);

	if (!e) {
		if (used == ENTRIES)
			abort();
		e = &entries[used++];
		memset(e, 0, sizeof(*e));
		e->descriptor = m->descriptor;
		snprintf(e->key, sizeof(e->key), "%s", key);
	}
	free(e->wire);
	e->len = op->value ? protobuf_c_message_get_packed_size(m) : op->wire_len;
	e->wire = malloc(e->len + 1);
	if (!e->wire)
		abort();
	if (op->value)
		protobuf_c_message_pack(m, e->wire);
	else if (e->len)
		memcpy(e->wire, op->wire, e->len);
}

static void apply(const struct deserial_op *op)
{
	const ProtobufCMessage *m = op->value;
	ProtobufCMessage *own = NULL;
	char key[KM_MODEL_KEY];

	if (!m)
		m = own = protobuf_c_message_unpack(op->descriptor, NULL, op->wire_len, op->wire);
	if (!CHECK(m))
		return;
	key_of(m, key, sizeof(key));
	if (op->op == DESERIAL_UPDATE)
		keep(m, key, op);
	else if (find(m, key))
		forget(find(m, key));
	protobuf_c_message_free_unpacked(own, NULL);
}

void model_apply(const struct deserial_op *ops, size_t n)
{
	for (size_t i = 0; i < n; i++)
		apply(&ops[i]);
}

/* Does the message have this endpoint, and healthy? */
static bool has(const Cluster__Cluster *c, const struct deserial_endpoint *e)
{
	const Endpoint__ClusterLoadAssignment *a = c->load_assignment;

	for (size_t i = 0; a && i < a->n_endpoints; i++) {
		for (size_t j = 0; j < a->endpoints[i]->n_lb_endpoints; j++) {
			const Endpoint__Endpoint *is = a->endpoints[i]->lb_endpoints[j];
			const Core__SocketAddress *s = is->address;

			if (is->unhealthy || !s || ntohs((uint16_t)s->port) != e->port)
				continue;
			if (s->ipv6.len ? !memcmp(s->ipv6.data, e->ip, 16)
					: !memcmp(&s->ipv4, e->ip + 12, 4))
				return true;
		}
	}
	return false;
}

static void check_endpoints(const Cluster__Cluster *c)
{
	struct deserial_endpoint *e;
	uint64_t sum = 0;
	size_t n;

	if (!CHECK_INT(deserial_endpoints(c->name, &e, &n), 0))
		return;
	for (size_t i = 0; i < n; i++) {
		CHECK(has(c, &e[i]));
		sum += e[i].weight;
		if (i + 1 < n && e[i + 1].group == e[i].group && e[i + 1].family == e[i].family)
			continue;
		CHECK_INT(sum, e[i].total);
		sum = 0;
	}
	free(e);
}

static void check_one(const ProtobufCMessage *m, const uint8_t *wire, size_t len)
{
	char key[KM_MODEL_KEY];
	const struct entry *e;

	key_of(m, key, sizeof(key));
	e = find(m, key);
	CHECK(e && e->len == len && !memcmp(e->wire, wire, len));
	if (m->descriptor == kinds[0])
		check_endpoints((const Cluster__Cluster *)m);
}

void model_check(void)
{
	size_t found = 0;

	for (size_t k = 0; k < 3; k++) {
		uint8_t *buf, *at;
		size_t left;

		if (!CHECK_INT(deserial_lookup_all_wire(kinds[k], &buf, &left), 0))
			return;
		for (at = buf; left; found++) {
			ProtobufCMessage *m;
			uint32_t len;

			memcpy(&len, at, sizeof(len));
			at += sizeof(len);
			m = protobuf_c_message_unpack(kinds[k], NULL, len, at);
			if (CHECK(m))
				check_one(m, at, len);
			protobuf_c_message_free_unpacked(m, NULL);
			at += len;
			left -= sizeof(len) + len;
		}
		free(buf);
	}
	CHECK_INT(found, used);
}

void model_check_slots(void)
{
	struct deserial_stats before, after;

	CHECK_INT(deserial_stats(&before), 0);
	CHECK_INT(deserial_uninit(true), 0);
	CHECK_INT(deserial_init(), 0);
	CHECK_INT(deserial_stats(&after), 0);
	CHECK_INT(after.slots.used, before.slots.used);
	CHECK(after.counters.used <= before.counters.used);
	CHECK_INT(after.clusters.used, before.clusters.used);
	CHECK_INT(after.cluster_references, before.cluster_references);
	CHECK_INT(after.route_references, before.route_references);
}
