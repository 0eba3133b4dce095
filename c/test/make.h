/* SPDX-License-Identifier: Apache-2.0 */
/* Messages for tests, in memory that lasts as long as the test. */
#ifndef KMESH_MAKE_H
#define KMESH_MAKE_H

#include "cluster/cluster.pb-c.h"
#include "deserial.h"
#include "listener/listener.pb-c.h"
#include "route/route.pb-c.h"

/* a.b.c.d:port or [x:y::z]:port. */
Core__SocketAddress *make_address(const char *text);

Cluster__Cluster *make_cluster(const char *name);
Endpoint__LocalityLbEndpoints *make_locality(Cluster__Cluster *c, unsigned int weight,
					     unsigned int priority);
Endpoint__Endpoint *make_endpoint(Endpoint__LocalityLbEndpoints *l, const char *address,
				  unsigned int weight);
/* A cluster of one locality, addresses separated by blanks. */
Cluster__Cluster *make_simple(const char *name, const char *addresses);
/* The same with n endpoints, 10.0.0.0 and on, of one port. */
Cluster__Cluster *make_many(const char *name, unsigned int n, unsigned int port);

Listener__Listener *make_listener(const char *address);
Listener__FilterChain *make_chain(Listener__Listener *l);
Listener__FilterChain *make_default(Listener__Listener *l);
Listener__FilterChainMatch *make_match(Listener__FilterChain *chain);
/* "10.0.0.0/8". */
void make_prefix(Listener__FilterChain *chain, const char *prefix);
void make_tcp(Listener__FilterChain *chain, const char *cluster);
/* "a=3 b=1". */
void make_tcp_weighted(Listener__FilterChain *chain, const char *clusters);
void make_rds(Listener__FilterChain *chain, const char *name);
void make_inline(Listener__FilterChain *chain, Route__RouteConfiguration *rc);
/* A listener with one chain to one cluster. */
Listener__Listener *make_tcp_listener(const char *address, const char *cluster);

Route__RouteConfiguration *make_route_config(const char *name);
/* Domains separated by blanks. */
Route__VirtualHost *make_host(Route__RouteConfiguration *rc, const char *domains);
/* "c" or "a=3 b=1"; NULL: no action. */
Route__Route *make_route(Route__VirtualHost *host, const char *prefix, const char *clusters);

/* Adds one to an array that grows. */
void *make_grow(void *array, size_t *n, size_t size);
char *make_text(const char *format, ...) __attribute__((format(printf, 1, 2)));

int put(const void *message);
int put_all(size_t n, const void *const *messages);
#define PUT(...)                                                                                   \
	put_all(sizeof((const void *[]){ __VA_ARGS__ }) / sizeof(void *),                          \
		(const void *[]){ __VA_ARGS__ })
int delete_cluster(const char *name);
int delete_route(const char *name);
int delete_listener(const char *address);

#endif
