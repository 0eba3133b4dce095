// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Every map that outlives a load, and no program: made first, so that the objects
 * of programs, which share them, can go through the verifier side by side. */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include "bpf/conn.h"
#include "bpf/enrol.h"
#include "bpf/lookup.h"
#include "bpf/maps_watch.h"
#include "bpf/maps_node.h"
#include "bpf/maps_store.h"
#include "bpf/state.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";
