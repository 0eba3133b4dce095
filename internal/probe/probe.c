// SPDX-License-Identifier: Apache-2.0
/*
 * The process is a copy of one thread of a program with many, and executes no other:
 * between the copy and its end it makes system calls and nothing else. It costs a
 * millisecond where a program of its own would cost ten.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif
#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ULL
#endif

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

/* Of what the loopback device carries at once. */
#define PATIENCE_MS 2000

/* As in Linux 5.7; older headers lack cgroup. */
struct clone_into {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
		set_tid_size, cgroup;
};

struct probe *probe_new(void)
{
	void *p = mmap(NULL, sizeof(struct probe), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

int probe_free(struct probe *p)
{
	return munmap(p, sizeof(*p)) ? -errno : 0;
}

static socklen_t to_kernel(const struct probe_addr *a, struct sockaddr_storage *out)
{
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)out;
	struct sockaddr_in *four = (struct sockaddr_in *)out;

	memset(out, 0, sizeof(*out));
	if (a->family == 4) {
		four->sin_family = AF_INET;
		four->sin_port = a->port;
		memcpy(&four->sin_addr, a->ip, sizeof(four->sin_addr));
		return sizeof(*four);
	}
	six->sin6_family = AF_INET6;
	six->sin6_port = a->port;
	memcpy(&six->sin6_addr, a->ip, sizeof(six->sin6_addr));
	return sizeof(*six);
}

static int stream(const struct probe_addr *a, int flags)
{
	return socket(a->family == 4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
}

/* Closing sends a reset, so that nothing lingers. */
static void abort_on_close(int fd)
{
	struct linger l = { .l_onoff = 1 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
}

static int listen_at(const struct probe_addr *a, int *fd)
{
	struct sockaddr_storage at;
	socklen_t len = to_kernel(a, &at);

	*fd = stream(a, SOCK_NONBLOCK);
	if (*fd < 0)
		return errno;
	if (bind(*fd, (struct sockaddr *)&at, len) || listen(*fd, PROBE_CONNS))
		return errno;
	return 0;
}

static int loopback_up(void)
{
	struct ifreq r = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int err = 0;

	if (fd < 0)
		return errno;
	if (ioctl(fd, SIOCSIFFLAGS, &r))
		err = errno;
	close(fd);
	return err;
}

static int own_cookie(uint64_t *cookie)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(*cookie);
	int err = 0;

	if (fd < 0)
		return errno;
	if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, cookie, &len))
		err = errno;
	close(fd);
	return err;
}

/* The socket of a connection that has arrived, and where. */
static int arrival(const struct probe *p, const int *listeners, int *which)
{
	struct pollfd fds[PROBE_LISTENERS];

	for (uint32_t i = 0; i < p->n_listeners; i++)
		fds[i] = (struct pollfd){ .fd = listeners[i], .events = POLLIN };
	if (poll(fds, p->n_listeners, PATIENCE_MS) <= 0)
		return -1;
	for (uint32_t i = 0; i < p->n_listeners; i++)
		if (fds[i].revents & POLLIN) {
			*which = (int)i;
			return accept4(fds[i].fd, NULL, NULL, SOCK_CLOEXEC);
		}
	return -1;
}

/* Until the byte that was sent has come: what is in front of it may come by itself. */
static int receive(struct probe_conn *c, int fd, uint8_t last)
{
	struct timeval t = { .tv_sec = PATIENCE_MS / 1000 };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	while (c->received < PROBE_BYTES) {
		ssize_t n = recv(fd, c->bytes + c->received, PROBE_BYTES - c->received, 0);

		if (n <= 0)
			return n ? errno : ECONNRESET;
		c->received += (uint32_t)n;
		if (c->bytes[c->received - 1] == last)
			return 0;
	}
	return EMSGSIZE;
}

struct pair {
	int client, server;
};

static enum probe_step make(struct probe *p, struct probe_conn *c, const int *listeners,
			    struct pair *s)
{
	struct timeval t = { .tv_sec = PATIENCE_MS / 1000 };
	struct sockaddr_storage to;
	socklen_t len = to_kernel(&c->to, &to);
	const uint8_t byte = 'k';

	s->client = stream(&c->to, 0);
	if (s->client < 0)
		return PROBE_SOCKET;
	abort_on_close(s->client);
	setsockopt(s->client, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
	if (connect(s->client, (struct sockaddr *)&to, len))
		return PROBE_CONNECT;
	s->server = arrival(p, listeners, &c->listener);
	if (s->server < 0) {
		errno = ETIMEDOUT;
		return PROBE_ARRIVE;
	}
	if (!c->talk)
		return 0;
	if (send(s->client, &byte, sizeof(byte), MSG_NOSIGNAL) != sizeof(byte))
		return PROBE_SEND;
	errno = receive(c, s->server, byte);
	return errno ? PROBE_RECEIVE : 0;
}

/* Connections stay until the next round begins. */
static void serve(struct probe *p, int sync, const int *listeners)
{
	struct pair open[PROBE_CONNS];
	uint32_t n = 0;
	uint8_t byte = 'r';

	for (;;) {
		if (write(sync, &byte, sizeof(byte)) != sizeof(byte) ||
		    read(sync, &byte, sizeof(byte)) != sizeof(byte))
			return;
		for (uint32_t i = 0; i < n; i++) {
			close(open[i].client);
			close(open[i].server);
		}
		for (n = 0; n < p->n_conns; n++) {
			struct probe_conn *c = &p->conns[n];

			open[n] = (struct pair){ -1, -1 };
			c->error = 0;
			c->received = 0;
			c->listener = -1;
			c->step = make(p, c, listeners, &open[n]);
			if (c->step)
				c->error = errno;
		}
	}
}

/*
 * Locks, links and maps of the program are not to outlive it in here. Where a sandbox
 * refuses that they go as soon as sync says that the program has ended.
 */
static void close_all_but(int cgroup, int sync)
{
	int low = cgroup < sync ? cgroup : sync;
	int high = cgroup < sync ? sync : cgroup;

	if (low > 0)
		syscall(SYS_close_range, 0U, (unsigned int)low - 1, 0U);
	if (high > low + 1)
		syscall(SYS_close_range, (unsigned int)(low + 1), (unsigned int)high - 1, 0U);
	syscall(SYS_close_range, (unsigned int)high + 1, ~0U, 0U);
}

static void child(struct probe *p, int cgroup, int sync, bool by_clone)
{
	int fds[PROBE_LISTENERS];
	sigset_t none;

	/* The handlers are those of a runtime that is not here. */
	for (int s = 1; s < NSIG; s++)
		signal(s, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	close_all_but(cgroup, sync);
	if (!by_clone && cgroup >= 0) {
		int procs = openat(cgroup, "cgroup.procs", O_WRONLY | O_CLOEXEC);

		if (procs < 0 || write(procs, "0", 1) != 1)
			p->cgroup_error = errno;
	}
	if (!by_clone && unshare(CLONE_NEWNET))
		p->netns_error = errno;
	else
		p->netns_error = loopback_up();
	if (p->netns_error)
		return; /* what comes would be seen by others */
	p->cookie_error = own_cookie(&p->cookie);
	for (uint32_t i = 0; i < p->n_listeners; i++)
		p->listeners[i].error = listen_at(&p->listeners[i].at, &fds[i]);
	serve(p, sync, fds);
}

static long clone_child(int cgroup, bool *by_clone)
{
	struct clone_into args = { .flags = CLONE_NEWNET };
	long pid;

	if (cgroup >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)cgroup;
	}
	*by_clone = true;
	pid = syscall(SYS_clone3, &args, sizeof(args));
	if (pid >= 0 || errno == EAGAIN || errno == ENOMEM)
		return pid;
	/* A sandbox that cannot look into clone3's arguments refuses it; and this call
	 * enters a cgroup in no other way. */
	*by_clone = false;
	return syscall(SYS_clone, 0UL, NULL, NULL, NULL, 0UL);
}

int probe_start(struct probe *p, int cgroup, int *pid, int *sync)
{
	sigset_t all, old;
	bool by_clone;
	int ends[2];
	long rc;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
		return -errno;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	rc = clone_child(cgroup, &by_clone);
	if (rc == 0) {
		close(ends[0]);
		child(p, cgroup, ends[1], by_clone);
		_exit(0);
	}
	if (rc < 0)
		rc = -errno;
	sigprocmask(SIG_SETMASK, &old, NULL);
	close(ends[1]);
	if (rc < 0) {
		close(ends[0]);
		return (int)rc;
	}
	*pid = (int)rc;
	*sync = ends[0];
	return 0;
}
