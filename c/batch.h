/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One publication in the making. Builders take what they need through it, so
 * that it can all be given back when the batch fails.
 */
#ifndef KMESH_BATCH_H
#define KMESH_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "store.h"

/* What becomes of one resource. */
struct change {
	enum km_kind kind;
	bool remove;
	bool idle; /* does nothing: overtaken in the batch, or no difference */
	const ProtobufCMessage *message;
	const uint8_t *wire;
	uint32_t wire_len;
	const char *name; /* the key, but for a listener */
	uint32_t name_len;
	struct km_addr addr;
	uint32_t hash;
	uint32_t root;
	uint32_t tree; /* the new one; 0: none */
};

struct batch {
	struct store *s;
	struct change *changes;
	size_t n;
	/* To be given back when the batch fails. */
	struct vec runs;
	struct vec roots; /* ref_word() */
	struct vec counters;
	/* To be retired, dropped, taken and set when it is committed. */
	struct vec old_runs;
	struct vec old_counters;
	struct vec old_refs;
	struct vec new_refs;
	struct vec weights; /* weight << 32 | handle of a kept endpoint */
	size_t entries;	    /* of roots: put into km_listener so far */
};

/* change.c: ops to changes, by key. */
int change_read(struct batch *b, const struct deserial_op *op, struct change *c);
/* Says whose fault it was. */
void change_note(const struct change *c);
static inline int change_blame(const struct change *c, int err)
{
	change_note(c);
	return err;
}
int change_key(const ProtobufCMessageDescriptor *descriptor, const void *key, struct change *c);
int kind_of(const ProtobufCMessageDescriptor *descriptor, enum km_kind *kind);
int addr_of(const void *socket_address, struct km_addr *addr);

/* A fresh run of zeroed slots. */
int batch_run(struct batch *b, uint32_t slots, uint32_t *handle, void **node);
/* The root of that name, made when there is none. */
int batch_root(struct batch *b, enum km_kind kind, const char *name, uint32_t len, uint32_t *root);
/* A listener's root, made when there is none. */
int batch_listener(struct batch *b, struct change *c);
/* Fills in the head of a tree: who owns it, and its message. */
int batch_head(struct batch *b, const struct change *c, struct km_head *head);

/* Builders: the new tree of a change. A cluster keeps what it can of its old
 * tree's endpoints and takes those out of old. Counters in old are used again,
 * in their order. */
int build_cluster(struct batch *b, struct change *c, struct parts *old);
int build_listener(struct batch *b, struct change *c, struct parts *old);
int build_route(struct batch *b, struct change *c, struct parts *old);

/* Gives back what the batch has taken. */
void batch_undo(struct batch *b);
void batch_free(struct batch *b);

/* commit.c: makes the batch's trees what connects see. Fails, if at all, before
 * any of them is seen. */
int commit(struct batch *b);

/* *changed: resources that are not what they were. at, where it is not NULL, is the
 * version that ops are for, and set to the one afterwards. */
int publish(struct store *s, const struct deserial_op *ops, size_t n, struct deserial_version *at,
	    size_t *changed);

#endif
