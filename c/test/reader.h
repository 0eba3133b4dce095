/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a connect finds, by bpf/abi.h alone: nothing here is shared with c/. Texts
 * that are returned last as long as the test.
 */
#ifndef KMESH_READER_H
#define KMESH_READER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/core.pb-c.h"

/* Where a destination is sent: "pass", "a", or "a=3 b=1", by cluster names. A
 * route that is not there passes. */
char *where(const char *address);

/* A cluster's endpoints as they stand in its choices: "10.0.0.1:80=2
 * 10.0.0.2:80=1", groups separated by " | ", IPv6 ones behind " || ". "none"
 * when it has no tree, "passthrough" when that is what it is. */
char *endpoints(const char *cluster);

/* Which one each of a period of connects takes, by index: "0 1 0". */
char *turns(const char *cluster);

/* The handle of the node of an endpoint; 0: none. */
uint32_t endpoint_handle(const char *cluster, const char *address);
/* The round-robin counter of a cluster's first choice. */
uint32_t counter_of(const char *cluster);

/* The index of a cluster's root by its name, whether it has a tree or not. */
uint32_t cluster_root(const char *name);

/* For a thread that reads on and on: the port of the only endpoint of the
 * cluster at that root, at that generation; 0: none, -1: overtaken. */
int port_at(uint32_t root, uint64_t generation);
/* The same for the cluster that a listener leads to. */
int port_behind(const Core__SocketAddress *address, uint64_t generation);

#endif
