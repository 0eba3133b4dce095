// SPDX-License-Identifier: Apache-2.0
#include "kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>

static int map_create(const char *name, const struct bpf_map_info *like)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = like->map_flags);

	return bpf_map_create(like->type, name, like->key_size, like->value_size, like->max_entries,
			      &opts);
}

static int map_update(int fd, const void *key, const void *value)
{
	return bpf_map_update_elem(fd, key, value, BPF_ANY);
}

static int map_update_batch(int fd, const void *keys, const void *values, uint32_t *count)
{
	return bpf_map_update_batch(fd, keys, values, count, NULL);
}

static int map_lookup_batch(int fd, void *keys, void *values, uint32_t *count)
{
	uint32_t token;

	return bpf_map_lookup_batch(fd, NULL, &token, keys, values, count, NULL);
}

static int map_info(int fd, struct bpf_map_info *info)
{
	uint32_t len = sizeof(*info);

	memset(info, 0, sizeof(*info));
	return bpf_obj_get_info_by_fd(fd, info, &len);
}

static int map_mmap(int fd, size_t len, void **at)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	*at = p;
	return 0;
}

static int map_munmap(void *at, size_t len)
{
	return munmap(at, len) ? -errno : 0;
}

static int fd_dup(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	return copy < 0 ? -errno : copy;
}

static int fd_close(int fd)
{
	return close(fd) ? -errno : 0;
}

static int lock_open(const char *dir, const char *path)
{
	int fd;

	if (mkdir(dir, 0700) && errno != EEXIST)
		return -errno;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? -errno : fd;
}

static int lock_try(int fd)
{
	while (flock(fd, LOCK_EX | LOCK_NB)) {
		if (errno != EINTR)
			return -errno;
	}
	return 0;
}

static int lock_drop(int fd)
{
	return flock(fd, LOCK_UN) ? -errno : 0;
}

static void step(void)
{
}

struct kernel kernel = {
	.map_create = map_create,
	.map_lookup = bpf_map_lookup_elem,
	.map_update = map_update,
	.map_delete = bpf_map_delete_elem,
	.map_update_batch = map_update_batch,
	.map_lookup_batch = map_lookup_batch,
	.map_next_key = bpf_map_get_next_key,
	.map_info = map_info,
	.map_fd_by_id = bpf_map_get_fd_by_id,
	.map_mmap = map_mmap,
	.map_munmap = map_munmap,
	.fd_dup = fd_dup,
	.fd_close = fd_close,
	.lock_open = lock_open,
	.lock_try = lock_try,
	.lock_drop = lock_drop,
	.step = step,
};
