/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the C store writes and a connect reads; see abi.h. */
#ifndef KMESH_MAPS_STORE_H
#define KMESH_MAPS_STORE_H

#include "bpf/slab.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, KM_MAX_LISTENERS);
	__type(key, struct km_addr);
	__type(value, __u32);
} km_listener SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, KM_MAX_LISTENERS);
	__type(key, __u32);
	__type(value, struct km_root);
} km_lroot SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, KM_MAX_CLUSTERS);
	__type(key, __u32);
	__type(value, struct km_root);
} km_cluster SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, KM_MAX_ROUTES);
	__type(key, __u32);
	__type(value, struct km_root);
} km_route SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct km_meta);
} km_meta SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 65536 / 64);
	__type(key, __u32);
	__type(value, struct km_ports);
} km_ports SEC(".maps");

#endif
