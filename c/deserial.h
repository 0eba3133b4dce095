/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store: protobuf-c messages in the maps that the data plane reads.
 *
 * A resource is a Listener__Listener, Cluster__Cluster or
 * Route__RouteConfiguration. Its key is a Core__SocketAddress * for a Listener
 * and a char * name for the others.
 *
 * A call returns 0 or a negative errno, and deserial_error() then says in words
 * which step, resource, limit or variable it was:
 *   -EINVAL     a message that cannot be meant, or a variable of the hand-off
 *   -ENOENT     no such resource
 *   -ENOSPC     a limit; the message names it, what was there before stays
 *   -ETIMEDOUT  another process holds the store's lock
 *   -EUCLEAN    the maps hold what no writer of this version left there
 *   -ENODEV     deserial_init has not been called
 *   -EAGAIN     the maps are at another version than the one given
 * Every call may be made from any thread. A store is not passed on by fork(): the
 * child shares its lock with the parent; it opens its own after exec.
 */
#ifndef KMESH_DESERIAL_H
#define KMESH_DESERIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Opens the store on the maps named by the environment (see c/env.c): each
 * variable NAME is a map's id, NAME_FD an open descriptor of it. The descriptors
 * are duplicated, never closed. -EALREADY when it is open. */
int deserial_init(void);

/* Closes the store. With persist false everything in it is deleted first; when
 * that fails the store is closed all the same and the error is returned. */
int deserial_uninit(bool persist);

/* Puts one resource in place of what its key names; a batch of one.
 * key may be NULL: value, which names itself, is what counts. */
int deserial_update_elem(const void *key, const void *value);

/* Takes one resource out. */
int deserial_delete_elem(const void *key, const ProtobufCMessageDescriptor *descriptor);

/* Restores one resource from the maps. NULL with errno set when there is none
 * or it cannot be read; else for deserial_free_elem. */
void *deserial_lookup_elem(const void *key, const ProtobufCMessageDescriptor *descriptor);

struct element_list_node {
	void *elem;
	struct element_list_node *next;
};

/* Restores every resource of one kind. NULL with errno 0 when there are none,
 * NULL with errno set on an error; else for deserial_free_elem_list. */
struct element_list_node *deserial_lookup_all_elems(const ProtobufCMessageDescriptor *descriptor);

void deserial_free_elem(void *value);
void deserial_free_elem_list(struct element_list_node *head);

enum deserial_op_kind { DESERIAL_UPDATE = 0, DESERIAL_DELETE = 1 };

/* One change of a batch. The resource is given by value, or, where value is
 * NULL, by its descriptor and wire form. A delete needs descriptor and key, or
 * any form of the message: only what is its key counts then. */
struct deserial_op {
	enum deserial_op_kind op;
	const void *key;
	const void *value;
	const ProtobufCMessageDescriptor *descriptor;
	const uint8_t *wire;
	size_t wire_len;
};

/* Publishes all of ops or nothing: no connect ever sees a part of it. The last
 * one of several for one key wins. A delete of what is not there, and an update
 * with what is there already, change nothing. */
int deserial_update_batch(const struct deserial_op *ops, size_t n);

/* Which maps, and what was published into them. */
struct deserial_version {
	uint32_t maps; /* id of the map of the generation */
	uint64_t generation;
};

/* The version now. It takes no lock: what is read later may be newer. */
int deserial_version(struct deserial_version *version);

/* As deserial_update_batch, if *at is the version still: for ops that were made from
 * what was there then. Sets *at to the version afterwards. -EAGAIN: it was another
 * one, and nothing changed. */
int deserial_update_batch_at(const struct deserial_op *ops, size_t n, struct deserial_version *at);

/* As deserial_lookup_elem, in wire form; *wire is for free(). */
int deserial_lookup_wire(const void *key, const ProtobufCMessageDescriptor *descriptor,
			 uint8_t **wire, size_t *len);

/* Every resource of one kind in wire form, each behind its length as a
 * native uint32_t; *buf is for free(). */
int deserial_lookup_all_wire(const ProtobufCMessageDescriptor *descriptor, uint8_t **buf,
			     size_t *len);

/* How long a call waits for another process's publication, in milliseconds.
 * 5000 unless set. */
void deserial_set_lock_timeout(unsigned int ms);

/* What the last failed call in this thread had to say; "" when none failed. */
const char *deserial_error(void);

/* Which of the operations of a batch that is about, from 0; -1: of none, or of more. */
ptrdiff_t deserial_error_op(void);

struct deserial_use {
	uint64_t used;
	uint64_t limit;
};

struct deserial_stats {
	uint64_t generation; /* of the last publication; 0: none ever */
	struct deserial_use slabs;
	struct deserial_use slots; /* limit: in the slabs that there are */
	uint64_t slots_free;
	uint64_t slots_pending; /* retired, until no reader can hold them */
	struct deserial_use listeners;
	struct deserial_use clusters;
	struct deserial_use routes;
	uint64_t cluster_references; /* names referred to that are not there */
	uint64_t route_references;
	struct deserial_use counters;
	unsigned int descriptors; /* held by the store in this process */
	/* Of this process since it opened the store: how often and for how long
	 * publishing stood still, for readers to end or for more slabs. */
	uint64_t waits;
	uint64_t waited_ns;
};
int deserial_stats(struct deserial_stats *stats);

struct deserial_endpoint {
	uint8_t ip[16];	 /* IPv4 as ::ffff:a.b.c.d */
	uint16_t port;	 /* host byte order */
	uint8_t family;	 /* 4 or 6 */
	uint8_t level;	 /* times ejected in a row */
	uint32_t group;	 /* rank of its priority within its family, from 0 */
	uint32_t weight; /* its share in the group's total */
	uint32_t total;
	uint32_t active;
	uint32_t fails;		/* in a row */
	uint64_t ejected_until; /* CLOCK_MONOTONIC, ns; 0: healthy */
	uint64_t ok;
	uint64_t latency_ns; /* sum over ok */
	uint64_t latency_max_ns;
	uint64_t refused;
	uint64_t timeouts;
	uint64_t errors;
	uint64_t ejections;
};

/* What connects saw of a cluster's endpoints; *endpoints is for free(). */
int deserial_endpoints(const char *cluster, struct deserial_endpoint **endpoints, size_t *n);

/* What connects saw of one cluster, over its endpoints. */
struct deserial_service {
	const char *name; /* name_len bytes, no terminating zero */
	uint32_t name_len;
	uint32_t endpoints;
	uint32_t ejected; /* of them, for the time being */
	uint32_t active;  /* connections open, LEAST_REQUEST only */
	uint64_t ok;
	uint64_t latency_ns; /* sum over ok */
	uint64_t refused;
	uint64_t timeouts;
	uint64_t errors;
	uint64_t ejections;
};

/* Every cluster that there is, in no order. now: CLOCK_MONOTONIC, ns. *services is for
 * free(), and the names with it. */
int deserial_services(uint64_t now, struct deserial_service **services, size_t *n);

/* The name of the cluster at an index of km_cluster, with a terminating zero; size: at
 * least KM_MAX_NAME + 1. -ENOENT when nothing has that index. */
int deserial_cluster_name(uint32_t root, char *name, size_t size);

#ifdef __cplusplus
}
#endif

#endif
