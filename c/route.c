// SPDX-License-Identifier: Apache-2.0
/*
 * A route configuration, as far as it can be known at connect: the virtual host
 * whose domains hold the destination's address, and its first route where that
 * does not depend on the request. All else passes.
 */
#include <errno.h>
#include <string.h>

#include "error.h"
#include "target.h"

/* Envoy's order: the address with its port, the address, "*" with the port, "*". */
struct hosts {
	struct rule *rules; /* id: index of the virtual host */
	uint32_t n;
	uint32_t any;	 /* the virtual host of "*", or RULE_NONE */
	uint32_t *ports; /* those of "*:port" */
	uint32_t n_ports;
};

static bool unconditional(const Route__RouteMatch *match)
{
	return !match || (!match->n_headers && (!match->condition || !*match->condition) &&
			  (!match->prefix || !*match->prefix || !strcmp(match->prefix, "/")));
}

static int target_action(struct batch *b, const Route__RouteAction *action, struct parts *old,
			 struct km_target *target)
{
	const Route__WeightedCluster *w;
	struct weight *weights;

	switch (action->cluster_specifier_case) {
	case ROUTE__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER:
		return target_cluster(b, action->cluster, target);
	case ROUTE__ROUTE_ACTION__CLUSTER_SPECIFIER_WEIGHTED_CLUSTERS:
		w = action->weighted_clusters;
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

static int target_host(struct batch *b, const void *arg, uint32_t id, struct parts *old,
		       struct km_target *target)
{
	const Route__RouteConfiguration *rc = arg;
	const Route__VirtualHost *host = rc->virtual_hosts[id];
	int err;

	memset(target, 0, sizeof(*target));
	if (!host->n_routes || !host->routes[0]->route || !unconditional(host->routes[0]->match))
		return 0;
	err = target_action(b, host->routes[0]->route, old, target);
	return err ? error_prefix(err, "virtual_hosts[%u].routes[0].route", id) : 0;
}

static void add_domain(struct hosts *hosts, const struct domain *domain, uint32_t id, uint32_t port)
{
	struct rule *rule = &hosts->rules[hosts->n];

	if (port && domain->port && domain->port != port)
		return;
	if (!domain->any) {
		rule_address(rule, domain->ip);
		if (domain->port)
			rule->first.port = rule->last.port = domain->port;
		rule->id = id;
		hosts->n++;
	} else if (!domain->port) {
		if (hosts->any == RULE_NONE)
			hosts->any = id;
	} else {
		hosts->ports[hosts->n_ports++] = id;
	}
}

static int read_hosts(struct batch *b, const Route__RouteConfiguration *rc, uint32_t port,
		      struct hosts *hosts)
{
	size_t domains = 0;

	for (size_t i = 0; i < rc->n_virtual_hosts; i++)
		domains += rc->virtual_hosts[i]->n_domains;
	memset(hosts, 0, sizeof(*hosts));
	hosts->any = RULE_NONE;
	hosts->rules = arena_zalloc(&b->s->arena, domains, sizeof(*hosts->rules));
	hosts->ports = arena_zalloc(&b->s->arena, domains, sizeof(*hosts->ports));
	if (domains > UINT32_MAX / 4 || !hosts->rules || !hosts->ports)
		return error_sys(-ENOMEM, "virtual_hosts");

	for (size_t i = 0; i < rc->n_virtual_hosts; i++) {
		const Route__VirtualHost *host = rc->virtual_hosts[i];

		for (size_t j = 0; j < host->n_domains; j++) {
			struct domain domain;

			if (host->domains[j] && parse_domain(host->domains[j], &domain))
				add_domain(hosts, &domain, (uint32_t)i, port);
		}
	}
	return 0;
}

/*
 * "*:port" where no address says otherwise. With the listener's port known it is
 * a better "*". Without, an interval of addresses cannot hold a part of the
 * ports: whatever would depend on that is not guessed and passes.
 */
static void settle_ports(struct hosts *hosts, uint32_t port)
{
	if (!hosts->n_ports)
		return;
	if (port) {
		hosts->any = hosts->ports[0];
		return;
	}
	for (uint32_t i = 0; i < hosts->n_ports; i++) {
		if (hosts->ports[i] != hosts->any)
			hosts->any = RULE_NONE;
	}
}

int target_virtual_hosts(struct batch *b, const Route__RouteConfiguration *rc,
			 const struct scope *scope, struct parts *old, struct km_target *target)
{
	struct resolver resolver = {
		.resolve = target_host,
		.arg = rc,
		.ids = (uint32_t)rc->n_virtual_hosts,
	};
	struct hosts hosts;
	int err;

	err = read_hosts(b, rc, scope->port, &hosts);
	if (err)
		return err;
	settle_ports(&hosts, scope->port);
	resolver.none = hosts.any;
	return target_rules(b, hosts.rules, hosts.n, scope, &resolver, old, target);
}

int build_route(struct batch *b, struct change *c, struct parts *old)
{
	static const struct scope all = {
		.last = { UINT64_MAX, UINT64_MAX, 65535 },
	};
	struct km_route *route;
	void *node;
	int err;

	err = batch_run(b, 1, &c->tree, &node);
	if (err)
		return err;
	route = node;
	err = target_virtual_hosts(b, (const Route__RouteConfiguration *)c->message, &all, old,
				   &route->target);
	return err ? err : batch_head(b, c, &route->head);
}
