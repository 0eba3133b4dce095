// SPDX-License-Identifier: Apache-2.0
/* Restoring resources from the maps. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "error.h"
#include "wire.h"

static const struct km_head *head_of(struct store *s, const struct table *t, uint32_t root)
{
	return slab_at(&s->slabs, table_tree(t, root), 1);
}

static int find(struct store *s, const ProtobufCMessageDescriptor *descriptor, const void *key,
		const struct km_head **head)
{
	struct change c = { 0 };
	struct table *t;
	uint32_t root;
	int err = change_key(descriptor, key, &c);

	if (err)
		return change_blame(&c, err);
	t = store_table(s, c.kind);
	root = c.kind == KM_LISTENER ? table_find_addr(t, &c.addr, c.hash)
				     : table_find_name(t, &s->slabs, c.name, c.name_len, c.hash);
	*head = root ? head_of(s, t, root) : NULL;
	if (!*head)
		return change_blame(&c, error_set(-ENOENT, "not there"));
	return 0;
}

int deserial_lookup_wire(const void *key, const ProtobufCMessageDescriptor *descriptor,
			 uint8_t **wire, size_t *len)
{
	struct store *s = store_get();
	const struct km_head *head;
	int err;

	if (!s)
		return -ENODEV;
	err = enter(s);
	if (err)
		goto out;
	err = find(s, descriptor, key, &head);
	if (!err) {
		*len = head->wire_len;
		*wire = malloc(*len + 1);
		err = *wire ? wire_read(&s->slabs, head, *wire)
			    : error_sys(-ENOMEM, "restore %zu bytes", *len);
		if (err)
			free(*wire);
	}
	leave(s);
out:
	store_put(s);
	return err;
}

/* Everything of one kind, each behind its length. */
static int read_all(struct store *s, const struct table *t, uint8_t **buf, size_t *len)
{
	size_t total = 0;
	uint8_t *to;

	for (uint32_t i = idset_next(&t->used, 0); i; i = idset_next(&t->used, i)) {
		const struct km_head *head = head_of(s, t, i);

		if (head)
			total += sizeof(uint32_t) + head->wire_len;
	}
	*len = total;
	*buf = to = malloc(total + 1);
	if (!to)
		return error_sys(-ENOMEM, "restore %zu bytes", total);
	for (uint32_t i = idset_next(&t->used, 0); i; i = idset_next(&t->used, i)) {
		const struct km_head *head = head_of(s, t, i);
		int err;

		if (!head)
			continue;
		memcpy(to, &head->wire_len, sizeof(uint32_t));
		to += sizeof(uint32_t);
		err = wire_read(&s->slabs, head, to);
		if (err) {
			free(*buf);
			return err;
		}
		to += head->wire_len;
	}
	return 0;
}

int deserial_lookup_all_wire(const ProtobufCMessageDescriptor *descriptor, uint8_t **buf,
			     size_t *len)
{
	struct store *s = store_get();
	enum km_kind kind;
	int err;

	if (!s)
		return -ENODEV;
	err = kind_of(descriptor, &kind);
	if (!err)
		err = enter(s);
	if (!err) {
		err = read_all(s, store_table(s, kind), buf, len);
		leave(s);
	}
	store_put(s);
	return err;
}

static void *unpack(const ProtobufCMessageDescriptor *descriptor, const uint8_t *wire, size_t len)
{
	void *value = protobuf_c_message_unpack(descriptor, NULL, len, wire);

	if (!value) {
		error_note("what is stored is no %s, or no memory", descriptor->name);
		errno = EUCLEAN;
	}
	return value;
}

void *deserial_lookup_elem(const void *key, const ProtobufCMessageDescriptor *descriptor)
{
	uint8_t *wire;
	size_t len;
	void *value;
	int err = deserial_lookup_wire(key, descriptor, &wire, &len);

	if (err) {
		errno = -err;
		return NULL;
	}
	value = unpack(descriptor, wire, len);
	free(wire);
	return value;
}

struct element_list_node *deserial_lookup_all_elems(const ProtobufCMessageDescriptor *descriptor)
{
	struct element_list_node *head = NULL, **tail = &head;
	uint8_t *buf, *at;
	size_t left;
	int err = deserial_lookup_all_wire(descriptor, &buf, &left);

	errno = -err;
	if (err)
		return NULL;
	for (at = buf; left;) {
		struct element_list_node *node = calloc(1, sizeof(*node));
		uint32_t len;

		if (!node) {
			errno = ENOMEM;
			break;
		}
		*tail = node;
		tail = &node->next;
		memcpy(&len, at, sizeof(len));
		at += sizeof(len);
		node->elem = unpack(descriptor, at, len);
		if (!node->elem)
			break;
		at += len;
		left -= sizeof(len) + len;
	}
	free(buf);
	if (left) {
		err = errno;
		deserial_free_elem_list(head);
		head = NULL;
		errno = err;
	}
	return head;
}

void deserial_free_elem(void *value)
{
	if (value)
		protobuf_c_message_free_unpacked(value, NULL);
}

void deserial_free_elem_list(struct element_list_node *head)
{
	while (head) {
		struct element_list_node *next = head->next;

		deserial_free_elem(head->elem);
		free(head);
		head = next;
	}
}
