/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What crosses between the programs of workload mode and user space, once; what
 * both modes share is in abi.h. Fixed-width types, explicit padding; a field is
 * in host byte order unless its type is __be*. IPv4 is ::ffff:a.b.c.d.
 *
 * Connect
 * -------
 *   km_frontend  (address, port) -> struct kw_frontend     HASH
 *   km_block     (set, position / 8) -> struct kw_block    HASH
 *
 * A set of endpoints never changes: a writer puts the blocks of a new set under
 * an id that was never used, then the frontend that names it, waits until no
 * connect can still hold the old frontend, and only then removes the old blocks.
 * So a connect that reads one frontend sees one whole set.
 *
 * A value of a HASH is no snapshot: its memory may become another key's while it
 * is read. So values that hold more than one word end in a seal over key and
 * value. What does not open is looked up again.
 *
 * Authorization
 * -------------
 *   km_peer    address -> struct kw_peer: whose it is          HASH
 *   km_policy  two images of all policies, one in use          ARRAY, mmapable
 *   km_pstate  which one, and the generation of verdicts       ARRAY, mmapable
 *
 * Policies are compiled to rows: a row is a conjunction of five conditions, one
 * for each enum kw_dim, and belongs to one policy. Rows of DENY policies come
 * first. What a packet is in one dimension names a vector: bit r says
 * whether row r's condition holds. The first row that all five hold decides.
 * An image is written whole into the half that is not in use, then km_pstate.word
 * is stored: a packet sees one image or the other.
 */
#ifndef KMESH_WORKLOAD_H
#define KMESH_WORKLOAD_H

#include "bpf/abi.h"

#define KW_ABI_VERSION 1

#define KW_WORKLOADS 32768u /* room for, unless the loader was told otherwise: --workloads */
#define KW_MAX_FRONTENDS KW_WORKLOADS
#define KW_MAX_BLOCKS (KW_WORKLOADS / 2)
#define KW_MAX_PEERS KW_WORKLOADS
#define KW_MAX_CHUNKS KW_WORKLOADS
#define KW_MAX_COUNTERS 8192u		 /* struct km_counters as in abi.h; 0 is none: at random */
#define KW_MAX_SOCKS 16384u		 /* connections to waypoints, until they write */
#define KW_MAX_DENIED (KW_WORKLOADS / 4) /* policies whose denials are counted */

/* A seal over n 64-bit words, each xor its place's constant, multiplied in turn.
 * User space and programs compute the same. */
#define KW_SEAL_START 0x6b6d6573686e6f64ull
#define KW_SEAL_PRIME 0x9e3779b97f4a7c15ull
#define KW_SEAL_STEP(s, w) ((((s) ^ (w)) * KW_SEAL_PRIME) ^ (((s) ^ (w)) >> 29))

/* An address as the two words that a seal is taken over: as they lie in memory. */
union kw_ip {
	__be32 w[4];
	__u64 d[2];
};

/* One set of endpoints. Take p = (count * step) % (n * total), step coprime to
 * n * total: position p / total, and p % total decides between the position's own
 * endpoint and its alias. Over n * total connects the shares are exact. All
 * weights equal: total is 1. n 0: no endpoints. */
struct kw_set {
	__u32 id;
	__u32 n;
	__u32 total;
	__u32 counter; /* index of the round-robin counter; 0: at random */
	__u64 step;
};

enum kw_frontend_flags {
	KW_F_SERVICE = 1,  /* resource is a Service; else a Workload */
	KW_F_WAYPOINT = 2, /* via.n is not 0 */
};

/* km_frontend. Key: struct km_addr, protocol 0; port 0: every port of a workload's
 * address. via is taken, with the metadata in front of the first bytes, unless the
 * connecting pod is a waypoint; then direct. direct.n 0: as asked.
 * seal over: kw_ip of the key (2 words), the key's port, then the seven words of
 * the value before seal, in the order of memory. */
struct kw_frontend {
	struct kw_set direct;
	struct kw_set via;
	__u32 resource; /* id, for events */
	__u32 flags;
	__u64 seal;
};

/* km_block. Key: struct kw_block_key. Position p is at[p & 7] of block p >> 3. */
#define KW_BLOCK 8u
struct kw_block_key {
	__u32 set;
	__u32 block;
};
struct kw_endpoint {
	union kw_ip ip;
	__be16 port;
	__u16 pad;
	__u32 cut;	/* p % total below it: this endpoint; else the one at alias */
	__u32 alias;	/* position */
	__u32 workload; /* resource id */
};
struct kw_block {
	struct kw_endpoint at[KW_BLOCK];
};

/* km_peer. Key: union kw_ip. seal over: key (2 words), then the two words of the
 * value before seal. */
enum kw_peer_flags {
	KW_PEER_NODE = 1,     /* an address of this node itself */
	KW_PEER_WAYPOINT = 2, /* of a workload that serves as waypoint */
	KW_PEER_WORKLOAD = 4, /* a workload of this address is known: pset is its own */
};
struct kw_peer {
	__u32 identity; /* index in the image's table; 0: none (unknown, or the node) */
	__u32 pset;	/* index in the image's table of policy sets; 0: of unknown pods */
	__u32 flags;
	__u32 workload; /* resource id, 0 where many share the address */
	__u64 seal;
};

/* km_pstate, one entry. word = generation << 1 | half. Verdicts in km_flow are of
 * one generation; it is raised when an image or a peer changed. Slot i of half h is
 * element (h << half_shift) + i of km_policy. What follows word is the loader's. */
struct kw_pstate {
	__u64 word;
	__u32 half_shift;
	__u32 exempt;  /* the node's own addresses are not judged: 0 or 1 */
	__u32 native;  /* xdpauth runs in drivers: checksums that it sends have to be whole */
	__u32 retired; /* gave way to another km_pstate: a writer that has this one begins anew */
	__u64 reserved[5];
};
#define KW_POLICY_SLOTS 4096u /* of one half, unless the loader was told otherwise */

enum kw_dim { KW_D_PSET, KW_D_IDENTITY, KW_D_SOURCE, KW_D_PORT, KW_D_DEST, KW_DIMS };

/* Slot 0 of an image; every offset counts slots from there. A half whose abi is 0
 * holds no image: everything is allowed. */
struct kw_image {
	__u32 abi;
	__u32 rows;  /* 1 .. KW_MAX_ROWS; 0: no policy */
	__u32 deny;  /* rows below are of DENY policies */
	__u32 dims;  /* bit d: some row has a condition in dimension d; others are skipped */
	__u32 psets; /* offset: struct kw_pset, 8 a slot */
	__u32 n_psets;
	__u32 identities;   /* offset: __u32 offset of a vector, 16 a slot */
	__u32 n_identities; /* one past the last; what is not below it is as 0 */
	__u32 sources;	    /* offset: struct kw_range, 2 a slot, n_sources of them */
	__u32 n_sources;
	__u32 dests;
	__u32 n_dests;
	__u32 ports; /* offset: slots of 8 struct kw_port, port_mask + 1 of them, 2^k */
	__u32 port_mask;
	__u32 policies; /* offset: __u32 policy id of each row, 16 a slot */
	__u32 defaults; /* offset: KW_DIMS words __u32: vector of dimension d that others
			  * leave out slots of */
};

#define KW_PSET_ALLOW 1u /* an ALLOW policy applies: what no row allows is denied */
struct kw_pset {
	__u32 vector;
	__u32 flags;
};

/* Intervals as struct km_range: entry i begins at its key and ends before entry
 * i + 1's; entry 0 begins at zero. Host byte order. */
struct kw_range {
	__u64 hi;
	__u64 lo;
	__u32 vector;
	__u32 pad[3];
};
#define KW_MAX_KRANGES 65536u

/* Port p is in slot KW_PORT_SLOT(p) & port_mask, among its 8 cells; a port that is
 * not there has the default vector. An unused cell has vector 0. */
#define KW_PORT_SLOT(p) (((__u32)(p) * 0x9e3779b1u) >> 16)
#define KW_PORT_CELLS 8u
struct kw_port {
	__u32 port; /* host byte order */
	__u32 vector;
};

/* A vector: a head, then the row slots that it has itself, in rising order. Row slot
 * k holds rows k * 512 .. k * 512 + 511: row r is bit r & 63 of word (r >> 6) & 7.
 * Where own lacks bit k, row slot k is the default vector's; a default
 * vector has all of its slots itself. */
#define KW_ROWS_SLOT 512u
#define KW_MAX_ROW_SLOTS 64u
#define KW_MAX_ROWS (KW_ROWS_SLOT * KW_MAX_ROW_SLOTS)
struct kw_vector {
	__u64 nonempty; /* bit k: row slot k has a bit set */
	__u64 own;	/* bit k: row slot k is at head + 1 + number of lower bits in own */
	__u64 pad[6];
};

/* km_flow: verdicts, ARRAY of 2^n entries, two ways at 2i and 2i + 1. Losing an entry
 * costs a new judgement and nothing else. seal over all words before it. */
enum kw_verdict {
	KW_V_ALLOW = 1,
	KW_V_DENY = 2,
	KW_V_TOLD = 3 /* DENY, and the pod's socket was reset */
};
struct kw_flow {
	union kw_ip src;
	union kw_ip dst;
	__be16 sport;
	__be16 dport;
	__u32 pad2;
	__u64 verdict; /* generation << 2 | enum kw_verdict */
	__u64 seal;
	__u64 pad;
};
#define KW_FLOWS 65536u /* unless the loader was told otherwise */

/* km_denied. Key: __u32 policy id (0: no ALLOW policy matched), value __u64 count. The
 * writer makes an entry for each policy, as far as there is room. */

/* km_wstats, PERCPU_ARRAY, one entry: what should be rare. */
struct kw_stats {
	__u64 reread;	   /* a seal did not open, and was looked up again */
	__u64 unsealed;	   /* gave up: the connection went as asked, the packet was dropped */
	__u64 no_waypoint; /* connections that should carry metadata and cannot: no room in km_sock */
	__u64 early_data; /* data was under way before the metadata (TCP fast open) */
	__u64 silent;	  /* connections to a waypoint that closed before the client had written:
			   * a protocol in which the server speaks first */
	__u64 unparsed;	  /* packets dropped: fragments or headers that hide TCP's header */
	__u64 lost_events;
	__u64 exempted; /* first packets from the node's own addresses, let in unjudged */
};

/* km_msg: sk_storage of a connection that goes to a waypoint: where it was going. */
struct kw_msg {
	union kw_ip ip;
	__be16 port;
	__u8 family;	      /* 4 or 6 */
	__u8 done;	      /* the metadata was put in front */
	__be16 waypoint_port; /* that it was sent to */
	__u16 pad;
};
#define KW_METADATA4 16u /* bytes of metadata, by family */
#define KW_METADATA6 28u

/* km_track: connections that events are about, ARRAY, bucket socket cookie &
 * (KW_TRACK_BUCKETS - 1), tagged by cookie; kept only while somebody reads events.
 * Of every connect of a managed pod; without a frontend resource is 0 and orig is
 * where it goes. */
#define KW_TRACK_BUCKETS 1024u
#define KW_TRACK_WAYS 4u
struct kw_track {
	__u64 cookie; /* of the socket; 0: free */
	__u64 since;  /* ktime, ns */
	__u64 netns;  /* cookie of the pod's namespace */
	union kw_ip orig;
	__be16 orig_port;
	__u16 flags; /* enum kw_frontend_flags */
	__u32 resource;
};
struct kw_tracks {
	struct kw_track way[KW_TRACK_WAYS];
};

/* km_served. Key: __u32 number of a Service, value struct kw_served. The writer makes an
 * entry for each service, as for km_denied: what connects of this node's pods came to. */
#define KW_MAX_SERVED (KW_WORKLOADS / 2)
struct kw_served {
	__u64 ok;
	__u64 latency_ns; /* sum over ok */
	__u64 refused;
	__u64 timeouts;
	__u64 errors; /* any other result, unreachable for one */
};

/* km_opening: to which service connections go that are being opened, ARRAY, bucket socket
 * cookie & (KW_OPENING_BUCKETS - 1), tagged by cookie. The oldest one of a bucket gives
 * way: then its result is not counted. */
#define KW_OPENING_BUCKETS 2048u
#define KW_OPENING_WAYS 4u
struct kw_opening {
	__u64 cookie; /* of the socket; 0: free */
	__u32 since;  /* of connect: jiffies, the lower half */
	__u32 resource;
};
struct kw_openings {
	struct kw_opening way[KW_OPENING_WAYS];
};

/* km_event: RINGBUF of struct kw_event. Whoever reads looks in every now and then: it is
 * woken only when a quarter of the ring is full or more, for waking it costs a connection
 * more than all the rest. km_reader: ARRAY, one entry, mmapable: until when
 * events are wanted. A reader renews it, so that one that was killed costs nothing soon. */
#define KW_EVENT_BYTES (256u << 10)
struct kw_reader {
	__u64 until; /* CLOCK_MONOTONIC, ns; 0: nobody reads, and no clock is read either */
	__u64 reserved[7];
};
enum kw_event_type {
	KW_E_OPENED = 1,
	KW_E_CLOSED = 2,
	KW_E_REFUSED = 3,
	KW_E_TIMEDOUT = 4,
	KW_E_DENIED = 5,
	KW_E_FAILED = 6 /* any other end of a connect: unreachable, given up, not permitted */
};
struct kw_event {
	__u64 time;  /* ktime, ns */
	__u64 netns; /* cookie; 0 for DENIED */
	union kw_ip src;
	union kw_ip dst;  /* the endpoint */
	union kw_ip orig; /* as the application asked */
	__be16 sport;
	__be16 dport;
	__be16 orig_port;
	__u16 type;
	__u32 resource; /* of the frontend; 0: none, and for DENIED */
	__u32 policy;	/* DENIED: 0: no ALLOW policy matched. FAILED: errno, 0: given up */
	__u64 sent;	/* CLOSED: bytes */
	__u64 received;
	__u64 duration; /* OPENED: of the connect; else ns since connect */
	__u32 rtt;	/* CLOSED: smoothed, us */
	__u32 flags;	/* enum kw_frontend_flags */
};

/* km_node, ARRAY, one entry: the loader's settings that programs and the writer read. Strings
 * end in a zero. */
#define KW_NAME 256u
struct kw_node {
	__be16 waypoint_port;
	__u16 pad[3];
	char name[KW_NAME];				       /* --node-name */
	char region[KW_NAME], zone[KW_NAME], subzone[KW_NAME]; /* --locality; empty: found out */
};

/*
 * km_res: the messages as they came, for get and for the next writer. Not read by programs.
 * A resource of one publication is an id that was never used; chunk 0.. of
 * its message, each up to KW_CHUNK_DATA bytes. What is valid: of each name the entry of the
 * highest generation that is not above kw_meta.generation; a tombstone removes.
 */
#define KW_CHUNK_DATA 424u
struct kw_chunk_key {
	__u32 id;
	__u32 index;
};
enum kw_kind { KW_WORKLOAD = 1, KW_SERVICE = 2, KW_POLICY = 3 };
struct kw_chunk {
	__u64 generation;
	__u32 total;	 /* bytes of the whole message */
	__u16 kind;	 /* enum kw_kind */
	__u16 tombstone; /* the data is the resource's name */
	__u32 tag;	 /* writer's own: the stable number of the resource, 0: none */
	__u32 pad;
	__u64 pad2;
	__u8 data[KW_CHUNK_DATA];
};

/* km_wmeta, ARRAY, one entry, mmapable; the writer's. */
struct kw_meta {
	__u64 generation; /* committed; 0: nothing ever */
	__u32 abi;	  /* KW_ABI_VERSION, set by the first writer */
	__u32 next_set;	  /* next id of a set, from 1 */
	__u32 next_resource;
	__u32 pad;
	__u64 writing;	/* generation being published, 0: none: what follows from the
			* messages is made anew by a writer that finds it set */
	__u64 any_port; /* frontends of port 0; raised before one is added, and lowered after
			 * it is gone: while it is 0 a connect does not look for one */
	__u64 view;	/* the writer's own: for which place of the node peers were derived */
	__u64 leaving;	/* not 0: a program run may be using what the last publication gave up */
	__u64 reserved;
};

_Static_assert(sizeof(struct kw_set) == 24, "kw_set");
_Static_assert(sizeof(struct kw_frontend) == 64, "kw_frontend");
_Static_assert(sizeof(struct kw_endpoint) == 32, "kw_endpoint");
_Static_assert(sizeof(struct kw_block) == 256, "kw_block");
_Static_assert(sizeof(struct kw_peer) == 24, "kw_peer");
_Static_assert(sizeof(struct kw_pstate) == 64, "kw_pstate");
_Static_assert(sizeof(struct kw_image) == 64, "kw_image");
_Static_assert(sizeof(struct kw_range) == 32, "kw_range");
_Static_assert(sizeof(struct kw_vector) == 64, "kw_vector");
_Static_assert(sizeof(struct kw_flow) == 64, "kw_flow");
_Static_assert(sizeof(struct kw_track) == 48, "kw_track");
_Static_assert(sizeof(struct kw_openings) == 64, "kw_openings");
_Static_assert(sizeof(struct kw_chunk) == 456, "kw_chunk");

#endif
