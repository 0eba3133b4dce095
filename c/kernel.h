/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every call that the store makes to the kernel, behind pointers so that tests
 * can stand in for it. Each returns 0, a descriptor or a negative errno.
 */
#ifndef KMESH_KERNEL_H
#define KMESH_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#include <linux/bpf.h>

struct kernel {
	int (*map_create)(const char *name, const struct bpf_map_info *like);
	int (*map_lookup)(int fd, const void *key, void *value);
	int (*map_update)(int fd, const void *key, const void *value);
	int (*map_delete)(int fd, const void *key);
	/* Both take *count elements and leave the number that was done in it. */
	int (*map_update_batch)(int fd, const void *keys, const void *values, uint32_t *count);
	/* From the start; -ENOENT with a count when that was all there is. */
	int (*map_lookup_batch)(int fd, void *keys, void *values, uint32_t *count);
	int (*map_next_key)(int fd, const void *key, void *next);
	int (*map_info)(int fd, struct bpf_map_info *info);
	int (*map_fd_by_id)(uint32_t id);
	int (*map_mmap)(int fd, size_t len, void **at);
	int (*map_munmap)(void *at, size_t len);
	int (*fd_dup)(int fd);
	int (*fd_close)(int fd);
	int (*lock_open)(const char *dir, const char *path);
	int (*lock_try)(int fd); /* -EAGAIN while another holds it */
	int (*lock_drop)(int fd);
	/* Called between the stores of a publication; a test stops there. */
	void (*step)(void);
};

extern struct kernel kernel;

#endif
