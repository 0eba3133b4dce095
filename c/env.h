/* SPDX-License-Identifier: Apache-2.0 */
/* The hand-off: which maps the store lives in, as the environment says. */
#ifndef KMESH_ENV_H
#define KMESH_ENV_H

#include <stdint.h>

enum env_map {
	ENV_LISTENER,
	ENV_LISTENER_ROOT,
	ENV_CLUSTER,
	ENV_ROUTE,
	ENV_OUTER,
	ENV_INNER,
	ENV_META,
	ENV_PORTS,
	ENV_MAPS,
};

struct env {
	int fd[ENV_MAPS]; /* -1: none */
	uint32_t id[ENV_MAPS];
	uint32_t inner_flags;
};

void env_init(struct env *env);
/* Opens every map and compares it with bpf/abi.h. */
int env_open(struct env *env);
void env_close(struct env *env);
/* The variable, for messages. */
const char *env_name(enum env_map map);

#endif
