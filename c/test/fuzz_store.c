// SPDX-License-Identifier: Apache-2.0
/*
 * Any sequence of batches of any messages: the store takes it or refuses it with
 * words, holds what a model of it holds, loses nothing, and never crashes.
 *
 * An input is a sequence of operations: a byte of flags, two bytes of length
 * (little-endian), and the message in wire form.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/cluster.pb-c.h"
#include "deserial.h"
#include "fake.h"
#include "listener/listener.pb-c.h"
#include "model.h"
#include "route/route.pb-c.h"
#include "test.h"

enum {
	KIND = 3,     /* of the message: cluster, listener, route */
	DELETE = 4,   /* else an update */
	MORE = 8,     /* in one batch with the next one */
	VALUE = 16,   /* as a struct, not in wire form */
	FAIL = 32,    /* a call to the kernel fails in this batch */
	REOPEN = 64,  /* close and open after this batch */
	DAMAGE = 128, /* of the maps, while it is closed */
};

#define MAX_OPS 64

bool test_check(bool ok, const char *file, int line, const char *text)
{
	if (!ok) {
		fprintf(stderr, "%s:%d: %s (%s)\n", file, line, text, deserial_error());
		abort();
	}
	return ok;
}

bool test_int(long long is, long long want, const char *file, int line, const char *text)
{
	return test_check(is == want, file, line, text);
}

struct input {
	const uint8_t *at, *end;
};

/* The flags, or -1 at the end. */
static int next_op(struct input *in, struct deserial_op *op)
{
	static const ProtobufCMessageDescriptor *const kinds[] = {
		&cluster__cluster__descriptor,
		&listener__listener__descriptor,
		&route__route_configuration__descriptor,
		&cluster__cluster__descriptor,
	};
	int flags;

	if (in->end - in->at < 3)
		return -1;
	flags = in->at[0];
	op->wire_len = (size_t)in->at[1] | (size_t)in->at[2] << 8;
	in->at += 3;
	if (op->wire_len > (size_t)(in->end - in->at))
		op->wire_len = (size_t)(in->end - in->at);
	op->wire = in->at;
	in->at += op->wire_len;
	op->descriptor = kinds[flags & KIND];
	op->op = flags & DELETE ? DESERIAL_DELETE : DESERIAL_UPDATE;
	if (flags & VALUE)
		op->value = protobuf_c_message_unpack(op->descriptor, NULL, op->wire_len, op->wire);
	return flags;
}

static void run_batch(struct deserial_op *ops, size_t n, int flags)
{
	int err;

	fake.calls = 0;
	fake.fail_at = flags & FAIL ? 1 + ops[0].wire_len % 7 : 0;
	fake.fail_with = -12;
	err = deserial_update_batch(ops, n);
	fake.fail_at = 0;
	if (err)
		CHECK(*deserial_error());
	else
		model_apply(ops, n);
	for (size_t i = 0; i < n; i++)
		deserial_free_elem((void *)ops[i].value);
	model_check();
}

/* Turns bits of the first slab, as no writer does: opening says so, or does not
 * see it; then they are turned back. */
static void damage(const uint8_t *bytes, size_t n)
{
	uint8_t *slab = fake_node(1);

	CHECK_INT(deserial_uninit(true), 0);
	for (size_t i = 0; i + 2 < n && i < 30; i += 3)
		slab[(bytes[i] | bytes[i + 1] << 8) % (512 * KM_SLOT_SIZE)] ^= bytes[i + 2];
	if (!deserial_init())
		CHECK_INT(deserial_uninit(true), 0);
	for (size_t i = 0; i + 2 < n && i < 30; i += 3)
		slab[(bytes[i] | bytes[i + 1] << 8) % (512 * KM_SLOT_SIZE)] ^= bytes[i + 2];
	CHECK_INT(deserial_init(), 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, data + size };
	struct deserial_op ops[MAX_OPS];
	size_t n = 0, batches = 0;
	int flags;

	fake_reset();
	model_clear();
	CHECK_INT(deserial_init(), 0);
	memset(ops, 0, sizeof(ops));
	while (batches < 50 && (flags = next_op(&in, &ops[n])) >= 0) {
		if (++n < MAX_OPS && flags & MORE)
			continue;
		run_batch(ops, n, flags);
		if (flags & DAMAGE)
			damage(ops[n - 1].wire, ops[n - 1].wire_len);
		else if (flags & REOPEN)
			model_check_slots();
		memset(ops, 0, sizeof(ops));
		n = 0;
		batches++;
	}
	if (n)
		run_batch(ops, n, 0);
	model_check_slots();
	fake_end();
	return 0;
}
