// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The result of a connect on a patched kernel, whose writable raw tracepoint
 * connect_ret hands over the value that the system call is about to return.
 * -1000 is that kernel's word for a connect that was put off until the first
 * data: to the application that is success.
 */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include "bpf/abi.h"
#include "bpf/conn.h"
#include "bpf/result.h"

SEC("raw_tracepoint.w/connect_ret")
int connect_ret(struct bpf_raw_tracepoint_args *ctx)
{
	int *err = (int *)ctx->args[0];
	int ret = *err;

	if (ret == DEFERRED)
		*err = 0;
	thread_result(ret);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
