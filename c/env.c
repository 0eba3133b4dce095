// SPDX-License-Identifier: Apache-2.0
/*
 * For each map the environment holds NAME, the map's id, and may hold NAME_FD,
 * an open descriptor. The descriptor counts when it is open and its map has that
 * id; else the id is opened. Nothing of it is believed: a map must be what
 * bpf/abi.h says.
 */
#include "env.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/abi.h"
#include "error.h"
#include "kernel.h"

struct spec {
	const char *name;
	uint32_t type;
	uint32_t key_size;
	uint32_t value_size;
	uint32_t max_entries;
	uint32_t flags; /* that must be set */
};

#define ARRAY_SPEC(name, type, entries)                                                            \
	{ name, BPF_MAP_TYPE_ARRAY, sizeof(__u32), sizeof(type), entries, BPF_F_MMAPABLE }

static const struct spec specs[ENV_MAPS] = {
	[ENV_LISTENER] = { "Listener", BPF_MAP_TYPE_HASH, sizeof(struct km_addr), sizeof(__u32),
			   KM_MAX_LISTENERS, BPF_F_NO_PREALLOC },
	[ENV_LISTENER_ROOT] = ARRAY_SPEC("KMESH_LISTENER_ROOT", struct km_root, KM_MAX_LISTENERS),
	[ENV_CLUSTER] = ARRAY_SPEC("Cluster", struct km_root, KM_MAX_CLUSTERS),
	[ENV_ROUTE] = ARRAY_SPEC("RouteConfiguration", struct km_root, KM_MAX_ROUTES),
	[ENV_OUTER] = { "OUTTER_MAP_ID", BPF_MAP_TYPE_ARRAY_OF_MAPS, sizeof(__u32), sizeof(__u32),
			KM_SLABS, 0 },
	[ENV_INNER] = { "INNER_MAP_ID", BPF_MAP_TYPE_ARRAY, sizeof(__u32), KM_SLOT_SIZE,
			KM_SLAB_SLOTS, BPF_F_MMAPABLE },
	[ENV_META] = ARRAY_SPEC("KMESH_META", struct km_meta, 1),
	[ENV_PORTS] = ARRAY_SPEC("KMESH_PORTS", struct km_ports, 1024),
};

const char *env_name(enum env_map map)
{
	return specs[map].name;
}

void env_init(struct env *env)
{
	memset(env, 0, sizeof(*env));
	for (int i = 0; i < ENV_MAPS; i++)
		env->fd[i] = -1;
}

void env_close(struct env *env)
{
	for (int i = 0; i < ENV_MAPS; i++) {
		if (env->fd[i] >= 0)
			kernel.fd_close(env->fd[i]);
	}
	env_init(env);
}

/* Digits alone, no sign, no blanks, at most max. */
static bool parse_number(const char *text, uint32_t max, uint32_t *number)
{
	uint64_t n = 0;

	if (!*text)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		n = n * 10 + (uint64_t)(*text - '0');
		if (n > max)
			return false;
	}
	*number = (uint32_t)n;
	return true;
}

static const char *type_name(uint32_t type, char *text, size_t size)
{
	switch (type) {
	case BPF_MAP_TYPE_HASH:
		return "HASH";
	case BPF_MAP_TYPE_ARRAY:
		return "ARRAY";
	case BPF_MAP_TYPE_PROG_ARRAY:
		return "PROG_ARRAY";
	case BPF_MAP_TYPE_PERCPU_ARRAY:
		return "PERCPU_ARRAY";
	case BPF_MAP_TYPE_ARRAY_OF_MAPS:
		return "ARRAY_OF_MAPS";
	default:
		snprintf(text, size, "of type %u", type);
		return text;
	}
}

static int differs(const struct spec *spec, uint32_t id, const char *what, uint32_t is,
		   uint32_t want)
{
	return error_set(-EINVAL, "%s=%u: map has %s %u, not %u", spec->name, id, what, is, want);
}

static int compare(const struct spec *spec, const struct bpf_map_info *info)
{
	char is[32], want[32];

	if (info->type != spec->type)
		return error_set(-EINVAL, "%s=%u: map is %s, not %s", spec->name, info->id,
				 type_name(info->type, is, sizeof(is)),
				 type_name(spec->type, want, sizeof(want)));
	if (info->key_size != spec->key_size)
		return differs(spec, info->id, "key size", info->key_size, spec->key_size);
	if (info->value_size != spec->value_size)
		return differs(spec, info->id, "value size", info->value_size, spec->value_size);
	if (info->max_entries != spec->max_entries)
		return differs(spec, info->id, "max_entries", info->max_entries, spec->max_entries);
	if ((info->map_flags & spec->flags) != spec->flags)
		return differs(spec, info->id, "flags", info->map_flags, spec->flags);
	return 0;
}

/* The descriptor that NAME_FD names, duplicated, when its map has that id. */
static int open_handed(const struct spec *spec, uint32_t id, int *fd, struct bpf_map_info *info)
{
	char variable[64];
	const char *text;
	uint32_t number;

	*fd = -1;
	snprintf(variable, sizeof(variable), "%s_FD", spec->name);
	text = getenv(variable);
	if (!text)
		return 0;
	if (!parse_number(text, INT32_MAX, &number))
		return error_set(-EINVAL, "%s=\"%.64s\": not a descriptor's number", variable,
				 text);
	if (kernel.map_info((int)number, info) || info->id != id)
		return 0;
	*fd = kernel.fd_dup((int)number);
	if (*fd < 0)
		return error_sys(*fd, "%s=%u: duplicate descriptor", variable, number);
	return 0;
}

static int open_id(const struct spec *spec, uint32_t id, int *fd, struct bpf_map_info *info)
{
	int err;

	*fd = kernel.map_fd_by_id(id);
	if (*fd == -ENOENT)
		return error_set(
			-EINVAL,
			"%s=%u: there is no map with that id, and %s_FD is no open descriptor of it",
			spec->name, id, spec->name);
	if (*fd < 0)
		return error_sys(*fd, "%s=%u: open map by id", spec->name, id);
	err = kernel.map_info(*fd, info);
	if (err)
		return error_sys(err, "%s=%u: ask for the map's layout", spec->name, id);
	if (info->id != id)
		return error_set(-EINVAL, "%s=%u: the map's id is %u", spec->name, id, info->id);
	return 0;
}

static int open_map(struct env *env, enum env_map map)
{
	const struct spec *spec = &specs[map];
	const char *text = getenv(spec->name);
	struct bpf_map_info info;
	uint32_t id;
	int err;

	if (!text)
		return error_set(
			-EINVAL,
			"%s: not set; run under \"kmesh-node exec\", after \"kmesh-node up\"",
			spec->name);
	if (!parse_number(text, UINT32_MAX, &id) || !id)
		return error_set(-EINVAL, "%s=\"%.64s\": not a map's id", spec->name, text);
	for (int i = 0; i < (int)map; i++) {
		if (env->id[i] == id)
			return error_set(-EINVAL, "%s=%u: is %s already", spec->name, id,
					 specs[i].name);
	}
	err = open_handed(spec, id, &env->fd[map], &info);
	if (!err && env->fd[map] < 0)
		err = open_id(spec, id, &env->fd[map], &info);
	if (!err)
		err = compare(spec, &info);
	if (err)
		return err;
	env->id[map] = id;
	if (map == ENV_INNER)
		env->inner_flags = info.map_flags;
	return 0;
}

int env_open(struct env *env)
{
	int err;

	for (int i = 0; i < ENV_MAPS; i++) {
		err = open_map(env, i);
		if (err) {
			env_close(env);
			return err;
		}
	}
	return 0;
}
