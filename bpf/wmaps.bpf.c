// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Every map of workload mode, and no program: as maps.bpf.c for ads mode. */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include "bpf/enrol.h"
#include "bpf/maps_watch.h"
#include "bpf/track.h"
#include "bpf/wmaps_auth.h"
#include "bpf/wmaps_connect.h"
#include "bpf/wmaps_event.h"
#include "bpf/wmaps_node.h"
#include "bpf/wmaps_served.h"
#include "bpf/wmaps_store.h"
#include "bpf/wmaps_waypoint.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";
