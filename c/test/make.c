// SPDX-License-Identifier: Apache-2.0
#include "make.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

char *make_text(const char *format, ...)
{
	char *text;
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	text = test_alloc((size_t)len + 1);
	va_start(args, format);
	vsnprintf(text, (size_t)len + 1, format, args);
	va_end(args);
	return text;
}

void *make_grow(void *array, size_t *n, size_t size)
{
	/* Full at each power of two. */
	if (!(*n & (*n - 1)) || !*n) {
		void *larger = test_alloc(size * (*n ? *n * 2 : 1));

		if (*n)
			memcpy(larger, array, size * *n);
		array = larger;
	}
	(*n)++;
	return array;
}

/* A new message at the end of a repeated field. */
#define ADD(owner, field, type, init)                                                              \
	({                                                                                         \
		type *added = test_alloc(sizeof(*added));                                          \
		init(added);                                                                       \
		(owner)->field =                                                                   \
			make_grow((owner)->field, &(owner)->n_##field, sizeof(*(owner)->field));   \
		(owner)->field[(owner)->n_##field - 1] = added;                                    \
		added;                                                                             \
	})

#define NEW(type, init)                                                                            \
	({                                                                                         \
		type *made = test_alloc(sizeof(*made));                                            \
		init(made);                                                                        \
		made;                                                                              \
	})

Core__SocketAddress *make_address(const char *text)
{
	Core__SocketAddress *a = NEW(Core__SocketAddress, core__socket_address__init);
	const char *colon = strrchr(text, ':');
	char host[64] = "";

	a->port = htons((uint16_t)atoi(colon + 1));
	if (*text == '[') {
		memcpy(host, text + 1, (size_t)(colon - text) - 2);
		a->ipv6.data = test_alloc(16);
		a->ipv6.len = 16;
		if (inet_pton(AF_INET6, host, a->ipv6.data) != 1)
			abort();
		return a;
	}
	memcpy(host, text, (size_t)(colon - text));
	if (inet_pton(AF_INET, host, &a->ipv4) != 1)
		abort();
	return a;
}

Cluster__Cluster *make_cluster(const char *name)
{
	Cluster__Cluster *c = NEW(Cluster__Cluster, cluster__cluster__init);

	c->name = make_text("%s", name);
	c->load_assignment =
		NEW(Endpoint__ClusterLoadAssignment, endpoint__cluster_load_assignment__init);
	return c;
}

Endpoint__LocalityLbEndpoints *make_locality(Cluster__Cluster *c, unsigned int weight,
					     unsigned int priority)
{
	Endpoint__LocalityLbEndpoints *l =
		ADD(c->load_assignment, endpoints, Endpoint__LocalityLbEndpoints,
		    endpoint__locality_lb_endpoints__init);

	l->load_balancing_weight = weight;
	l->priority = priority;
	return l;
}

Endpoint__Endpoint *make_endpoint(Endpoint__LocalityLbEndpoints *l, const char *address,
				  unsigned int weight)
{
	Endpoint__Endpoint *e = ADD(l, lb_endpoints, Endpoint__Endpoint, endpoint__endpoint__init);

	e->address = make_address(address);
	e->load_balancing_weight = weight;
	return e;
}

/* Calls f for each word. */
static void each(const char *words, void (*f)(void *, char *), void *arg)
{
	char *copy = make_text("%s", words), *at;

	for (char *word = strtok_r(copy, " ", &at); word; word = strtok_r(NULL, " ", &at))
		f(arg, word);
}

static void add_endpoint(void *locality, char *address)
{
	make_endpoint(locality, address, 0);
}

Cluster__Cluster *make_simple(const char *name, const char *addresses)
{
	Cluster__Cluster *c = make_cluster(name);

	each(addresses, add_endpoint, make_locality(c, 0, 0));
	return c;
}

Cluster__Cluster *make_many(const char *name, unsigned int n, unsigned int port)
{
	Cluster__Cluster *c = make_cluster(name);
	Endpoint__LocalityLbEndpoints *l = make_locality(c, 0, 0);

	for (unsigned int i = 0; i < n; i++) {
		Endpoint__Endpoint *e =
			ADD(l, lb_endpoints, Endpoint__Endpoint, endpoint__endpoint__init);

		e->address = NEW(Core__SocketAddress, core__socket_address__init);
		e->address->ipv4 = htonl(0x0a000000 + i);
		e->address->port = htons((uint16_t)port);
	}
	return c;
}

Listener__Listener *make_listener(const char *address)
{
	Listener__Listener *l = NEW(Listener__Listener, listener__listener__init);

	l->address = make_address(address);
	return l;
}

Listener__FilterChain *make_chain(Listener__Listener *l)
{
	return ADD(l, filter_chains, Listener__FilterChain, listener__filter_chain__init);
}

Listener__FilterChain *make_default(Listener__Listener *l)
{
	l->default_filter_chain = NEW(Listener__FilterChain, listener__filter_chain__init);
	return l->default_filter_chain;
}

Listener__FilterChainMatch *make_match(Listener__FilterChain *chain)
{
	if (!chain->filter_chain_match)
		chain->filter_chain_match =
			NEW(Listener__FilterChainMatch, listener__filter_chain_match__init);
	return chain->filter_chain_match;
}

void make_prefix(Listener__FilterChain *chain, const char *prefix)
{
	Listener__FilterChainMatch *m = make_match(chain);
	Core__CidrRange *range = ADD(m, prefix_ranges, Core__CidrRange, core__cidr_range__init);
	char *text = make_text("%s", prefix);
	char *slash = strchr(text, '/');

	*slash = 0;
	range->address_prefix = text;
	range->prefix_len = (uint32_t)atoi(slash + 1);
}

static Filter__TcpProxy *add_tcp(Listener__FilterChain *chain)
{
	Listener__Filter *f = ADD(chain, filters, Listener__Filter, listener__filter__init);

	f->config_type_case = LISTENER__FILTER__CONFIG_TYPE_TCP_PROXY;
	f->tcp_proxy = NEW(Filter__TcpProxy, filter__tcp_proxy__init);
	return f->tcp_proxy;
}

void make_tcp(Listener__FilterChain *chain, const char *cluster)
{
	Filter__TcpProxy *tcp = add_tcp(chain);

	tcp->cluster_specifier_case = FILTER__TCP_PROXY__CLUSTER_SPECIFIER_CLUSTER;
	tcp->cluster = make_text("%s", cluster);
}

static void add_tcp_weight(void *weighted, char *word)
{
	Filter__TcpProxy__WeightedCluster *w = weighted;
	Filter__TcpProxy__WeightedCluster__ClusterWeight *cw =
		ADD(w, clusters, Filter__TcpProxy__WeightedCluster__ClusterWeight,
		    filter__tcp_proxy__weighted_cluster__cluster_weight__init);
	char *equals = strchr(word, '=');

	*equals = 0;
	cw->name = word;
	cw->weight = (uint32_t)strtoul(equals + 1, NULL, 10);
}

void make_tcp_weighted(Listener__FilterChain *chain, const char *clusters)
{
	Filter__TcpProxy *tcp = add_tcp(chain);

	tcp->cluster_specifier_case = FILTER__TCP_PROXY__CLUSTER_SPECIFIER_WEIGHTED_CLUSTERS;
	tcp->weighted_clusters =
		NEW(Filter__TcpProxy__WeightedCluster, filter__tcp_proxy__weighted_cluster__init);
	each(clusters, add_tcp_weight, tcp->weighted_clusters);
}

static Filter__HttpConnectionManager *add_http(Listener__FilterChain *chain)
{
	Listener__Filter *f = ADD(chain, filters, Listener__Filter, listener__filter__init);

	f->config_type_case = LISTENER__FILTER__CONFIG_TYPE_HTTP_CONNECTION_MANAGER;
	f->http_connection_manager =
		NEW(Filter__HttpConnectionManager, filter__http_connection_manager__init);
	return f->http_connection_manager;
}

void make_rds(Listener__FilterChain *chain, const char *name)
{
	Filter__HttpConnectionManager *http = add_http(chain);

	http->route_specifier_case =
		FILTER__HTTP_CONNECTION_MANAGER__ROUTE_SPECIFIER_ROUTE_CONFIG_NAME;
	http->route_config_name = make_text("%s", name);
}

void make_inline(Listener__FilterChain *chain, Route__RouteConfiguration *rc)
{
	Filter__HttpConnectionManager *http = add_http(chain);

	http->route_specifier_case = FILTER__HTTP_CONNECTION_MANAGER__ROUTE_SPECIFIER_ROUTE_CONFIG;
	http->route_config = rc;
}

Listener__Listener *make_tcp_listener(const char *address, const char *cluster)
{
	Listener__Listener *l = make_listener(address);

	make_tcp(make_chain(l), cluster);
	return l;
}

Route__RouteConfiguration *make_route_config(const char *name)
{
	Route__RouteConfiguration *rc =
		NEW(Route__RouteConfiguration, route__route_configuration__init);

	rc->name = make_text("%s", name);
	return rc;
}

static void add_domain(void *host, char *domain)
{
	Route__VirtualHost *h = host;

	h->domains = make_grow(h->domains, &h->n_domains, sizeof(char *));
	h->domains[h->n_domains - 1] = domain;
}

Route__VirtualHost *make_host(Route__RouteConfiguration *rc, const char *domains)
{
	Route__VirtualHost *h =
		ADD(rc, virtual_hosts, Route__VirtualHost, route__virtual_host__init);

	each(domains, add_domain, h);
	return h;
}

static void add_weight(void *weighted, char *word)
{
	Route__WeightedCluster *w = weighted;
	Route__ClusterWeight *cw =
		ADD(w, clusters, Route__ClusterWeight, route__cluster_weight__init);
	char *equals = strchr(word, '=');

	*equals = 0;
	cw->name = word;
	cw->weight = (uint32_t)strtoul(equals + 1, NULL, 10);
}

Route__Route *make_route(Route__VirtualHost *host, const char *prefix, const char *clusters)
{
	Route__Route *r = ADD(host, routes, Route__Route, route__route__init);
	Route__RouteAction *action;

	r->match = NEW(Route__RouteMatch, route__route_match__init);
	r->match->prefix = make_text("%s", prefix);
	if (!clusters)
		return r;
	action = NEW(Route__RouteAction, route__route_action__init);
	r->route = action;
	if (!strchr(clusters, '=')) {
		action->cluster_specifier_case = ROUTE__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER;
		action->cluster = make_text("%s", clusters);
		return r;
	}
	action->cluster_specifier_case = ROUTE__ROUTE_ACTION__CLUSTER_SPECIFIER_WEIGHTED_CLUSTERS;
	action->weighted_clusters = NEW(Route__WeightedCluster, route__weighted_cluster__init);
	each(clusters, add_weight, action->weighted_clusters);
	return r;
}

int put(const void *message)
{
	return deserial_update_elem(NULL, message);
}

int put_all(size_t n, const void *const *messages)
{
	struct deserial_op *ops = test_alloc(n * sizeof(*ops));

	for (size_t i = 0; i < n; i++)
		ops[i].value = messages[i];
	return deserial_update_batch(ops, n);
}

int delete_cluster(const char *name)
{
	return deserial_delete_elem(name, &cluster__cluster__descriptor);
}

int delete_route(const char *name)
{
	return deserial_delete_elem(name, &route__route_configuration__descriptor);
}

int delete_listener(const char *address)
{
	return deserial_delete_elem(make_address(address), &listener__listener__descriptor);
}
