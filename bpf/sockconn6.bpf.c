// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* connect() of an IPv6 socket. */
#define V6 1
#define TAILS km_tail6
#define SECTION "cgroup/connect6"
#include "bpf/sockconn.h"

STAGE(sockconn6, sockconn)
STAGE(restart6, begin_again)
STAGE(filter_chain6, filter_chain)
STAGE(filter6, filter)
STAGE(route_config6, route_config)
STAGE(cluster6, cluster)
STAGE(search6, search)
