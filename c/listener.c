// SPDX-License-Identifier: Apache-2.0
/*
 * A listener: which filter chain an address gets, and where that chain's filter
 * sends it. Chains are chosen as Envoy chooses them: by destination port, then
 * by the longest prefix, then by transport protocol, then by application
 * protocol, never going back a step; then the default chain; then it passes.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "filter/filter.pb-c.h"
#include "listener/listener.pb-c.h"
#include "target.h"

/* Addresses that a chain asks for. */
struct prefix {
	struct rule rule; /* id: index of the chain */
	int rank;	  /* of the chain, lower is better */
};

/* A chain of this rank cannot match, one of a higher rank is hidden by it. */
#define RANK_NEVER 100
static bool dead_end(int rank)
{
	return rank % 10 == 3 || rank == RANK_NEVER;
}

static const Listener__FilterChainMatch no_match = LISTENER__FILTER_CHAIN_MATCH__INIT;

static const Listener__FilterChainMatch *match_of(const Listener__FilterChain *chain)
{
	return chain->filter_chain_match ? chain->filter_chain_match : &no_match;
}

static bool is(const char *text, const char *want)
{
	return text && !strcmp(text, want);
}

/* Plain text over TCP is all that a connect can be taken for. */
static bool speaks_plain(const Listener__FilterChainMatch *m)
{
	for (size_t i = 0; i < m->n_application_protocols; i++) {
		const char *p = m->application_protocols[i];

		if (is(p, "http/1.0") || is(p, "http/1.1") || is(p, "h2c"))
			return true;
	}
	return false;
}

/* Among chains of one prefix: those of a transport protocol come before those of
 * none, and within them those of an application protocol. A chain that cannot
 * match still hides what a less specific step would have found. */
static int rank_of(const Listener__FilterChainMatch *m)
{
	int rank;

	if (m->n_server_names)
		return RANK_NEVER;
	if (is(m->transport_protocol, "raw_buffer"))
		rank = 0;
	else if (!m->transport_protocol || !*m->transport_protocol)
		rank = 10;
	else
		return RANK_NEVER;
	if (!m->n_application_protocols)
		return rank + 2;
	return speaks_plain(m) ? rank : rank + 3;
}

static int target_tcp(struct batch *b, const Filter__TcpProxy *tcp, struct parts *old,
		      struct km_target *target)
{
	const Filter__TcpProxy__WeightedCluster *w;
	struct weight *weights;

	switch (tcp->cluster_specifier_case) {
	case FILTER__TCP_PROXY__CLUSTER_SPECIFIER_CLUSTER:
		return target_cluster(b, tcp->cluster, target);
	case FILTER__TCP_PROXY__CLUSTER_SPECIFIER_WEIGHTED_CLUSTERS:
		w = tcp->weighted_clusters;
		weights = arena_zalloc(&b->s->arena, w ? w->n_clusters : 0, sizeof(*weights));
		if (!weights)
			return error_sys(-ENOMEM, "weighted_clusters");
		for (size_t i = 0; w && i < w->n_clusters; i++) {
			weights[i].name = w->clusters[i]->name;
			weights[i].weight = w->clusters[i]->weight;
		}
		return target_weighted(b, weights, w ? w->n_clusters : 0, old, target);
	default:
		return 0;
	}
}

static int target_http(struct batch *b, const Filter__HttpConnectionManager *http,
		       const struct scope *scope, struct parts *old, struct km_target *target)
{
	switch (http->route_specifier_case) {
	case FILTER__HTTP_CONNECTION_MANAGER__ROUTE_SPECIFIER_ROUTE_CONFIG_NAME:
		return target_route(b, http->route_config_name, target);
	case FILTER__HTTP_CONNECTION_MANAGER__ROUTE_SPECIFIER_ROUTE_CONFIG:
		if (!http->route_config)
			return 0;
		return target_virtual_hosts(b, http->route_config, scope, old, target);
	default:
		return 0;
	}
}

/* The first filter that sends connections anywhere. */
static int target_chain(struct batch *b, const Listener__FilterChain *chain,
			const struct scope *scope, struct parts *old, struct km_target *target)
{
	int err;

	memset(target, 0, sizeof(*target));
	for (size_t i = 0; i < chain->n_filters; i++) {
		const Listener__Filter *filter = chain->filters[i];

		switch (filter->config_type_case) {
		case LISTENER__FILTER__CONFIG_TYPE_TCP_PROXY:
			if (!filter->tcp_proxy)
				continue;
			err = target_tcp(b, filter->tcp_proxy, old, target);
			break;
		case LISTENER__FILTER__CONFIG_TYPE_HTTP_CONNECTION_MANAGER:
			if (!filter->http_connection_manager)
				continue;
			err = target_http(b, filter->http_connection_manager, scope, old, target);
			break;
		default:
			continue;
		}
		return err ? error_prefix(err, "filters[%zu]", i) : 0;
	}
	return 0;
}

static int by_prefix(const void *a, const void *b)
{
	const struct prefix *x = a, *y = b;
	int order = point_compare(&x->rule.first, &y->rule.first);

	if (!order)
		order = point_compare(&x->rule.last, &y->rule.last);
	if (!order)
		order = x->rank - y->rank;
	if (!order)
		order = (x->rule.id > y->rule.id) - (x->rule.id < y->rule.id);
	return order;
}

/* Adds the addresses of one family that chain i asks for. */
static int add_chain(const Listener__FilterChainMatch *m, uint32_t i, bool is4,
		     struct prefix *prefixes, uint32_t *n)
{
	static const char *const everything[] = { "::", "0.0.0.0" };
	size_t count = m->n_prefix_ranges;

	for (size_t j = 0; j < count || (!count && !j); j++) {
		struct prefix *p = &prefixes[*n];
		const char *text = everything[is4];
		uint32_t len = 0;
		bool of4;
		int err;

		if (count) {
			text = m->prefix_ranges[j]->address_prefix;
			len = m->prefix_ranges[j]->prefix_len;
		}
		err = rule_prefix(&p->rule, text ? text : "", len, &of4);
		if (err)
			return error_prefix(
				err, "filter_chains[%u].filter_chain_match.prefix_ranges[%zu]", i,
				j);
		if (of4 != is4)
			continue;
		p->rule.id = i;
		p->rank = rank_of(m);
		(*n)++;
	}
	return 0;
}

/* The chains that can be found by the listener's port, as rules. */
static int read_chains(struct batch *b, const Listener__Listener *l, uint32_t port, bool is4,
		       struct rule **rules, uint32_t *n)
{
	struct prefix *prefixes;
	bool by_port = false;
	size_t most = 0;
	uint32_t found = 0;
	int err;

	for (size_t i = 0; i < l->n_filter_chains; i++) {
		const Listener__FilterChainMatch *m = match_of(l->filter_chains[i]);

		most += m->n_prefix_ranges + 1;
		by_port |= m->destination_port == port;
	}
	prefixes = arena_zalloc(&b->s->arena, most + 1, sizeof(*prefixes));
	*rules = arena_zalloc(&b->s->arena, most + 1, sizeof(**rules));
	if (!prefixes || !*rules || most > UINT32_MAX / 4)
		return error_sys(-ENOMEM, "filter_chains");

	for (size_t i = 0; i < l->n_filter_chains; i++) {
		const Listener__FilterChainMatch *m = match_of(l->filter_chains[i]);
		uint32_t before = found;

		err = add_chain(m, (uint32_t)i, is4, prefixes, &found);
		if (err)
			return err;
		if (m->destination_port != (by_port ? port : 0))
			found = before;
	}
	qsort(prefixes, found, sizeof(*prefixes), by_prefix);
	*n = 0;
	for (uint32_t i = 0; i < found; i++) {
		const struct prefix *p = &prefixes[i];

		if (i && !point_compare(&p->rule.first, &p[-1].rule.first) &&
		    !point_compare(&p->rule.last, &p[-1].rule.last))
			continue;
		(*rules)[*n] = p->rule;
		if (dead_end(p->rank))
			(*rules)[*n].id = RULE_NONE;
		(*n)++;
	}
	return 0;
}

struct chains {
	const Listener__Listener *listener;
	const struct scope *scope;
};

static int resolve_chain(struct batch *b, const void *arg, uint32_t id, struct parts *old,
			 struct km_target *target)
{
	const struct chains *chains = arg;
	const Listener__Listener *l = chains->listener;
	int err;

	if (id == l->n_filter_chains) {
		err = target_chain(b, l->default_filter_chain, chains->scope, old, target);
		return err ? error_prefix(err, "default_filter_chain") : 0;
	}
	err = target_chain(b, l->filter_chains[id], chains->scope, old, target);
	return err ? error_prefix(err, "filter_chains[%u]", id) : 0;
}

/* The destinations that find a listener of this address. */
static int scope_of(const struct km_addr *addr, struct scope *scope, bool *is4)
{
	static const uint8_t any4[16] = { [10] = 0xff, [11] = 0xff };
	static const uint8_t any6[16];
	const uint8_t *ip = (const uint8_t *)addr->ip;
	struct rule rule;
	bool of4;
	int err = 0;

	*is4 = !memcmp(ip, any4, 12);
	scope->port = ntohs(addr->port);
	rule_address(&rule, ip);
	rule.first.port = rule.last.port = scope->port;
	if (!memcmp(ip, any4, sizeof(any4)))
		err = rule_prefix(&rule, "0.0.0.0", 0, &of4);
	else if (!memcmp(ip, any6, sizeof(any6)))
		err = rule_prefix(&rule, "::", 0, &of4);
	scope->first = rule.first;
	scope->last = rule.last;
	return err;
}

static int target_listener(struct batch *b, const Listener__Listener *l, const struct km_addr *addr,
			   struct parts *old, struct km_target *target)
{
	struct scope scope;
	struct chains chains = { l, &scope };
	struct resolver resolver = {
		.resolve = resolve_chain,
		.arg = &chains,
		.ids = (uint32_t)l->n_filter_chains + 1,
		.none = l->default_filter_chain ? (uint32_t)l->n_filter_chains : RULE_NONE,
	};
	struct rule *rules = NULL;
	uint32_t n = 0;
	bool is4;
	int err;

	err = scope_of(addr, &scope, &is4);
	if (!err)
		err = read_chains(b, l, scope.port, is4, &rules, &n);
	if (!err)
		err = target_rules(b, rules, n, &scope, &resolver, old, target);
	return err;
}

int build_listener(struct batch *b, struct change *c, struct parts *old)
{
	const Listener__Listener *l = (const Listener__Listener *)c->message;
	struct km_listener *listener;
	void *node;
	int err;

	err = batch_run(b, 1, &c->tree, &node);
	if (err)
		return err;
	listener = node;
	listener->addr = c->addr;
	/* UDP is never matched. */
	if (!l->passthrough && !c->addr.protocol)
		err = target_listener(b, l, &c->addr, old, &listener->target);
	return err ? err : batch_head(b, c, &listener->head);
}
