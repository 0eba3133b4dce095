/* SPDX-License-Identifier: Apache-2.0 */
/* A process in a cgroup and a network namespace of its own that makes connections. */
#ifndef KMESH_PROBE_H
#define KMESH_PROBE_H

#include <stdbool.h>
#include <stdint.h>

#define PROBE_LISTENERS 8
#define PROBE_CONNS 8
#define PROBE_BYTES 64

struct probe_addr {
	uint8_t family; /* 4 or 6; 0: none */
	uint16_t port;	/* network byte order */
	uint8_t ip[16]; /* of IPv4 the first four */
};

enum probe_step { PROBE_SOCKET = 1, PROBE_CONNECT, PROBE_ARRIVE, PROBE_SEND, PROBE_RECEIVE };

struct probe_conn {
	struct probe_addr to;
	bool talk; /* one byte is sent, and what arrives is kept */

	enum probe_step step; /* that failed */
	int error;	      /* of it, 0: none failed */
	int listener;	      /* that it arrived at, -1: none */
	uint32_t received;
	uint8_t bytes[PROBE_BYTES];
};

struct probe_listener {
	struct probe_addr at;
	int error; /* 0: listens */
};

/* Shared with the process; each side writes while the other waits. */
struct probe {
	struct probe_listener listeners[PROBE_LISTENERS];
	struct probe_conn conns[PROBE_CONNS];
	uint32_t n_listeners;
	uint32_t n_conns;
	int cgroup_error; /* of entering the cgroup */
	int netns_error;  /* of making the namespace, or of its loopback device */
	uint64_t cookie;  /* of the namespace */
	int cookie_error;
};

struct probe *probe_new(void);
int probe_free(struct probe *p);

/* Starts the process; cgroup -1: in the caller's own. Where it returns 0, *sync is a
 * socket: from it comes a byte whenever the process is ready for the next round, and
 * a byte to it begins one. Closing it ends the process. Else a negative errno. */
int probe_start(struct probe *p, int cgroup, int *pid, int *sync);

#endif
