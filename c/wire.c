// SPDX-License-Identifier: Apache-2.0
#include "wire.h"

#include <errno.h>
#include <string.h>

#include "error.h"

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

/* Deeper than any message of the project nests. */
#define MAX_DEPTH 16

/* Returns the bytes read, 0 when there is no number. */
static size_t read_varint(const uint8_t *p, size_t len, uint64_t *value)
{
	uint64_t v = 0;

	for (size_t i = 0; i < len && i < 10; i++) {
		v |= (uint64_t)(p[i] & 0x7f) << 7 * i;
		if (!(p[i] & 0x80)) {
			*value = v;
			return i + 1;
		}
	}
	return 0;
}

/* Length of the UTF-8 sequence at p, 0 when it is none: too long, a surrogate or
 * beyond U+10FFFF. */
static size_t sequence(const uint8_t *p, size_t len)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint32_t code;
	size_t n;

	if (p[0] < 0x80)
		return 1;
	n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (p[0] < 0xc2 || p[0] > 0xf4 || n > len)
		return 0;
	code = p[0] & (0xffu >> (n + 1));
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (p[i] & 0x3f);
	}
	if (code < least[n] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
		return 0;
	return n;
}

static int check_string(const ProtobufCFieldDescriptor *field, const uint8_t *p, size_t len)
{
	for (size_t i = 0, n; i < len; i += n) {
		n = sequence(p + i, len - i);
		if (!n)
			return error_set(-EINVAL, "%s: not UTF-8", field->name);
		if (!p[i])
			return error_set(-EINVAL, "%s: holds a zero byte", field->name);
	}
	return 0;
}

static int check(const ProtobufCMessageDescriptor *descriptor, const uint8_t *p, size_t len,
		 int depth)
{
	const uint8_t *end = p + len;

	while (p < end) {
		const ProtobufCFieldDescriptor *field;
		uint64_t tag, size;
		size_t n = read_varint(p, (size_t)(end - p), &tag);
		int err = 0;

		if (!n || tag >> 3 == 0 || tag > UINT32_MAX)
			goto malformed;
		p += n;
		switch (tag & 7) {
		case VARINT:
			size = read_varint(p, (size_t)(end - p), &tag);
			if (!size)
				goto malformed;
			p += size;
			continue;
		case FIXED64:
		case FIXED32:
			size = (tag & 7) == FIXED64 ? 8 : 4;
			if ((size_t)(end - p) < size)
				goto malformed;
			p += size;
			continue;
		case BYTES:
			break;
		default:
			goto malformed;
		}
		n = read_varint(p, (size_t)(end - p), &size);
		if (!n || size > (size_t)(end - p) - n)
			goto malformed;
		p += n;
		field = protobuf_c_message_descriptor_get_field(descriptor,
								(unsigned int)(tag >> 3));
		if (field && field->type == PROTOBUF_C_TYPE_STRING)
			err = check_string(field, p, size);
		else if (field && field->type == PROTOBUF_C_TYPE_MESSAGE)
			err = depth ? check(field->descriptor, p, size, depth - 1)
				    : error_set(-EINVAL, "nested too deep");
		if (err)
			return err;
		p += size;
	}
	return 0;

malformed:
	return error_set(-EINVAL, "not a %s: malformed at byte %zu from its end", descriptor->name,
			 (size_t)(end - p));
}

int wire_check(const ProtobufCMessageDescriptor *descriptor, const uint8_t *wire, size_t len)
{
	return check(descriptor, wire, len, MAX_DEPTH);
}

bool wire_same(const struct slabs *slabs, const struct km_head *head, const uint8_t *wire,
	       uint32_t len)
{
	uint32_t handle = head->wire;
	uint32_t done = 0;

	if (head->wire_len != len)
		return false;
	while (handle) {
		const struct km_chunk *chunk = slab_at(slabs, handle, 1);
		uint32_t n = chunk ? chunk->len : 0;

		if (!n || n > len - done || n > SLAB_BYTES ||
		    !slab_at(slabs, handle, chunk_slots(n)) || memcmp(chunk->data, wire + done, n))
			return false;
		done += n;
		handle = chunk->next;
	}
	return done == len;
}

int wire_read(const struct slabs *slabs, const struct km_head *head, uint8_t *to)
{
	uint32_t handle = head->wire;
	uint32_t left = head->wire_len;

	while (handle) {
		const struct km_chunk *chunk = slab_at(slabs, handle, 1);
		uint32_t n = chunk ? chunk->len : 0;

		if (!n || n > left || n > SLAB_BYTES || !slab_at(slabs, handle, chunk_slots(n)))
			break;
		memcpy(to, chunk->data, n);
		to += n;
		left -= n;
		handle = chunk->next;
	}
	return left || handle ? error_set(-EUCLEAN, "damaged message") : 0;
}
