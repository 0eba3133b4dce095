// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The result of a connect as the literal return of the system call. Asked for
 * by flag only: with a system call tracepoint on, every system call of the host
 * pays for it.
 */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include "bpf/abi.h"
#include "bpf/conn.h"
#include "bpf/result.h"

struct sys_exit { /* events/syscalls/sys_exit_connect/format */
	__u64 common;
	__s64 nr;
	__s64 ret;
};

SEC("tracepoint/syscalls/sys_exit_connect")
int exit_connect(const struct sys_exit *ctx)
{
	thread_result(ctx->ret);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
