// SPDX-License-Identifier: Apache-2.0
/* Writers of one store exclude each other, a publication at a time. */
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "error.h"
#include "kernel.h"
#include "store.h"

#define LOCK_DIR "/run/kmesh-node"
#define NSEC 1000000000ull

int lock_open(struct store *s)
{
	snprintf(s->lock_path, sizeof(s->lock_path), LOCK_DIR "/store-%u.lock",
		 s->env.id[ENV_META]);
	s->lock_fd = kernel.lock_open(LOCK_DIR, s->lock_path);
	if (s->lock_fd < 0)
		return error_sys(s->lock_fd, "open lock %s", s->lock_path);
	return 0;
}

void lock_close(struct store *s)
{
	if (s->lock_fd >= 0)
		kernel.fd_close(s->lock_fd);
	s->lock_fd = -1;
}

uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NSEC + (uint64_t)t.tv_nsec;
}

/* flock has no time limit: asks again, at growing intervals. */
int lock_take(struct store *s)
{
	struct timespec pause = { .tv_nsec = 100000 };
	uint64_t end = 0;
	int err;

	for (;;) {
		err = kernel.lock_try(s->lock_fd);
		if (!err)
			return 0;
		if (err != -EAGAIN)
			return error_sys(err, "lock %s", s->lock_path);
		if (!end)
			end = clock_ns() + s->lock_timeout * 1000000ull;
		else if (clock_ns() >= end)
			return error_set(-ETIMEDOUT, "lock %s: held by another writer for %u ms",
					 s->lock_path, s->lock_timeout);
		nanosleep(&pause, NULL);
		if (pause.tv_nsec < 5000000)
			pause.tv_nsec += pause.tv_nsec / 2;
	}
}

void lock_drop(struct store *s)
{
	kernel.lock_drop(s->lock_fd);
}
