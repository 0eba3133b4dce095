// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* connect() of an IPv4 socket. */
#define V6 0
#define TAILS km_tail4
#define SECTION "cgroup/connect4"
#include "bpf/sockconn.h"

STAGE(sockconn4, sockconn)
STAGE(restart4, begin_again)
STAGE(filter_chain4, filter_chain)
STAGE(filter4, filter)
STAGE(route_config4, route_config)
STAGE(cluster4, cluster)
STAGE(search4, search)
