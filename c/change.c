// SPDX-License-Identifier: Apache-2.0
/* From what a caller asks for to changes: kind, key, message, wire form. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "batch.h"
#include "cluster/cluster.pb-c.h"
#include "core/core.pb-c.h"
#include "error.h"
#include "listener/listener.pb-c.h"
#include "route/route.pb-c.h"
#include "wire.h"

int kind_of(const ProtobufCMessageDescriptor *descriptor, enum km_kind *kind)
{
	if (descriptor == &cluster__cluster__descriptor)
		*kind = KM_CLUSTER;
	else if (descriptor == &listener__listener__descriptor)
		*kind = KM_LISTENER;
	else if (descriptor == &route__route_configuration__descriptor)
		*kind = KM_ROUTE;
	else
		return error_set(-EINVAL,
				 "a Listener, Cluster or RouteConfiguration is stored, not %s",
				 descriptor ? descriptor->name : "nothing");
	return 0;
}

int addr_of(const void *socket_address, struct km_addr *addr)
{
	const Core__SocketAddress *a = socket_address;

	memset(addr, 0, sizeof(*addr));
	if (a->ipv6.len == sizeof(addr->ip)) {
		memcpy(addr->ip, a->ipv6.data, sizeof(addr->ip));
	} else if (!a->ipv6.len) {
		addr->ip[2] = htonl(0xffff);
		addr->ip[3] = a->ipv4;
	} else {
		return error_set(-EINVAL, "address.ipv6: %zu bytes, not 16", a->ipv6.len);
	}
	if (!a->port || a->port > UINT16_MAX)
		return error_set(-EINVAL, "address.port: %u is no port in network byte order",
				 a->port);
	addr->port = (__be16)a->port;
	if (a->protocol != CORE__SOCKET_ADDRESS__PROTOCOL__TCP &&
	    a->protocol != CORE__SOCKET_ADDRESS__PROTOCOL__UDP)
		return error_set(-EINVAL, "address.protocol: %d is none", (int)a->protocol);
	addr->protocol = (__u16)a->protocol;
	return 0;
}

static int set_name(struct change *c, const char *name)
{
	size_t len = name ? strlen(name) : 0;

	if (!len)
		return error_set(-EINVAL, "name: empty");
	c->name = name;
	if (len > KM_MAX_NAME)
		return error_set(-ENOSPC, "names longer than %u bytes: %s", KM_MAX_NAME, name);
	c->name_len = (uint32_t)len;
	c->hash = hash_bytes(name, len);
	return 0;
}

static int set_addr(struct change *c, const void *socket_address)
{
	int err;

	if (!socket_address)
		return error_set(-EINVAL, "address: missing");
	err = addr_of(socket_address, &c->addr);
	if (!err)
		c->hash = hash_bytes(&c->addr, sizeof(c->addr));
	return err;
}

int change_key(const ProtobufCMessageDescriptor *descriptor, const void *key, struct change *c)
{
	int err = kind_of(descriptor, &c->kind);

	if (err)
		return err;
	if (!key)
		return error_set(-EINVAL, "no key");
	return c->kind == KM_LISTENER ? set_addr(c, key) : set_name(c, key);
}

static int key_of_message(struct change *c)
{
	switch (c->kind) {
	case KM_LISTENER:
		return set_addr(c, ((const Listener__Listener *)c->message)->address);
	case KM_CLUSTER:
		return set_name(c, ((const Cluster__Cluster *)c->message)->name);
	default:
		return set_name(c, ((const Route__RouteConfiguration *)c->message)->name);
	}
}

static bool same_key(const struct change *a, const struct change *b)
{
	if (a->kind == KM_LISTENER)
		return !memcmp(&a->addr, &b->addr, sizeof(a->addr));
	return a->name_len == b->name_len && !memcmp(a->name, b->name, a->name_len);
}

/* A message as a struct: its wire form is what is kept. */
static int read_value(struct batch *b, const void *value, struct change *c)
{
	uint8_t *wire;
	size_t len;
	int err;

	c->message = value;
	err = kind_of(c->message->descriptor, &c->kind);
	if (err)
		return err;
	if (!protobuf_c_message_check(c->message))
		return error_set(-EINVAL, "%s: not a whole message", c->message->descriptor->name);
	if (c->remove)
		return 0;
	len = protobuf_c_message_get_packed_size(c->message);
	wire = arena_alloc(&b->s->arena, len + 1);
	if (!wire || len > INT32_MAX)
		return error_sys(-ENOMEM, "message of %zu bytes", len);
	c->wire_len = (uint32_t)protobuf_c_message_pack(c->message, wire);
	c->wire = wire;
	return wire_check(c->message->descriptor, c->wire, c->wire_len);
}

static int read_wire(struct batch *b, const struct deserial_op *op, struct change *c)
{
	int err = kind_of(op->descriptor, &c->kind);

	if (err)
		return err;
	if (op->wire_len > INT32_MAX)
		return error_set(-E2BIG, "message of %zu bytes", op->wire_len);
	err = wire_check(op->descriptor, op->wire, op->wire_len);
	if (err)
		return err;
	c->message = protobuf_c_message_unpack(op->descriptor, &b->s->arena.allocator, op->wire_len,
					       op->wire);
	if (!c->message)
		return error_set(-EINVAL, "not a %s, or no memory for it", op->descriptor->name);
	c->wire = op->wire;
	c->wire_len = (uint32_t)op->wire_len;
	return 0;
}

int change_read(struct batch *b, const struct deserial_op *op, struct change *c)
{
	struct change own;
	int err;

	c->remove = op->op == DESERIAL_DELETE;
	if (c->remove && op->key)
		return change_key(op->descriptor, op->key, c);
	if (!op->value && !op->wire)
		return error_set(-EINVAL, "no message");
	err = op->value ? read_value(b, op->value, c) : read_wire(b, op, c);
	if (!err)
		err = key_of_message(c);
	if (err || !op->key)
		return err;
	memset(&own, 0, sizeof(own));
	err = change_key(c->message->descriptor, op->key, &own);
	if (!err && !same_key(&own, c))
		err = error_set(-EINVAL, "the key is not the message's own");
	return err;
}

void change_note(const struct change *c)
{
	char ip[INET6_ADDRSTRLEN] = "";
	uint16_t port = ntohs(c->addr.port);
	bool mapped = !c->addr.ip[0] && !c->addr.ip[1] && c->addr.ip[2] == htonl(0xffff);

	switch (c->kind) {
	case KM_LISTENER:
		if (mapped)
			inet_ntop(AF_INET, &c->addr.ip[3], ip, sizeof(ip));
		else
			inet_ntop(AF_INET6, c->addr.ip, ip, sizeof(ip));
		if (!port)
			error_note_prefix("Listener");
		else
			error_note_prefix(mapped ? "Listener %s:%u" : "Listener [%s]:%u", ip, port);
		break;
	case KM_CLUSTER:
		error_note_prefix("Cluster %s", c->name ? c->name : "without a name");
		break;
	case KM_ROUTE:
		error_note_prefix("RouteConfiguration %s", c->name ? c->name : "without a name");
		break;
	}
}
