// SPDX-License-Identifier: Apache-2.0
/* One batch that deletes everything. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "cluster/cluster.pb-c.h"
#include "core/core.pb-c.h"
#include "error.h"
#include "listener/listener.pb-c.h"
#include "route/route.pb-c.h"

struct deletion {
	struct deserial_op *ops;
	size_t n;
	char (*names)[KM_MAX_NAME + 1];
	Core__SocketAddress *addresses;
};

static void add_names(struct store *s, const struct table *t,
		      const ProtobufCMessageDescriptor *descriptor, struct deletion *d)
{
	for (uint32_t i = idset_next(&t->used, 0); i; i = idset_next(&t->used, i)) {
		const struct km_name *name = table_name(t, &s->slabs, i);
		struct deserial_op *op = &d->ops[d->n];

		if (!name || !table_tree(t, i))
			continue;
		memcpy(d->names[d->n], name->data, name->len);
		op->op = DESERIAL_DELETE;
		op->key = d->names[d->n++];
		op->descriptor = descriptor;
	}
}

static void add_listeners(struct store *s, struct deletion *d)
{
	const struct table *t = &s->listeners;

	for (uint32_t i = idset_next(&t->used, 0); i; i = idset_next(&t->used, i)) {
		Core__SocketAddress *address = &d->addresses[i];
		struct deserial_op *op = &d->ops[d->n];

		if (!table_tree(t, i))
			continue;
		core__socket_address__init(address);
		address->protocol = t->addr[i].protocol;
		address->port = t->addr[i].port;
		address->ipv6.data = (uint8_t *)t->addr[i].ip;
		address->ipv6.len = sizeof(t->addr[i].ip);
		op->op = DESERIAL_DELETE;
		op->key = address;
		op->descriptor = &listener__listener__descriptor;
		d->n++;
	}
}

int delete_all(struct store *s)
{
	struct deletion d = { 0 };
	size_t named, changed;
	int err = enter(s);

	if (err)
		return err;
	named = (size_t)s->clusters.live + s->routes.live;
	d.ops = calloc(named + s->listeners.live + 1, sizeof(*d.ops));
	d.names = calloc(named + 1, sizeof(*d.names));
	d.addresses = calloc(s->listeners.used.max, sizeof(*d.addresses));
	if (!d.ops || !d.names || !d.addresses) {
		err = error_sys(-ENOMEM, "delete everything");
	} else {
		add_names(s, &s->clusters, &cluster__cluster__descriptor, &d);
		add_names(s, &s->routes, &route__route_configuration__descriptor, &d);
		add_listeners(s, &d);
	}
	leave(s);
	if (!err && d.n)
		err = publish(s, d.ops, d.n, NULL, &changed);
	free(d.ops);
	free(d.names);
	free(d.addresses);
	return err;
}
