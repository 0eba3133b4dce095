// SPDX-License-Identifier: Apache-2.0
#include "fake.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "deserial.h"
#include "test.h"

#define MAPS (KM_SLABS + 64)
#define FDS 512
#define FIRST_FD 1000
#define MEMORY (1200ull << 20)

struct entry {
	struct km_addr key;
	uint32_t value;
	uint32_t used;
};

/* All that processes share. */
struct shared {
	struct bpf_map_info info[MAPS]; /* by id */
	uint64_t data[MAPS];		/* offset in memory */
	uint32_t maps;
	uint64_t used;
	int lock_owner;
	uint8_t memory[] __attribute__((aligned(4096)));
};

struct fake fake;
static struct shared *shared;
static uint32_t fds[FDS]; /* map ids; LOCK_ID: the lock */
static unsigned int sections[FAKE_READERS];

#define LOCK_ID UINT32_MAX

static bool fails(int *err)
{
	if (__atomic_add_fetch(&fake.calls, 1, __ATOMIC_RELAXED) != fake.fail_at)
		return false;
	*err = fake.fail_with;
	return true;
}

static void *data_of(uint32_t id)
{
	return shared->memory + shared->data[id];
}

static uint32_t add_map(uint32_t type, uint32_t key, uint32_t value, uint32_t entries,
			uint32_t flags)
{
	uint32_t id = shared->maps++;
	uint64_t size = type == BPF_MAP_TYPE_HASH ? entries * sizeof(struct entry)
						  : (uint64_t)entries * value;

	shared->info[id] = (struct bpf_map_info){
		.type = type,
		.id = id,
		.key_size = key,
		.value_size = value,
		.max_entries = entries,
		.map_flags = flags,
	};
	shared->data[id] = shared->used;
	shared->used += (size + 4095) & ~4095ull;
	if (shared->used > MEMORY)
		abort();
	return id;
}

static int open_fd(uint32_t id)
{
	for (int i = 0; i < FDS; i++) {
		if (!fds[i]) {
			fds[i] = id;
			fake.open++;
			return FIRST_FD + i;
		}
	}
	return -EMFILE;
}

static uint32_t id_of(int fd)
{
	return fd >= FIRST_FD && fd < FIRST_FD + FDS ? fds[fd - FIRST_FD] : 0;
}

int fake_fd(uint32_t id)
{
	return open_fd(id);
}

void fake_close(int fd)
{
	fds[fd - FIRST_FD] = 0;
	fake.open--;
}

static int map_create(const char *name, const struct bpf_map_info *like)
{
	int err;

	if (fails(&err))
		return err;
	if (fake.max_maps && shared->maps >= FAKE_FIRST_SLAB + fake.max_maps)
		return -ENOMEM;
	if (shared->maps == MAPS)
		return -ENOMEM;
	return open_fd(add_map(like->type, like->key_size, like->value_size, like->max_entries,
			       like->map_flags));
}

static struct entry *find(const void *key)
{
	struct entry *e = data_of(FAKE_LISTENER);

	for (uint32_t i = 0; i < KM_MAX_LISTENERS; i++) {
		if (e[i].used && !memcmp(&e[i].key, key, sizeof(e[i].key)))
			return &e[i];
	}
	return NULL;
}

static int lookup(int fd, const void *key, void *value)
{
	uint32_t id = id_of(fd);
	const struct entry *e;
	uint32_t i;

	if (!id || id == LOCK_ID)
		return -EBADF;
	if (id == FAKE_LISTENER) {
		e = find(key);
		if (!e)
			return -ENOENT;
		memcpy(value, &e->value, sizeof(e->value));
		return 0;
	}
	memcpy(&i, key, sizeof(i));
	if (i >= shared->info[id].max_entries)
		return -ENOENT;
	memcpy(value, (uint8_t *)data_of(id) + i * shared->info[id].value_size,
	       shared->info[id].value_size);
	if (id == FAKE_OUTER && !*(uint32_t *)value)
		return -ENOENT;
	return 0;
}

static int map_lookup(int fd, const void *key, void *value)
{
	int err;

	return fails(&err) ? err : lookup(fd, key, value);
}

static void wait_for_readers(void)
{
	__atomic_add_fetch(&fake.graces, 1, __ATOMIC_RELAXED);
	if (fake.grace_us)
		usleep(fake.grace_us);
	for (unsigned int i = 0; i < FAKE_READERS; i++) {
		unsigned int seen = __atomic_load_n(&sections[i], __ATOMIC_SEQ_CST);

		while (seen & 1 && __atomic_load_n(&sections[i], __ATOMIC_SEQ_CST) == seen)
			usleep(20);
	}
}

void fake_read_begin(unsigned int reader)
{
	__atomic_add_fetch(&sections[reader], 1, __ATOMIC_SEQ_CST);
}

void fake_read_end(unsigned int reader)
{
	__atomic_add_fetch(&sections[reader], 1, __ATOMIC_SEQ_CST);
}

static int put_listener(const void *key, const void *value)
{
	struct entry *e = find(key);
	unsigned int limit = fake.max_listeners ? fake.max_listeners : KM_MAX_LISTENERS;

	if (!e && fake_listeners() >= limit)
		return -E2BIG;
	for (struct entry *free = data_of(FAKE_LISTENER); !e; free++) {
		if (!free->used)
			e = free;
	}
	memcpy(&e->key, key, sizeof(e->key));
	memcpy(&e->value, value, sizeof(e->value));
	e->used = 1;
	return 0;
}

static int put_slab(uint32_t i, uint32_t fd)
{
	uint32_t id = id_of((int)fd);
	const struct bpf_map_info *want = &shared->info[FAKE_INNER], *is;

	if (!id || id == LOCK_ID)
		return -EBADF;
	is = &shared->info[id];
	if (i >= KM_SLABS)
		return -E2BIG;
	if (is->type != want->type || is->map_flags != want->map_flags ||
	    is->value_size != want->value_size)
		return -EINVAL;
	((uint32_t *)data_of(FAKE_OUTER))[i] = id;
	wait_for_readers();
	return 0;
}

static int update(int fd, const void *key, const void *value)
{
	uint32_t i, inner;

	if (id_of(fd) == FAKE_LISTENER)
		return put_listener(key, value);
	if (id_of(fd) != FAKE_OUTER)
		return -EBADF;
	memcpy(&i, key, sizeof(i));
	memcpy(&inner, value, sizeof(inner));
	return put_slab(i, inner);
}

static int map_update(int fd, const void *key, const void *value)
{
	int err;

	return fails(&err) ? err : update(fd, key, value);
}

static int map_delete(int fd, const void *key)
{
	struct entry *e;
	int err;

	if (fails(&err))
		return err;
	e = find(key);
	if (id_of(fd) != FAKE_LISTENER || !e)
		return -ENOENT;
	e->used = 0;
	return 0;
}

static int map_update_batch(int fd, const void *keys, const void *values, uint32_t *count)
{
	int err;

	if (fails(&err))
		return err;
	if (fake.no_batch)
		return -524; /* the kernel's ENOTSUPP */
	for (uint32_t i = 0; i < *count; i++) {
		err = update(fd, (const uint32_t *)keys + i, (const uint32_t *)values + i);
		if (err) {
			*count = i;
			return err;
		}
	}
	return 0;
}

static int map_lookup_batch(int fd, void *keys, void *values, uint32_t *count)
{
	const struct entry *e = data_of(FAKE_LISTENER);
	uint32_t n = 0;
	int err;

	if (fails(&err))
		return err;
	if (fake.no_batch || id_of(fd) != FAKE_LISTENER)
		return -EINVAL;
	for (uint32_t i = 0; i < KM_MAX_LISTENERS; i++) {
		if (!e[i].used)
			continue;
		((struct km_addr *)keys)[n] = e[i].key;
		((uint32_t *)values)[n++] = e[i].value;
	}
	*count = n;
	return -ENOENT;
}

static int map_next_key(int fd, const void *key, void *next)
{
	const struct entry *e = data_of(FAKE_LISTENER);
	const struct entry *from;
	int err;

	if (fails(&err))
		return err;
	from = key ? find(key) + 1 : e;
	for (; from < e + KM_MAX_LISTENERS; from++) {
		if (from->used) {
			memcpy(next, &from->key, sizeof(from->key));
			return 0;
		}
	}
	return -ENOENT;
}

static int map_info(int fd, struct bpf_map_info *info)
{
	uint32_t id = id_of(fd);
	int err;

	if (fails(&err))
		return err;
	if (!id || id == LOCK_ID)
		return -EBADF;
	*info = shared->info[id];
	return 0;
}

static int map_fd_by_id(uint32_t id)
{
	int err;

	if (fails(&err))
		return err;
	return id < shared->maps && shared->info[id].id ? open_fd(id) : -ENOENT;
}

static int map_mmap(int fd, size_t len, void **at)
{
	int err;

	if (fails(&err))
		return err;
	*at = data_of(id_of(fd));
	fake.mapped++;
	return 0;
}

static int map_munmap(void *at, size_t len)
{
	fake.mapped--;
	return 0;
}

static int fd_dup(int fd)
{
	int err;

	return fails(&err) ? err : open_fd(id_of(fd));
}

static int fd_close(int fd)
{
	CHECK(id_of(fd));
	fake_close(fd);
	return 0;
}

static int lock_open(const char *dir, const char *path)
{
	int err;

	return fails(&err) ? err : open_fd(LOCK_ID);
}

static int lock_try(int fd)
{
	int err, nobody = 0;

	if (fails(&err))
		return err;
	CHECK(id_of(fd) == LOCK_ID);
	if (fake.held || !__atomic_compare_exchange_n(&shared->lock_owner, &nobody, getpid(), false,
						      __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		return -EAGAIN;
	return 0;
}

static int lock_drop(int fd)
{
	CHECK_INT(shared->lock_owner, getpid());
	__atomic_store_n(&shared->lock_owner, 0, __ATOMIC_SEQ_CST);
	return 0;
}

static void step(void)
{
}

static const struct kernel calls = {
	.map_create = map_create,
	.map_lookup = map_lookup,
	.map_update = map_update,
	.map_delete = map_delete,
	.map_update_batch = map_update_batch,
	.map_lookup_batch = map_lookup_batch,
	.map_next_key = map_next_key,
	.map_info = map_info,
	.map_fd_by_id = map_fd_by_id,
	.map_mmap = map_mmap,
	.map_munmap = map_munmap,
	.fd_dup = fd_dup,
	.fd_close = fd_close,
	.lock_open = lock_open,
	.lock_try = lock_try,
	.lock_drop = lock_drop,
	.step = step,
};

static const struct {
	const char *name;
	uint32_t id;
} names[] = {
	{ "Listener", FAKE_LISTENER },	 { "KMESH_LISTENER_ROOT", FAKE_LROOT },
	{ "Cluster", FAKE_CLUSTER },	 { "RouteConfiguration", FAKE_ROUTE },
	{ "OUTTER_MAP_ID", FAKE_OUTER }, { "INNER_MAP_ID", FAKE_INNER },
	{ "KMESH_META", FAKE_META },	 { "KMESH_PORTS", FAKE_PORTS },
};

void fake_env(void)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char text[64];

		snprintf(text, sizeof(text), "%u", names[i].id);
		setenv(names[i].name, text, 1);
		snprintf(text, sizeof(text), "%s_FD", names[i].name);
		unsetenv(text);
	}
}

void fake_reset(void)
{
	if (shared)
		munmap(shared, sizeof(*shared) + MEMORY);
	shared = mmap(NULL, sizeof(*shared) + MEMORY, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (shared == MAP_FAILED)
		abort();
	memset(&fake, 0, sizeof(fake));
	memset(fds, 0, sizeof(fds));
	shared->maps = FAKE_LISTENER;
	add_map(BPF_MAP_TYPE_HASH, sizeof(struct km_addr), 4, KM_MAX_LISTENERS, BPF_F_NO_PREALLOC);
	add_map(BPF_MAP_TYPE_ARRAY, 4, sizeof(struct km_root), KM_MAX_LISTENERS, BPF_F_MMAPABLE);
	add_map(BPF_MAP_TYPE_ARRAY, 4, sizeof(struct km_root), KM_MAX_CLUSTERS, BPF_F_MMAPABLE);
	add_map(BPF_MAP_TYPE_ARRAY, 4, sizeof(struct km_root), KM_MAX_ROUTES, BPF_F_MMAPABLE);
	add_map(BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, KM_SLABS, 0);
	add_map(BPF_MAP_TYPE_ARRAY, 4, KM_SLOT_SIZE, KM_SLAB_SLOTS, BPF_F_MMAPABLE);
	add_map(BPF_MAP_TYPE_ARRAY, 4, sizeof(struct km_meta), 1, BPF_F_MMAPABLE);
	add_map(BPF_MAP_TYPE_ARRAY, 4, sizeof(struct km_ports), 1024, BPF_F_MMAPABLE);
	kernel = calls;
	fake_env();
	deserial_set_lock_timeout(5000);
}

void fake_end(void)
{
	fake.fail_at = 0;
	fake.held = false;
	deserial_uninit(true);
	CHECK_INT(fake.open, 0);
	CHECK_INT(fake.mapped, 0);
	CHECK_INT(shared->lock_owner, 0);
}

struct bpf_map_info *fake_info(uint32_t id)
{
	return &shared->info[id];
}

struct km_meta *fake_meta(void)
{
	return data_of(FAKE_META);
}

struct km_ports *fake_ports(void)
{
	return data_of(FAKE_PORTS);
}

struct km_root *fake_roots(enum km_kind kind)
{
	return data_of(kind == KM_LISTENER  ? FAKE_LROOT
		       : kind == KM_CLUSTER ? FAKE_CLUSTER
					    : FAKE_ROUTE);
}

uint32_t fake_listener(const struct km_addr *addr)
{
	const struct entry *e = find(addr);

	return e ? e->value : 0;
}

unsigned int fake_listeners(void)
{
	const struct entry *e = data_of(FAKE_LISTENER);
	unsigned int n = 0;

	for (uint32_t i = 0; i < KM_MAX_LISTENERS; i++)
		n += e[i].used;
	return n;
}

void *fake_node(uint32_t handle)
{
	uint32_t slab = handle >> KM_SLAB_SHIFT;
	uint32_t id = slab < KM_SLABS ? ((uint32_t *)data_of(FAKE_OUTER))[slab] : 0;

	if (!handle || !id)
		return NULL;
	return (uint8_t *)data_of(id) + (size_t)(handle & (KM_SLAB_SLOTS - 1)) * KM_SLOT_SIZE;
}

int fake_process(int (*f)(void *), void *arg)
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		abort();
	if (!pid)
		_exit(f(arg));
	if (waitpid(pid, &status, 0) != pid)
		abort();
	/* A lock goes with the process that held it. */
	if (shared->lock_owner == pid)
		shared->lock_owner = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
