// SPDX-License-Identifier: Apache-2.0
/*
 * A C program that knows the store by its environment alone. Run it under
 * "kmesh-node exec":
 *
 *   handoff set-cluster NAME ADDRESS:PORT...
 *   handoff get-cluster NAME
 *   handoff delete-cluster NAME
 *   handoff list
 *   handoff push NAME COUNT ADDRESS:PORT...   the odd and the even ones in turn
 *
 * It exits 0, or 1 with one line on stderr, or 2 when it is called wrongly.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/cluster.pb-c.h"
#include "deserial.h"
#include "listener/listener.pb-c.h"
#include "route/route.pb-c.h"

static int fail(const char *step)
{
	fprintf(stderr, "handoff: %s: %s\n", step, deserial_error());
	return 1;
}

/* a.b.c.d:port or [x:y::z]:port. */
static bool parse(const char *text, Core__SocketAddress *address, uint8_t ip[16])
{
	const char *colon = strrchr(text, ':');
	char host[64];
	size_t len;

	core__socket_address__init(address);
	if (!colon)
		return false;
	address->port = htons((uint16_t)atoi(colon + 1));
	len = (size_t)(colon - text);
	if (*text == '[' && len > 2) {
		text++;
		len -= 2;
	}
	if (len >= sizeof(host))
		return false;
	memcpy(host, text, len);
	host[len] = 0;
	if (inet_pton(AF_INET, host, &address->ipv4) == 1)
		return true;
	address->ipv6.data = ip;
	address->ipv6.len = 16;
	return inet_pton(AF_INET6, host, ip) == 1;
}

struct endpoint {
	Endpoint__Endpoint message;
	Core__SocketAddress address;
	uint8_t ip[16];
};

/* Stores the cluster with every step'th address. */
static int set_cluster(char *name, char **addresses, int n, int first, int step)
{
	Cluster__Cluster cluster = CLUSTER__CLUSTER__INIT;
	Endpoint__ClusterLoadAssignment assignment = ENDPOINT__CLUSTER_LOAD_ASSIGNMENT__INIT;
	Endpoint__LocalityLbEndpoints locality = ENDPOINT__LOCALITY_LB_ENDPOINTS__INIT;
	Endpoint__LocalityLbEndpoints *localities = &locality;
	struct endpoint *endpoints = calloc((size_t)n + 1, sizeof(*endpoints));
	Endpoint__Endpoint **pointers = calloc((size_t)n + 1, sizeof(Endpoint__Endpoint *));
	int rc = 1;

	if (!endpoints || !pointers)
		goto out;
	for (int i = first; i < n; i += step) {
		struct endpoint *e = &endpoints[i];

		endpoint__endpoint__init(&e->message);
		if (!parse(addresses[i], &e->address, e->ip)) {
			fprintf(stderr, "handoff: \"%s\" is no address\n", addresses[i]);
			rc = 2;
			goto out;
		}
		e->message.address = &e->address;
		pointers[locality.n_lb_endpoints++] = &e->message;
	}
	locality.lb_endpoints = pointers;
	assignment.endpoints = &localities;
	assignment.n_endpoints = 1;
	cluster.name = name;
	cluster.load_assignment = &assignment;
	rc = deserial_update_elem(name, &cluster) ? fail("set-cluster") : 0;
out:
	free(endpoints);
	free(pointers);
	return rc;
}

static int push(char *name, int count, char **addresses, int n)
{
	int rc = 0;

	for (int i = 0; i < count && !rc; i++)
		rc = set_cluster(name, addresses, n, n > 1 ? i % 2 : 0, n > 1 ? 2 : 1);
	return rc;
}

static void print_address(const Core__SocketAddress *a)
{
	char ip[INET6_ADDRSTRLEN] = "?";

	if (a->ipv6.len == 16) {
		inet_ntop(AF_INET6, a->ipv6.data, ip, sizeof(ip));
		printf("[%s]:%u\n", ip, ntohs((uint16_t)a->port));
	} else {
		inet_ntop(AF_INET, &a->ipv4, ip, sizeof(ip));
		printf("%s:%u\n", ip, ntohs((uint16_t)a->port));
	}
}

static int get_cluster(const char *name)
{
	Cluster__Cluster *cluster = deserial_lookup_elem(name, &cluster__cluster__descriptor);
	const Endpoint__ClusterLoadAssignment *a;

	if (!cluster)
		return fail("get-cluster");
	a = cluster->load_assignment;
	for (size_t i = 0; a && i < a->n_endpoints; i++) {
		for (size_t j = 0; j < a->endpoints[i]->n_lb_endpoints; j++)
			print_address(a->endpoints[i]->lb_endpoints[j]->address);
	}
	deserial_free_elem(cluster);
	return 0;
}

static int list(void)
{
	const ProtobufCMessageDescriptor *kinds[] = {
		&cluster__cluster__descriptor,
		&listener__listener__descriptor,
		&route__route_configuration__descriptor,
	};

	for (size_t i = 0; i < 3; i++) {
		struct element_list_node *head = deserial_lookup_all_elems(kinds[i]);

		if (!head && errno)
			return fail("list");
		for (struct element_list_node *n = head; n; n = n->next) {
			const char *name = i == 0   ? ((Cluster__Cluster *)n->elem)->name
					   : i == 1 ? ((Listener__Listener *)n->elem)->name
						    : ((Route__RouteConfiguration *)n->elem)->name;

			printf("%s %s\n", kinds[i]->short_name, name);
		}
		deserial_free_elem_list(head);
	}
	return 0;
}

static int run(int argc, char **argv)
{
	if (argc >= 3 && !strcmp(argv[1], "set-cluster"))
		return set_cluster(argv[2], argv + 3, argc - 3, 0, 1);
	if (argc >= 5 && !strcmp(argv[1], "push"))
		return push(argv[2], atoi(argv[3]), argv + 4, argc - 4);
	if (argc == 3 && !strcmp(argv[1], "get-cluster"))
		return get_cluster(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "delete-cluster"))
		return deserial_delete_elem(argv[2], &cluster__cluster__descriptor)
			       ? fail("delete-cluster")
			       : 0;
	if (argc == 2 && !strcmp(argv[1], "list"))
		return list();
	fprintf(stderr,
		"usage: handoff set-cluster NAME ADDRESS:PORT... | get-cluster NAME | delete-cluster NAME | list | push NAME COUNT ADDRESS:PORT...\n");
	return 2;
}

int main(int argc, char **argv)
{
	int rc;

	if (deserial_init())
		return fail("deserial_init");
	rc = run(argc, argv);
	if (deserial_uninit(true) && !rc)
		rc = fail("deserial_uninit");
	return rc;
}
