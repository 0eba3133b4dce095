/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store of this process. Everything here is used with its mutex held, and,
 * but for opening and closing, with the lock between processes held too.
 */
#ifndef KMESH_STORE_H
#define KMESH_STORE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "arena.h"
#include "bpf/abi.h"
#include "deserial.h"
#include "env.h"
#include "names.h"
#include "slab.h"
#include "tree.h"
#include "vec.h"

enum retired_kind {
	RETIRED_RUN = 1,
	RETIRED_COUNTER,
	RETIRED_CLUSTER, /* root indexes */
	RETIRED_ROUTE,
	RETIRED_LISTENER,
};

/* What no tree reaches any more, until no reader can hold it either. */
struct reclaim {
	pthread_t thread;
	bool running;
	bool stop;
	bool wanted;	     /* the thread is to wait for readers */
	pthread_cond_t wake; /* with the store's mutex */

	struct vec now;	    /* retired since the last wait began */
	struct vec waiting; /* while the thread waits */
	bool in_flight;
	uint64_t waits; /* on the publishing path */
	uint64_t waited_ns;
	bool forget; /* waiting is from before a rebuild */
	uint64_t now_slots;
	uint64_t waiting_slots;

	pthread_mutex_t done_mutex; /* taken inside the store's */
	pthread_cond_t done_wake;
	bool done;
	int err;
};

struct batch;

struct store {
	pthread_mutex_t mutex;
	bool open;
	struct env env;
	struct km_meta *meta;
	struct km_ports *ports;
	struct slabs slabs;
	struct table listeners, clusters, routes;
	struct idset counters;

	int lock_fd;
	char lock_path[64];
	unsigned int lock_timeout; /* ms */

	bool loaded; /* all above is what generation left in the maps */
	uint64_t generation;
	uint64_t entries; /* km_meta.entries then */
	bool quarantine;  /* free slots may still be held by readers */

	/* Listeners by port; those still in km_listener without a tree count. */
	uint16_t *exact, *wildcard;
	struct vec dead; /* such, when no reader can hold them: root indexes */

	struct reclaim reclaim;
	struct arena arena;
	struct parts parts;
	struct batch *batch;
};

/* deserial.c: the store with its mutex held, or NULL with a message. */
struct store *store_get(void);
void store_put(struct store *s);

/* delete_all.c */
int delete_all(struct store *s);

static inline struct deserial_version version_of(const struct store *s)
{
	return (struct deserial_version){
		.maps = s->env.id[ENV_META],
		.generation = __atomic_load_n(&s->meta->generation, __ATOMIC_ACQUIRE),
	};
}

/* Takes the lock and makes sure that this process's view is what the maps hold;
 * leave drops it. */
int enter(struct store *s);
void leave(struct store *s);

static inline struct table *store_table(struct store *s, enum km_kind kind)
{
	return kind == KM_LISTENER ? &s->listeners : kind == KM_CLUSTER ? &s->clusters : &s->routes;
}

/* lock.c: between processes. */
int lock_open(struct store *s);
void lock_close(struct store *s);
int lock_take(struct store *s);
uint64_t clock_ns(void);
void lock_drop(struct store *s);

/* rebuild.c: makes this process's view what the maps hold. */
int rebuild(struct store *s);

/* grow.c */
/* Maps the slabs that are in the outer map and not here yet. */
int slabs_follow(struct store *s);
/* Adds at least the slots wanted. */
int slabs_grow(struct store *s, uint64_t slots);

/* Says that km_listener or km_ports changed outside of a commit. */
static inline void entries_changed(struct store *s)
{
	s->entries = ++s->meta->entries;
}

/* ports.c: km_ports. Count a listener's key in and out. */
void ports_add(struct store *s, const struct km_addr *addr);
void ports_remove(struct store *s, const struct km_addr *addr);
/* Clears the bits of ports that no listener has. */
void ports_sweep(struct store *s);

/* reclaim.c */
int reclaim_init(struct store *s);
void reclaim_stop(struct store *s);
/* Waits until every reader that runs now has ended. */
int reclaim_grace(struct store *s);
/* Room for more calls of retire, which cannot fail then. */
int retire_reserve(struct store *s, size_t more);
void retire(struct store *s, enum retired_kind kind, uint64_t what);
/* Forgets what was retired: a rebuild has found it free. */
void reclaim_forget(struct store *s);
/* Has the thread wait for readers when enough was retired. */
void reclaim_nudge(struct store *s);
/* Ends the quarantine after a rebuild, if there is one. */
int reclaim_quarantine(struct store *s);
/* Waits until all that was retired is free. */
int reclaim_flush(struct store *s);
/* A run of slots, by growing or waiting where there is none; with a message. */
int run_take(struct store *s, uint32_t slots, uint32_t *handle);
/* Grows once for what a batch is about to take; when that fails, taking will say
 * so. */
void room_for(struct store *s, uint64_t slots);
/* An unused counter or root, by waiting where there is none; 0: none. */
uint32_t index_take(struct store *s, struct idset *set);
/* Takes listeners that are gone out of km_listener. */
void reap_listeners(struct store *s);

#endif
