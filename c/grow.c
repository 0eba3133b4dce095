// SPDX-License-Identifier: Apache-2.0
/*
 * More slabs. Putting one into the outer map waits for every reader, some 8 ms,
 * however many go in at once: so growth goes by halves of what there is, and a
 * batch says beforehand what it may need.
 */
#include <errno.h>
#include <stdio.h>

#include "error.h"
#include "kernel.h"
#include "store.h"

/* Descriptors held at most while slabs go in: with the store's own, under 32. */
#define GROW_AT_ONCE 22u

/* With retired slots about, it is the pace that takes more, not the contents. */
static uint64_t least(const struct store *s)
{
	const struct reclaim *r = &s->reclaim;

	return r->now_slots || r->waiting_slots ? GROW_AT_ONCE : 1;
}

static int map_slab(struct store *s, int fd)
{
	void *base;
	int err = kernel.map_mmap(fd, SLAB_BYTES, &base);

	if (err)
		return error_sys(err, "map slab %u", s->slabs.n);
	err = slabs_add(&s->slabs, base);
	if (err) {
		kernel.map_munmap(base, SLAB_BYTES);
		return error_sys(err, "map slab %u", s->slabs.n);
	}
	return 0;
}

static int follow_one(struct store *s, uint32_t i)
{
	struct bpf_map_info info;
	uint32_t id;
	int fd, err;

	err = kernel.map_lookup(s->env.fd[ENV_OUTER], &i, &id);
	if (err)
		return error_sys(err, "%s=%u: look up slab %u", env_name(ENV_OUTER),
				 s->env.id[ENV_OUTER], i);
	fd = kernel.map_fd_by_id(id);
	if (fd < 0)
		return error_sys(fd, "open slab %u, map %u", i, id);
	err = kernel.map_info(fd, &info);
	if (err)
		err = error_sys(err, "ask for the layout of slab %u", i);
	else if (info.type != BPF_MAP_TYPE_ARRAY || info.value_size != KM_SLOT_SIZE ||
		 info.max_entries != KM_SLAB_SLOTS)
		err = error_set(-EUCLEAN, "slab %u, map %u, is no slab", i, id);
	if (!err)
		err = map_slab(s, fd);
	kernel.fd_close(fd);
	return err;
}

int slabs_follow(struct store *s)
{
	uint32_t n = __atomic_load_n(&s->meta->slabs, __ATOMIC_ACQUIRE);

	if (n > KM_SPARE_SLAB)
		return error_set(-EUCLEAN, "km_meta: %u slabs are more than %u", n, KM_SPARE_SLAB);
	while (s->slabs.n < n) {
		int err = follow_one(s, s->slabs.n);

		if (err)
			return err;
	}
	return 0;
}

/* One call where the kernel has it for arrays of maps, else one each. */
static int insert(struct store *s, const uint32_t *keys, const uint32_t *fds, uint32_t n)
{
	int outer = s->env.fd[ENV_OUTER];
	uint32_t count = n;
	int err;

	err = kernel.map_update_batch(outer, keys, fds, &count);
	if (!err || err == -EPERM)
		return err;
	for (uint32_t i = 0; i < n; i++) {
		err = kernel.map_update(outer, &keys[i], &fds[i]);
		if (err)
			return err;
	}
	return 0;
}

static int add_slabs(struct store *s, uint32_t n)
{
	const struct bpf_map_info like = {
		.type = BPF_MAP_TYPE_ARRAY,
		.key_size = sizeof(__u32),
		.value_size = KM_SLOT_SIZE,
		.max_entries = KM_SLAB_SLOTS,
		.map_flags = s->env.inner_flags,
	};
	uint32_t first = s->slabs.n;
	uint32_t keys[GROW_AT_ONCE], fds[GROW_AT_ONCE];
	uint32_t made = 0;
	int err = 0;

	while (made < n && !err) {
		int fd = kernel.map_create("km_slab", &like);

		if (fd < 0) {
			err = error_sys(fd, "slabs: %u of %u in use, create another", first + made,
					KM_SPARE_SLAB);
			break;
		}
		keys[made] = first + made;
		fds[made++] = (uint32_t)fd;
	}
	/* Fewer than wanted are still of use. */
	if (!made)
		return err;
	err = insert(s, keys, fds, made);
	if (err)
		err = error_sys(err, "%s=%u: put in %u slabs", env_name(ENV_OUTER),
				s->env.id[ENV_OUTER], made);
	for (uint32_t i = 0; i < made; i++) {
		if (!err)
			err = map_slab(s, (int)fds[i]);
		if (!err)
			slab_open(&s->slabs, first + i);
		kernel.fd_close((int)fds[i]);
	}
	__atomic_store_n(&s->meta->slabs, s->slabs.n, __ATOMIC_RELEASE);
	return err;
}

int slabs_grow(struct store *s, uint64_t slots)
{
	uint64_t want = (slots + KM_SLAB_SLOTS - 1) / KM_SLAB_SLOTS;
	uint32_t before = s->slabs.n;
	uint32_t end;
	int err = 0;

	if (before == KM_SPARE_SLAB)
		return error_set(-ENOSPC, "slabs: %u of %u in use", before, KM_SPARE_SLAB);
	if (want < before / 2)
		want = before / 2;
	if (want < least(s))
		want = least(s);
	end = want > KM_SPARE_SLAB - before ? KM_SPARE_SLAB : before + (uint32_t)want;
	while (s->slabs.n < end && !err) {
		uint32_t n = end - s->slabs.n;

		err = add_slabs(s, n < GROW_AT_ONCE ? n : GROW_AT_ONCE);
	}
	return s->slabs.n > before ? 0 : err;
}
