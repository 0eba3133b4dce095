/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages in wire form, in chains of chunks. Nothing here knows any message: it
 * is all done by walking protobuf-c's descriptors.
 */
#ifndef KMESH_WIRE_H
#define KMESH_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "store.h"

/* Well-formed for the descriptor, strings UTF-8 without a zero byte: a C string
 * would end there. */
int wire_check(const ProtobufCMessageDescriptor *descriptor, const uint8_t *wire, size_t len);

/* Is this what the tree of that head holds? */
bool wire_same(const struct slabs *slabs, const struct km_head *head, const uint8_t *wire,
	       uint32_t len);

/* Copies what the head's chain holds, wire_len bytes. */
int wire_read(const struct slabs *slabs, const struct km_head *head, uint8_t *to);

#endif
