// SPDX-License-Identifier: Apache-2.0
/*
 * Figures of the store, one JSON object a line. Run it under "kmesh-node exec",
 * or with "own" first, which makes maps of its own for this run alone.
 *
 *   bench_store [own] init                      how long deserial_init takes
 *   bench_store [own] fill CLUSTERS ENDPOINTS   puts them in, in one batch
 *   bench_store [own] burst ENDPOINTS [BURSTS]  updates/s in bursts of 10 000
 *   bench_store [own] sustained ENDPOINTS SECONDS
 *   bench_store [own] all                       every figure of one kind in turn
 *
 * An update replaces a cluster by one with other addresses, all of them.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "bpf/abi.h"
#include "cluster/cluster.pb-c.h"
#include "deserial.h"

#define BURST 10000
#define NAMES 100

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int fail(const char *step)
{
	fprintf(stderr, "bench_store: %s: %s\n", step, deserial_error());
	return 1;
}

/* One cluster with room for its endpoints. */
struct subject {
	Cluster__Cluster cluster;
	Endpoint__ClusterLoadAssignment assignment;
	Endpoint__LocalityLbEndpoints locality, *localities;
	Endpoint__Endpoint *endpoints, **pointers;
	Core__SocketAddress *addresses;
	char name[64];
};

static int subject_init(struct subject *s, unsigned int i, size_t n, int variant)
{
	cluster__cluster__init(&s->cluster);
	endpoint__cluster_load_assignment__init(&s->assignment);
	endpoint__locality_lb_endpoints__init(&s->locality);
	s->endpoints = calloc(n, sizeof(*s->endpoints));
	s->pointers = calloc(n, sizeof(Endpoint__Endpoint *));
	s->addresses = calloc(n, sizeof(*s->addresses));
	if (!s->endpoints || !s->pointers || !s->addresses)
		return -ENOMEM;
	for (size_t j = 0; j < n; j++) {
		endpoint__endpoint__init(&s->endpoints[j]);
		core__socket_address__init(&s->addresses[j]);
		s->addresses[j].ipv4 = htonl(0x0a000001 + (uint32_t)j);
		s->addresses[j].port = htons((uint16_t)(8080 + variant));
		s->endpoints[j].address = &s->addresses[j];
		s->pointers[j] = &s->endpoints[j];
	}
	s->localities = &s->locality;
	s->locality.lb_endpoints = s->pointers;
	s->locality.n_lb_endpoints = n;
	s->assignment.endpoints = &s->localities;
	s->assignment.n_endpoints = 1;
	s->cluster.load_assignment = &s->assignment;
	snprintf(s->name, sizeof(s->name), "outbound|80||service-%05u.bench.svc.cluster.local", i);
	s->cluster.name = s->name;
	return 0;
}

static void subject_free(struct subject *s)
{
	free(s->endpoints);
	free(s->pointers);
	free(s->addresses);
}

static double cpu(void)
{
	struct rusage r;

	getrusage(RUSAGE_SELF, &r);
	return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
	       (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

static int print_stats(void)
{
	struct deserial_stats s;

	if (deserial_stats(&s))
		return fail("stats");
	printf("{\"figure\":\"stats\",\"generation\":%llu,\"slabs\":%llu,\"slots_used\":%llu,\"slots_free\":%llu,\"slots_pending\":%llu,\"clusters\":%llu,\"descriptors\":%u}\n",
	       (unsigned long long)s.generation, (unsigned long long)s.slabs.used,
	       (unsigned long long)s.slots.used, (unsigned long long)s.slots_free,
	       (unsigned long long)s.slots_pending, (unsigned long long)s.clusters.used,
	       s.descriptors);
	return 0;
}

/* 2 * NAMES subjects: variant 0 of each name, then variant 1. */
static struct subject *subjects(size_t endpoints)
{
	struct subject *all = calloc(2 * NAMES, sizeof(*all));

	for (unsigned int i = 0; all && i < 2 * NAMES; i++) {
		if (subject_init(&all[i], i % NAMES, endpoints, i >= NAMES)) {
			fprintf(stderr, "bench_store: no memory\n");
			exit(1);
		}
	}
	return all;
}

static void subjects_free(struct subject *all)
{
	for (unsigned int i = 0; i < 2 * NAMES; i++)
		subject_free(&all[i]);
	free(all);
}

static int update(struct subject *all, unsigned int i)
{
	struct subject *s = &all[i % (2 * NAMES)];

	return deserial_update_elem(s->name, &s->cluster);
}

static int burst(size_t endpoints, unsigned int bursts)
{
	struct subject *all = subjects(endpoints);
	int rc = 0;

	for (unsigned int b = 0; b < bursts && !rc; b++) {
		struct deserial_stats before = { 0 }, after = { 0 };
		double start, used, took;

		if (deserial_stats(&before))
			return fail("stats");
		used = cpu();
		start = now();

		for (unsigned int i = 0; i < BURST && !rc; i++) {
			if (update(all, i))
				rc = fail("update");
		}
		took = now() - start;
		used = cpu() - used;
		if (deserial_stats(&after))
			return fail("stats");
		printf("{\"figure\":\"burst\",\"endpoints\":%zu,\"burst\":%u,\"updates\":%d,\"per_second\":%.0f,\"cpu_us\":%.2f,\"waited_ms\":%.1f,\"slabs\":%llu}\n",
		       endpoints, b, BURST, BURST / took, used / BURST * 1e6,
		       (double)(after.waited_ns - before.waited_ns) / 1e6,
		       (unsigned long long)after.slabs.used);
	}
	subjects_free(all);
	return rc;
}

static int sustained(size_t endpoints, double seconds)
{
	struct subject *all = subjects(endpoints);
	double start = now(), used = cpu(), slowest = 0, took, last = start;
	struct deserial_stats stats = { 0 };
	unsigned int n = 0;
	int rc = 0;

	while (!rc && last - start < seconds) {
		double t;

		if (update(all, n++))
			rc = fail("update");
		t = now();
		if (t - last > slowest)
			slowest = t - last;
		last = t;
	}
	took = last - start;
	used = cpu() - used;
	if (deserial_stats(&stats))
		return fail("stats");
	printf("{\"figure\":\"sustained\",\"endpoints\":%zu,\"seconds\":%.2f,\"updates\":%u,\"per_second\":%.0f,\"cpu_share\":%.2f,\"waited_share\":%.3f,\"waits\":%llu,\"slowest_us\":%.0f}\n",
	       endpoints, took, n, n / took, used / took, (double)stats.waited_ns / 1e9 / took,
	       (unsigned long long)stats.waits, slowest * 1e6);
	subjects_free(all);
	return rc ? rc : print_stats();
}

static int fill(unsigned int clusters, size_t endpoints)
{
	struct subject *all = calloc(clusters, sizeof(*all));
	struct deserial_op *ops = calloc(clusters, sizeof(*ops));
	double start;
	int rc = 1;

	for (unsigned int i = 0; i < clusters; i++) {
		if (!all || !ops || subject_init(&all[i], i, endpoints, 0))
			goto out;
		ops[i].value = &all[i].cluster;
	}
	start = now();
	rc = deserial_update_batch(ops, clusters) ? fail("fill") : 0;
	printf("{\"figure\":\"fill\",\"clusters\":%u,\"endpoints\":%zu,\"us\":%.0f}\n", clusters,
	       endpoints, (now() - start) * 1e6);
out:
	for (unsigned int i = 0; all && i < clusters; i++)
		subject_free(&all[i]);
	free(all);
	free(ops);
	return rc ? rc : print_stats();
}

static int open_timed(void)
{
	double start = now();

	if (deserial_init())
		return fail("deserial_init");
	printf("{\"figure\":\"init\",\"us\":%.0f}\n", (now() - start) * 1e6);
	return 0;
}

static int own_map(const char *name, enum bpf_map_type type, unsigned int key, unsigned int value,
		   unsigned int entries, unsigned int flags, int inner)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = flags,
		    .inner_map_fd = inner > 0 ? (uint32_t)inner : 0);
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);
	char text[16];
	int fd = bpf_map_create(type, "bench", key, value, entries, &opts);

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len)) {
		fprintf(stderr, "bench_store: make map for %s: %s\n", name, strerror(errno));
		exit(1);
	}
	snprintf(text, sizeof(text), "%u", info.id);
	setenv(name, text, 1);
	return fd;
}

#define OWN_ARRAY(name, value, entries)                                                            \
	own_map(name, BPF_MAP_TYPE_ARRAY, 4, sizeof(struct value), entries, BPF_F_MMAPABLE, 0)

static void own_maps(void)
{
	int inner;

	own_map("Listener", BPF_MAP_TYPE_HASH, sizeof(struct km_addr), 4, KM_MAX_LISTENERS,
		BPF_F_NO_PREALLOC, 0);
	OWN_ARRAY("KMESH_LISTENER_ROOT", km_root, KM_MAX_LISTENERS);
	OWN_ARRAY("Cluster", km_root, KM_MAX_CLUSTERS);
	OWN_ARRAY("RouteConfiguration", km_root, KM_MAX_ROUTES);
	OWN_ARRAY("KMESH_META", km_meta, 1);
	OWN_ARRAY("KMESH_PORTS", km_ports, 1024);
	inner = own_map("INNER_MAP_ID", BPF_MAP_TYPE_ARRAY, 4, KM_SLOT_SIZE, KM_SLAB_SLOTS,
			BPF_F_MMAPABLE, 0);
	own_map("OUTTER_MAP_ID", BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, KM_SLABS, 0, inner);
}

/* Nobody else knows the maps: their lock goes with them. */
static void remove_own_lock(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/run/kmesh-node/store-%s.lock", getenv("KMESH_META"));
	if (unlink(path) && errno != ENOENT)
		fprintf(stderr, "bench_store: remove %s: %s\n", path, strerror(errno));
}

static int all(void)
{
	static const size_t endpoints[] = { 1, 10, 50 };
	int rc = 0;

	for (size_t i = 0; i < 3 && !rc; i++)
		rc = burst(endpoints[i], 10);
	for (size_t i = 0; i < 3 && !rc; i++)
		rc = sustained(endpoints[i], 10);
	return rc;
}

static int usage(void)
{
	fprintf(stderr,
		"usage: bench_store [own] init | fill CLUSTERS ENDPOINTS | burst ENDPOINTS [BURSTS] | sustained ENDPOINTS SECONDS | all\n");
	return 2;
}

int main(int argc, char **argv)
{
	const char *what;
	int rc;

	argc--, argv++;
	if (argc && !strcmp(*argv, "own")) {
		own_maps();
		atexit(remove_own_lock);
		argc--, argv++;
	}
	if (!argc)
		return usage();
	what = *argv;
	rc = open_timed();
	if (rc)
		return rc;
	if (!strcmp(what, "init"))
		rc = print_stats();
	else if (!strcmp(what, "fill") && argc == 3)
		rc = fill((unsigned int)atoi(argv[1]), (size_t)atoi(argv[2]));
	else if (!strcmp(what, "burst") && argc >= 2)
		rc = burst((size_t)atoi(argv[1]), argc > 2 ? (unsigned int)atoi(argv[2]) : 10);
	else if (!strcmp(what, "sustained") && argc == 3)
		rc = sustained((size_t)atoi(argv[1]), atof(argv[2]));
	else if (!strcmp(what, "all"))
		rc = all();
	else
		rc = usage();
	if (deserial_uninit(true) && !rc)
		rc = fail("deserial_uninit");
	/* The same maps once more, as another process would find them. */
	if (!rc && (!strcmp(what, "fill"))) {
		rc = open_timed();
		if (!rc && deserial_uninit(true))
			rc = fail("deserial_uninit");
	}
	return rc;
}
