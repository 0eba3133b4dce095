// SPDX-License-Identifier: Apache-2.0
/* The public calls: opening, closing, publishing. */
#include "deserial.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "error.h"
#include "kernel.h"
#include "store.h"

static struct store store = {
	.mutex = PTHREAD_MUTEX_INITIALIZER,
	.lock_fd = -1,
	.lock_timeout = 5000,
};

/* The store with its mutex held, or NULL with a message. */
struct store *store_get(void)
{
	pthread_mutex_lock(&store.mutex);
	if (store.open)
		return &store;
	pthread_mutex_unlock(&store.mutex);
	error_note("the store is not open: deserial_init comes first");
	return NULL;
}

void store_put(struct store *s)
{
	pthread_mutex_unlock(&s->mutex);
}

int enter(struct store *s)
{
	int err = lock_take(s);

	if (err)
		return err;
	if (!s->loaded || s->generation != s->meta->generation || s->entries != s->meta->entries ||
	    s->meta->writing || s->slabs.n != s->meta->slabs)
		err = rebuild(s);
	if (err)
		lock_drop(s);
	return err;
}

void leave(struct store *s)
{
	lock_drop(s);
}

static int map_array(struct store *s, enum env_map map, size_t len, void **at)
{
	int err = kernel.map_mmap(s->env.fd[map], len, at);

	return err ? error_sys(err, "%s=%u: map into memory", env_name(map), s->env.id[map]) : 0;
}

#define ROOTS_LEN(max) ((max) * sizeof(struct km_root))
#define PORTS_LEN (1024 * sizeof(struct km_ports))

static int open_maps(struct store *s)
{
	void *roots[3] = { NULL }, *meta = NULL, *ports = NULL;
	int err;

	err = map_array(s, ENV_META, sizeof(struct km_meta), &meta);
	s->meta = meta;
	if (!err)
		err = map_array(s, ENV_PORTS, PORTS_LEN, &ports);
	s->ports = ports;
	if (!err)
		err = map_array(s, ENV_LISTENER_ROOT, ROOTS_LEN(KM_MAX_LISTENERS), &roots[0]);
	if (!err)
		err = map_array(s, ENV_CLUSTER, ROOTS_LEN(KM_MAX_CLUSTERS), &roots[1]);
	if (!err)
		err = map_array(s, ENV_ROUTE, ROOTS_LEN(KM_MAX_ROUTES), &roots[2]);
	if (table_init(&s->listeners, KM_LISTENER, roots[0], KM_MAX_LISTENERS) ||
	    table_init(&s->clusters, KM_CLUSTER, roots[1], KM_MAX_CLUSTERS) ||
	    table_init(&s->routes, KM_ROUTE, roots[2], KM_MAX_ROUTES) ||
	    idset_init(&s->counters, KM_MAX_COUNTERS))
		err = err ? err : error_sys(-ENOMEM, "open the store");
	return err;
}

/* Slab 0 is INNER_MAP_ID itself; the first one to open puts it in. */
static int open_first_slab(struct store *s)
{
	const uint32_t zero = 0;
	uint32_t fd = (uint32_t)s->env.fd[ENV_INNER];
	uint32_t id;
	int err;

	err = kernel.map_lookup(s->env.fd[ENV_OUTER], &zero, &id);
	if (!err && id != s->env.id[ENV_INNER])
		return error_set(-EINVAL, "%s=%u: slab 0 of %s is map %u", env_name(ENV_INNER),
				 s->env.id[ENV_INNER], env_name(ENV_OUTER), id);
	if (err && err != -ENOENT)
		return error_sys(err, "%s=%u: look up slab 0", env_name(ENV_OUTER),
				 s->env.id[ENV_OUTER]);
	if (err) {
		err = kernel.map_update(s->env.fd[ENV_OUTER], &zero, &fd);
		if (err)
			return error_sys(err, "%s=%u: put in slab 0", env_name(ENV_OUTER),
					 s->env.id[ENV_OUTER]);
	}
	if (!s->meta->slabs)
		__atomic_store_n(&s->meta->slabs, 1, __ATOMIC_RELEASE);
	return 0;
}

static void unmap(void *at, size_t len)
{
	if (at)
		kernel.map_munmap(at, len);
}

static void close_store(struct store *s)
{
	reclaim_stop(s);
	slabs_clear(&s->slabs);
	unmap(s->listeners.root, ROOTS_LEN(KM_MAX_LISTENERS));
	unmap(s->clusters.root, ROOTS_LEN(KM_MAX_CLUSTERS));
	unmap(s->routes.root, ROOTS_LEN(KM_MAX_ROUTES));
	unmap(s->ports, PORTS_LEN);
	unmap(s->meta, sizeof(struct km_meta));
	s->ports = NULL;
	s->meta = NULL;
	table_free(&s->listeners);
	table_free(&s->clusters);
	table_free(&s->routes);
	idset_free(&s->counters);
	free(s->exact);
	free(s->wildcard);
	s->exact = s->wildcard = NULL;
	vec_free(&s->dead);
	arena_free(&s->arena);
	parts_free(&s->parts);
	if (s->batch)
		batch_free(s->batch);
	free(s->batch);
	s->batch = NULL;
	lock_close(s);
	env_close(&s->env);
	s->loaded = false;
	s->open = false;
}

static int open_store(struct store *s)
{
	int err;

	env_init(&s->env);
	arena_init(&s->arena);
	err = reclaim_init(s);
	if (!err)
		err = env_open(&s->env);
	if (!err)
		err = lock_open(s);
	if (!err)
		err = open_maps(s);
	if (err)
		return err;

	s->batch = calloc(1, sizeof(*s->batch));
	s->exact = calloc(65536, sizeof(*s->exact));
	s->wildcard = calloc(65536, sizeof(*s->wildcard));
	if (!s->batch || !s->exact || !s->wildcard)
		return error_sys(-ENOMEM, "open the store");

	err = lock_take(s);
	if (err)
		return err;
	err = open_first_slab(s);
	if (!err)
		err = rebuild(s);
	lock_drop(s);
	return err;
}

int deserial_init(void)
{
	struct store *s = &store;
	int err;

	pthread_mutex_lock(&s->mutex);
	if (s->open) {
		err = error_set(-EALREADY, "the store is open already");
	} else {
		err = open_store(s);
		if (err)
			close_store(s);
		else
			s->open = true;
	}
	pthread_mutex_unlock(&s->mutex);
	return err;
}

void deserial_set_lock_timeout(unsigned int ms)
{
	pthread_mutex_lock(&store.mutex);
	store.lock_timeout = ms;
	pthread_mutex_unlock(&store.mutex);
}

int deserial_version(struct deserial_version *version)
{
	struct store *s = store_get();

	if (!s)
		return -ENODEV;
	*version = version_of(s);
	store_put(s);
	return 0;
}

int deserial_update_batch_at(const struct deserial_op *ops, size_t n, struct deserial_version *at)
{
	struct store *s = store_get();
	size_t changed;
	int err;

	if (!s)
		return -ENODEV;
	err = publish(s, ops, n, at, &changed);
	store_put(s);
	return err;
}

int deserial_update_batch(const struct deserial_op *ops, size_t n)
{
	return deserial_update_batch_at(ops, n, NULL);
}

int deserial_update_elem(const void *key, const void *value)
{
	const struct deserial_op op = {
		.op = DESERIAL_UPDATE,
		.key = key,
		.value = value,
	};

	return deserial_update_batch(&op, 1);
}

int deserial_delete_elem(const void *key, const ProtobufCMessageDescriptor *descriptor)
{
	const struct deserial_op op = {
		.op = DESERIAL_DELETE,
		.key = key,
		.descriptor = descriptor,
	};
	struct store *s = store_get();
	size_t changed;
	int err;

	if (!s)
		return -ENODEV;
	err = publish(s, &op, 1, NULL, &changed);
	if (!err && !changed) {
		struct change c = { 0 };

		change_key(descriptor, key, &c);
		err = change_blame(&c, error_set(-ENOENT, "not there"));
	}
	store_put(s);
	return err;
}

/* Listeners that are gone leave km_listener, which takes a grace period. Where
 * that fails, the next writer does it. */
static void flush(struct store *s)
{
	if (s->listeners.used.n == s->listeners.live || enter(s))
		return;
	if (!reclaim_flush(s))
		reap_listeners(s);
	leave(s);
}

int deserial_uninit(bool persist)
{
	struct store *s = store_get();
	int err = 0;

	if (!s)
		return -ENODEV;
	if (!persist)
		err = delete_all(s);
	flush(s);
	close_store(s);
	store_put(s);
	return err;
}
