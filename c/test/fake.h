/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maps without a kernel, behind the calls of c/kernel.h. They lie in memory that
 * forked processes share, as maps do. What cannot be seen here: the kernel's own
 * limits and its checks of permission.
 */
#ifndef KMESH_FAKE_H
#define KMESH_FAKE_H

#include <stdbool.h>
#include <stdint.h>

#include <linux/bpf.h>

#include "bpf/abi.h"
#include "kernel.h"

/* Ids of the store's own maps; slabs that are made come after. */
enum {
	FAKE_LISTENER = 11,
	FAKE_LROOT,
	FAKE_CLUSTER,
	FAKE_ROUTE,
	FAKE_OUTER,
	FAKE_INNER,
	FAKE_META,
	FAKE_PORTS,
	FAKE_FIRST_SLAB,
};

struct fake {
	/* The call that fails, counted from 1, and with what; 0: none. */
	unsigned int fail_at;
	int fail_with;
	unsigned int calls;
	unsigned int max_maps;	    /* made at most; 0: any number */
	unsigned int max_listeners; /* entries of km_listener */
	bool no_batch;		    /* the kernel has no batch calls */
	unsigned int graces;
	unsigned int grace_us; /* that one takes */
	unsigned int open;     /* descriptors */
	unsigned int mapped;
	bool held; /* the lock, by another process */
};

extern struct fake fake;

/* New maps, and an environment that names them. */
void fake_reset(void);
/* Closes the store if it is open and checks that it gave everything back. */
void fake_end(void);

/* The environment names the maps by id alone. */
void fake_env(void);
/* A descriptor of a map, as one that is handed over. */
int fake_fd(uint32_t id);
void fake_close(int fd);
struct bpf_map_info *fake_info(uint32_t id);

/* What the data plane reads. */
struct km_meta *fake_meta(void);
struct km_ports *fake_ports(void);
struct km_root *fake_roots(enum km_kind kind);
/* Index of the root that km_listener has for the key; 0: none. */
uint32_t fake_listener(const struct km_addr *addr);
unsigned int fake_listeners(void);
void *fake_node(uint32_t handle);

/* Readers that a grace period waits for. */
#define FAKE_READERS 4
void fake_read_begin(unsigned int reader);
void fake_read_end(unsigned int reader);

/* Runs f in a process of its own; returns its result, or 128 + a signal. */
int fake_process(int (*f)(void *), void *arg);

#endif
