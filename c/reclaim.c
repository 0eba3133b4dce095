// SPDX-License-Identifier: Apache-2.0
/*
 * From retired to free. A connect that began before a publication may hold
 * anything of the old trees until it ends, so what a publication retires is free
 * after every reader that ran then has ended: a grace period. An update of the
 * spare slot of the outer map waits for one, some 8 ms; a thread does so, only
 * when enough was retired, so that publishing goes on meanwhile.
 */
#include <errno.h>
#include <string.h>

#include "error.h"
#include "kernel.h"
#include "store.h"

/* Fewer retired slots are not worth a wait while others are free. */
#define NUDGE_SLOTS 512u

/* With so many on their way back, 32 MB, a publisher waits for them instead of
 * growing: what it is short of is time, not memory. */
#define HEADROOM_SLOTS (128u * KM_SLAB_SLOTS)

static uint64_t word_of(enum retired_kind kind, uint64_t what)
{
	return (uint64_t)kind << 56 | what;
}

int reclaim_init(struct store *s)
{
	struct reclaim *r = &s->reclaim;

	memset(r, 0, sizeof(*r));
	pthread_cond_init(&r->wake, NULL);
	pthread_mutex_init(&r->done_mutex, NULL);
	pthread_cond_init(&r->done_wake, NULL);
	return 0;
}

int reclaim_grace(struct store *s)
{
	const uint32_t spare = KM_SPARE_SLAB;
	uint32_t fd = (uint32_t)s->env.fd[ENV_INNER];

	return kernel.map_update(s->env.fd[ENV_OUTER], &spare, &fd);
}

int retire_reserve(struct store *s, size_t more)
{
	return vec_reserve(&s->reclaim.now, more);
}

void retire(struct store *s, enum retired_kind kind, uint64_t what)
{
	struct reclaim *r = &s->reclaim;

	r->now.v[r->now.n++] = word_of(kind, what);
	if (kind == RETIRED_RUN)
		r->now_slots += run_slots(what);
	else if (kind == RETIRED_LISTENER)
		s->listeners.refs[what]++;
}

int reclaim_quarantine(struct store *s)
{
	int err;

	if (!s->quarantine)
		return 0;
	err = reclaim_grace(s);
	if (err)
		return error_sys(err, "wait for readers, %s=%u", env_name(ENV_OUTER),
				 s->env.id[ENV_OUTER]);
	s->quarantine = false;
	ports_sweep(s);
	return 0;
}

static void release(struct store *s, struct vec *words)
{
	for (size_t i = 0; i < words->n; i++) {
		uint64_t what = words->v[i] & ~(0xffull << 56);

		switch ((enum retired_kind)(words->v[i] >> 56)) {
		case RETIRED_RUN:
			slab_give(&s->slabs, run_handle(what), run_slots(what));
			break;
		case RETIRED_COUNTER:
			idset_give(&s->counters, (uint32_t)what);
			break;
		case RETIRED_CLUSTER:
			idset_give(&s->clusters.used, (uint32_t)what);
			break;
		case RETIRED_ROUTE:
			idset_give(&s->routes.used, (uint32_t)what);
			break;
		case RETIRED_LISTENER:
			/* Without memory the next rebuild finds it. */
			if (vec_push(&s->dead, what))
				s->loaded = false;
			break;
		}
	}
	words->n = 0;
}

/* Ends a wait that the thread has done. False while there is none such. */
static bool collect(struct store *s)
{
	struct reclaim *r = &s->reclaim;
	bool done;
	int err;

	if (!r->in_flight)
		return false;
	pthread_mutex_lock(&r->done_mutex);
	done = r->done;
	err = r->err;
	pthread_mutex_unlock(&r->done_mutex);
	if (!done)
		return false;

	r->in_flight = false;
	r->waiting_slots = 0;
	if (r->forget) {
		r->forget = false;
		r->waiting.n = 0;
	} else if (err) {
		/* Nothing is free: only a rebuild can tell, after a grace. */
		s->loaded = false;
		r->waiting.n = 0;
	} else {
		release(s, &r->waiting);
	}
	return true;
}

static void *run(void *arg)
{
	struct store *s = arg;
	struct reclaim *r = &s->reclaim;

	pthread_mutex_lock(&s->mutex);
	while (!r->stop) {
		struct vec empty = r->waiting;
		int err;

		if (!r->wanted || r->in_flight || !r->now.n) {
			r->wanted = false;
			pthread_cond_wait(&r->wake, &s->mutex);
			continue;
		}
		r->wanted = false;
		r->waiting = r->now;
		r->waiting_slots = r->now_slots;
		r->now = empty;
		r->now_slots = 0;
		r->in_flight = true;
		r->done = false;
		pthread_mutex_unlock(&s->mutex);

		err = reclaim_grace(s);

		pthread_mutex_lock(&r->done_mutex);
		r->done = true;
		r->err = err;
		pthread_cond_broadcast(&r->done_wake);
		pthread_mutex_unlock(&r->done_mutex);
		pthread_mutex_lock(&s->mutex);
		collect(s);
	}
	pthread_mutex_unlock(&s->mutex);
	return NULL;
}

void reclaim_nudge(struct store *s)
{
	struct reclaim *r = &s->reclaim;

	if (r->now_slots < NUDGE_SLOTS || r->now_slots < s->slabs.free / 16)
		return;
	if (!r->running)
		r->running = !pthread_create(&r->thread, NULL, run, s);
	if (r->running && !r->in_flight) {
		r->wanted = true;
		pthread_cond_signal(&r->wake);
	}
}

/* Waits for a grace period in this thread. 0 when something may be free now. */
static int wait(struct store *s)
{
	struct reclaim *r = &s->reclaim;
	int err;

	if (r->in_flight) {
		pthread_mutex_lock(&r->done_mutex);
		while (!r->done)
			pthread_cond_wait(&r->done_wake, &r->done_mutex);
		pthread_mutex_unlock(&r->done_mutex);
		collect(s);
		return 0;
	}
	if (!r->now.n)
		return -ENOSPC;
	err = reclaim_grace(s);
	if (err)
		return error_sys(err, "wait for readers, %s=%u", env_name(ENV_OUTER),
				 s->env.id[ENV_OUTER]);
	r->now_slots = 0;
	release(s, &r->now);
	return 0;
}

int reclaim_flush(struct store *s)
{
	int err = reclaim_quarantine(s);

	while (!err)
		err = wait(s);
	return err == -ENOSPC ? 0 : err;
}

/* More free slots, one way or the other. With a message when there are none. */
static int make_room(struct store *s, uint64_t slots)
{
	int err, waited;

	if (s->reclaim.now_slots + s->reclaim.waiting_slots >= HEADROOM_SLOTS && !wait(s))
		return 0;
	err = slabs_grow(s, slots);
	if (!err)
		return 0;
	/* The reason why there is no more memory stays the message. */
	waited = wait(s);
	return waited == -ENOSPC ? err : waited;
}

static int make_room_timed(struct store *s, uint64_t slots)
{
	uint64_t start = clock_ns();
	int err = make_room(s, slots);

	s->reclaim.waits++;
	s->reclaim.waited_ns += clock_ns() - start;
	return err;
}

int run_take(struct store *s, uint32_t slots, uint32_t *handle)
{
	if (slots > KM_SLAB_SLOTS)
		return error_set(-ENOSPC, "a node of %u slots exceeds a slab of %u", slots,
				 KM_SLAB_SLOTS);
	while (slab_take(&s->slabs, slots, handle)) {
		int err = collect(s) ? 0 : make_room_timed(s, slots);

		if (err)
			return err;
	}
	return 0;
}

void room_for(struct store *s, uint64_t slots)
{
	if (slots < KM_SLAB_SLOTS / 2 || slots < s->slabs.free)
		return;
	collect(s);
	if (slots > s->slabs.free)
		(void)make_room_timed(s, slots - s->slabs.free);
}

uint32_t index_take(struct store *s, struct idset *set)
{
	uint32_t i = idset_take(set);

	while (!i) {
		if (!collect(s) && wait(s))
			return 0;
		reap_listeners(s);
		i = idset_take(set);
	}
	return i;
}

void reap_listeners(struct store *s)
{
	size_t kept = 0;
	bool changed = false;

	for (size_t i = 0; i < s->dead.n; i++) {
		struct table *t = &s->listeners;
		uint32_t root = (uint32_t)s->dead.v[i];
		int err;

		/* The batch that is about to put it back may fail. */
		if (t->change[root]) {
			s->dead.v[kept++] = root;
			continue;
		}
		/* It has come back since, and may have gone once more. */
		if (t->refs[root])
			t->refs[root]--;
		if (t->refs[root] || table_tree(t, root))
			continue;
		err = kernel.map_delete(s->env.fd[ENV_LISTENER], &t->addr[root]);
		if (err && err != -ENOENT) {
			t->refs[root]++;
			s->dead.v[kept++] = root;
			continue;
		}
		changed = true;
		ports_remove(s, &t->addr[root]);
		table_unlink(t, root);
		idset_give(&t->used, root);
	}
	s->dead.n = kept;
	if (changed)
		entries_changed(s);
}

void reclaim_forget(struct store *s)
{
	struct reclaim *r = &s->reclaim;

	r->now.n = 0;
	r->now_slots = 0;
	s->dead.n = 0;
	if (r->in_flight)
		r->forget = true;
}

void reclaim_stop(struct store *s)
{
	struct reclaim *r = &s->reclaim;

	if (r->running) {
		r->stop = true;
		pthread_cond_signal(&r->wake);
		pthread_mutex_unlock(&s->mutex);
		pthread_join(r->thread, NULL);
		pthread_mutex_lock(&s->mutex);
	}
	vec_free(&r->now);
	vec_free(&r->waiting);
	pthread_cond_destroy(&r->wake);
	pthread_mutex_destroy(&r->done_mutex);
	pthread_cond_destroy(&r->done_wake);
}
