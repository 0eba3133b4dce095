/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What crosses between the BPF programs, the C store and the loader, once.
 * BPF, C and cgo include this file. Fixed-width types, explicit padding; a
 * field is in host byte order unless its type is __be*.
 *
 * The store
 * ---------
 *   km_outer (ARRAY_OF_MAPS)          km_inner is slab 0
 *   +--------+--------+--   --+-------+
 *   | slab 0 | slab 1 |  ...  | spare |   a slab: ARRAY, KM_SLAB_SLOTS slots of
 *   +---|----+---|----+--   --+-------+   KM_SLOT_SIZE bytes, mmapable
 *
 * A handle is (slab << KM_SLAB_SHIFT) | slot; 0 is null (slot 0 of slab 0 is
 * never given out). A node is a run of slots that follow each other in one
 * slab, so slot i of a node with handle h is handle h + i.
 *
 * A root is the one mutable place of a tree. Its word is
 * (generation << KM_HANDLE_BITS) | handle, published with one 8-byte store.
 * A writer builds every new tree of a batch in fresh nodes, then for each root
 * stores prev = cur and cur = new word with generation G+1, and last of all
 * stores G+1 to km_meta.generation: that is the commit. A connect reads the
 * generation once, at entry, and takes of each root the word that is not
 * newer: all of a batch or nothing of it. If both words are newer (two
 * publications during one connect) the chain starts again.
 */
#ifndef KMESH_ABI_H
#define KMESH_ABI_H

#include <linux/types.h>

#define KM_ABI_VERSION 1
#define KM_ABI_GONE 0xffffffffu /* km_meta.abi: these maps gave way to others */

#define KM_SLOT_SIZE 64u
#define KM_SLAB_SHIFT 12u
#define KM_SLAB_SLOTS (1u << KM_SLAB_SHIFT)
#define KM_SLABS 4096u
#define KM_SPARE_SLAB (KM_SLABS - 1u) /* only updated to wait for readers */
#define KM_HANDLE_BITS 24u
#define KM_HANDLE_MASK ((1u << KM_HANDLE_BITS) - 1u)
#define KM_GENERATION_MAX ((1ull << (64u - KM_HANDLE_BITS)) - 1ull)

/* Roots: index 0 is null in each of the three root maps. */
#define KM_MAX_LISTENERS 10240u
#define KM_MAX_CLUSTERS 20480u /* existing or referred to */
#define KM_MAX_ROUTES 4096u
#define KM_MAX_NETNS 4096u
#define KM_MAX_NAME 1024u /* bytes of a resource's name */

struct km_root {
	__u64 cur;
	__u64 prev;
	__u32 name; /* handle of struct km_name; 0 for a listener */
	__u32 pad;
};

/* km_meta, one entry, written by the store alone. */
struct km_meta {
	__u64 generation; /* committed; 1 .. KM_GENERATION_MAX, 0 = nothing ever */
	__u32 abi;	  /* KM_ABI_VERSION, set by the first writer */
	__u32 slabs;	  /* slabs 0 .. slabs-1 are in km_outer */
	__u64 next_id;	  /* next km_endpoint.id to give out */
	__u64 writing;	  /* generation being published; 0: none. A writer that finds
			   * it set takes back what a crash left behind */
	__u64 entries;	  /* raised when km_listener or km_ports changed outside of a
			* commit: a writer that did not do it rebuilds */
	__u64 reserved[3];
};

enum km_manage { KM_MANAGE_ENROLLED = 0, KM_MANAGE_ALL = 1 };

/* km_config, one entry, written by the loader alone. */
struct km_config {
	__u32 manage;		   /* enum km_manage */
	__u32 control;		   /* control address answers: 0 or 1 */
	__u32 outlier_failures;	   /* failures in a row; 0: detection off */
	__u32 per_thread;	   /* results come by thread, not by socket */
	__u64 outlier_backoff;	   /* ns, the first one; doubles each time */
	__u64 outlier_backoff_max; /* ns */
	__u32 tick;		   /* ns of one jiffy */
	__u32 pad;
};

/* Key of km_listener. IPv4 as ::ffff:a.b.c.d; a wildcard has its family's
 * zero address (::ffff:0.0.0.0 or ::). Value: __u32 index in km_lroot.
 * The value is no snapshot: compare struct km_listener's key with one's own. */
struct km_addr {
	__be32 ip[4];
	__be16 port;
	__u16 protocol; /* 0 TCP, 1 UDP: UDP listeners are kept, never matched */
};

/* km_ports, index port >> 6 (host byte order), bit port & 63: is there any
 * listener of an exact / of a wildcard address on that port. */
struct km_ports {
	__u64 exact;
	__u64 wildcard;
};

enum km_kind { KM_LISTENER = 1, KM_CLUSTER = 2, KM_ROUTE = 3 };

/* Where a connection goes next: target kind and its argument. */
enum km_target_kind {
	KM_T_PASS = 0,	   /* leave the connection alone */
	KM_T_CLUSTER = 1,  /* index in km_cluster */
	KM_T_WEIGHTED = 2, /* handle of struct km_pick over cluster indexes */
	KM_T_ROUTE = 3,	   /* index in km_route */
	KM_T_RANGES = 4,   /* handle of struct km_ranges */
};

struct km_target {
	__u32 kind;
	__u32 arg;
};

/* First slot of every tree. */
struct km_head {
	__u32 kind; /* enum km_kind */
	__u32 root; /* index of the root that owns the tree */
	__u32 wire; /* handle of the first struct km_chunk: the message */
	__u32 wire_len;
};

struct km_listener {
	struct km_head head;
	struct km_addr addr;
	__u32 pad;
	struct km_target target; /* RANGES where filter chains must be chosen */
	__u32 reserved[4];
};

struct km_route {
	struct km_head head;
	struct km_target target; /* RANGES where the virtual host is by address */
	__u32 reserved[10];
};

enum km_lb { KM_ROUND_ROBIN = 0, KM_LEAST_REQUEST = 1, KM_RANDOM = 3 };

/* Group i of a cluster is one priority of one address family: n4 groups of
 * IPv4 in order of priority, then n6 of IPv6. groups[] runs on into the slots
 * that follow: group i is cell KM_CLUSTER_CELL0 + i of 16 cells a slot. */
#define KM_CLUSTER_CELL0 6u
#define KM_CELLS4 (KM_SLOT_SIZE / 4u)
#define KM_MAX_GROUPS 128u /* n4 + n6 */
struct km_cluster {
	struct km_head head;
	__u16 n4;
	__u16 n6;
	__u16 lb; /* enum km_lb */
	__u16 passthrough;
	__u32 groups[10]; /* handles of struct km_pick over endpoint handles */
};

/* A weighted choice. Entry i is cell KM_PICK_CELL0 + i of 8 cells a slot, so up
 * to 6 entries live in the first slot. Cumulative weights rise strictly;
 * the last one is total. Position p in [0,total) selects the first entry with
 * cum > p. With all weights equal total == n and entry p is the answer.
 * Round robin takes p = (count * step) % total, step coprime to total: exact
 * over each period of total, and well spread within it. */
#define KM_PICK_CELL0 2u
#define KM_CELLS8 (KM_SLOT_SIZE / 8u)
#define KM_MAX_PICK 16384u
struct km_entry {
	__u32 cum;
	__u32 arg; /* cluster index, or handle of struct km_endpoint */
};
struct km_pick {
	__u32 n;
	__u32 total;
	__u32 step;
	__u32 counter; /* index of the round-robin counter; 0: not taken in turn */
	struct km_entry entries[6];
};

/* Round-robin counters: km_counter is PERCPU_ARRAY; counter c is word c & 63 of
 * element c >> 6. They outlive trees, else each push would start at the first. */
#define KM_COUNTERS_PER_ELEM 64u
#define KM_MAX_COUNTERS 32768u
struct km_counters {
	__u64 count[KM_COUNTERS_PER_ELEM];
};

/* A map from (address, port) to target as disjoint intervals: entry i begins at
 * its key and ends before entry i+1's. Entry 0 begins at zero. Keys are in host
 * byte order so that they compare as numbers: hi and lo are the two halves of
 * the 16-byte address (IPv4 as ::ffff:a.b.c.d), then the port.
 * Header slot, then two entries a slot. */
#define KM_MAX_RANGES 8190u
struct km_ranges {
	__u32 n;
	__u32 reserved[15];
};
struct km_range {
	__u64 hi;
	__u64 lo;
	__u32 port;
	__u32 pad;
	struct km_target target;
};

#define KM_ENDPOINT_ID (1u << 31)

/* An endpoint of one cluster: two slots, alive as long as the cluster has that
 * address, so that counters survive a push. The first is read by connect. */
struct km_endpoint {
	__be32 ip[4]; /* IPv4 as ::ffff:a.b.c.d */
	__be16 port;
	__u8 family;	     /* 4 or 6 */
	__u8 level;	     /* of the back-off: times ejected in a row */
	__u32 id;	     /* tags km_conn. From KM_ENDPOINT_ID up, as no other word in
			      * this place of a slot is; given out anew after 2^31 */
	__u64 ejected_until; /* ktime, ns; 0: healthy */
	__u32 active;	     /* connections open, LEAST_REQUEST only */
	__u32 fails;	     /* in a row */
	__u32 cluster;	     /* index of the owner */
	__u32 weight;	     /* as configured: endpoint's share in its group */
	__u32 ejections;     /* connects begun before the last one do not count */
	__u32 pad;
	__u64 reserved;
};
struct km_endpoint_stats { /* slot 1 */
	__u64 ok;
	__u64 latency_ns; /* sum over ok */
	__u64 latency_max_ns;
	__u64 refused;
	__u64 timeouts;
	__u64 errors; /* any other result, unreachable for one */
	__u64 ejections;
	__u64 reserved;
};

/* The message as it came, in protobuf's wire format, for get and restore. */
struct km_chunk {
	__u32 next;    /* handle, 0 at the end */
	__u32 len;     /* bytes of data in this chunk */
	__u8 data[56]; /* runs on into the slots that follow */
};

struct km_name {
	__u32 len;
	__u8 data[60]; /* runs on; no terminating zero */
};

/* km_conn: where a connection that is being opened, or is counted, was sent.
 * Bucket cookie & (KM_CONN_BUCKETS - 1), KM_CONN_WAYS ways, tagged by cookie. */
#define KM_CONN_BUCKETS 4096u
#define KM_CONN_WAYS 4u
enum km_conn_flags {
	KM_CONN_COUNT = 1,   /* to be counted while open */
	KM_CONN_COUNTED = 2, /* is counted in km_endpoint.active */
};
struct km_conn {
	__u64 cookie;	 /* of the socket; 0: free */
	__u64 since;	 /* of connect: jiffies; in a thread's record ktime, ns */
	__u32 endpoint;	 /* handle */
	__u32 id;	 /* km_endpoint.id at that time */
	__u32 flags;	 /* enum km_conn_flags */
	__u32 ejections; /* km_endpoint.ejections at that time */
};
struct km_conns {
	struct km_conn way[KM_CONN_WAYS];
};

/* km_netns: key __u64 netns cookie. What is in it is enrolled.
 * km_netns_slot answers most lookups without hashing: the slot of a cookie
 * is 0 when no cookie of that slot is enrolled, the cookie itself when that one
 * is, anything else when km_netns must be asked. A writer adds to km_netns and
 * then makes a slot that is 0 the cookie; it deletes from km_netns and
 * makes the slot 0 unless km_netns has another cookie of that slot, and looks
 * once more after that. */
#define KM_NETNS_SLOT_SHIFT 52u
#define KM_NETNS_SLOTS (1u << (64u - KM_NETNS_SLOT_SHIFT))
#define KM_NETNS_SLOT(cookie) ((__u32)((cookie) * 0x9e3779b97f4a7c15ull >> KM_NETNS_SLOT_SHIFT))
#define KM_NETNS_ASK (~0ull)
/* A namespace with flags has KM_NETNS_ASK in its slot, so that they are read. */
#define KM_NETNS_WAYPOINT 1u /* its pod serves as waypoint: workload mode */
#define KM_NETNS_ADDRS 8u
struct km_netns {
	__u64 since; /* ktime, ns */
	__u32 flags;
	__u32 n;		      /* addresses of its devices that are in ip[] */
	__be32 ip[KM_NETNS_ADDRS][4]; /* workload mode; IPv4 as ::ffff:a.b.c.d */
};

/* km_own: sockets of kmesh-node itself (key: socket cookie, value __u32 1),
 * left alone under KM_MANAGE_ALL. */
#define KM_MAX_OWN 256u

/* Control address: connect to 0.0.0.2 or ::2 from inside a network namespace.
 * The answer is EPERM when it was done; any other result means it was not. */
#define KM_CONTROL_HOST 2u
#define KM_CONTROL_ENROLL 929u
#define KM_CONTROL_LEAVE 930u

/* km_stats, PERCPU_ARRAY, one entry: what should be rare. */
struct km_stats {
	__u64 restarts;	   /* a chain began again: overtaken or preempted */
	__u64 overtaken;   /* gave up restarting: took the newest of each root */
	__u64 uncounted;   /* no free way in km_conn: not counted, no result */
	__u64 all_ejected; /* every endpoint ejected: used one all the same */
};

/* km_log: RINGBUF of struct km_log_entry, what the data plane tells of single connects and
 * packets; nobody is woken for it. km_watch: ARRAY, one entry, mmapable: who watches. Where
 * nobody does, these words are all that is read. Who does prolongs his time, so that one that
 * was killed costs nothing soon. Times are CLOCK_MONOTONIC, ns; 0: no, and no clock is read. */
#define KM_LOG_BYTES (64u << 10)
enum km_log_level { KM_LOG_OFF = 0, KM_LOG_ERROR = 1, KM_LOG_INFO = 2, KM_LOG_DEBUG = 3 };
struct km_watch {
	__u64 level;	   /* enum km_log_level */
	__u64 lost;	   /* entries that found no room in km_log */
	__u64 level_until; /* level is off after that */
	__u64 count_until; /* workload mode: count connects by service until then */
	__u64 reserved[4];
};
enum km_log_what {
	/* error; what arg is comes first */
	KM_LOG_NO_ENDPOINT = 1, /* target: has no endpoint of this family: as asked */
	KM_LOG_ALL_EJECTED = 2, /* target: every endpoint is ejected: took one all the same */
	KM_LOG_UNCOUNTED = 3,	/* target: no room to remember it: its result is not counted */
	KM_LOG_UNSEALED = 4,	/* changed all the while: as asked, or the packet was dropped */
	KM_LOG_NO_WAYPOINT = 5, /* target: no room for the metadata: as asked */
	KM_LOG_UNPARSED = 6,	/* a packet that hides TCP's header was dropped */
	/* info */
	KM_LOG_SENT = 16,	   /* target: to dst instead of orig */
	KM_LOG_SENT_WAYPOINT = 17, /* target: to the waypoint at dst */
	KM_LOG_DENIED = 18,	   /* policy: a packet from orig to dst */
	/* debug: why a connect was left alone */
	KM_LOG_UNMANAGED = 32,	 /* its network namespace is not enrolled */
	KM_LOG_PROTOCOL = 33,	 /* IP protocol: is not TCP */
	KM_LOG_NO_LISTENER = 34, /* nothing is configured for its destination */
	KM_LOG_NO_ROUTE = 35,	 /* the listener's chains lead nowhere */
	KM_LOG_PASSTHROUGH = 36, /* target: is one that is passed through */
};
/* A target is an index of km_cluster in ads mode, a resource's number in workload mode. */
struct km_log_entry {
	__u64 time;  /* ktime, ns */
	__u64 netns; /* cookie; 0 of packets */
	__u32 pid;   /* thread group of the connect; 0 of packets */
	__u16 what;  /* enum km_log_what */
	__be16 orig_port;
	__be32 orig[4]; /* as asked; of packets the source. IPv4 as ::ffff:a.b.c.d */
	__be32 dst[4];	/* where it was sent; zero where it was not */
	__be16 dst_port;
	__u16 level; /* enum km_log_level */
	__u32 arg;
};

/* Tail calls, index in km_tail4 and km_tail6. */
enum km_tail {
	KM_TAIL_RESTART = 0,
	KM_TAIL_FILTER_CHAIN = 1,
	KM_TAIL_FILTER = 2,
	KM_TAIL_ROUTE_CONFIG = 3,
	KM_TAIL_CLUSTER = 4,
	KM_TAIL_SEARCH = 5,
	KM_TAILS = 6,
};

#define KM_ASSERT_SLOT(t) _Static_assert(sizeof(struct t) == KM_SLOT_SIZE, #t " is one slot")
KM_ASSERT_SLOT(km_listener);
KM_ASSERT_SLOT(km_route);
KM_ASSERT_SLOT(km_cluster);
KM_ASSERT_SLOT(km_pick);
KM_ASSERT_SLOT(km_ranges);
KM_ASSERT_SLOT(km_endpoint);
KM_ASSERT_SLOT(km_endpoint_stats);
KM_ASSERT_SLOT(km_chunk);
KM_ASSERT_SLOT(km_name);
KM_ASSERT_SLOT(km_meta);
_Static_assert(sizeof(struct km_range) * 2 == KM_SLOT_SIZE, "two ranges a slot");
_Static_assert(sizeof(struct km_root) == 24, "km_root");
_Static_assert(sizeof(struct km_addr) == 20, "km_addr");
_Static_assert(sizeof(struct km_conn) == 32, "km_conn");
_Static_assert(sizeof(struct km_config) == 40, "km_config");
_Static_assert(sizeof(struct km_watch) == 64, "km_watch");
_Static_assert(sizeof(struct km_log_entry) == 64, "km_log_entry");

#endif
