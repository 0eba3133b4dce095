// SPDX-License-Identifier: Apache-2.0
#include "step.h"

#include "_cgo_export.h"
#include "kernel.h"

void call_at_steps(void)
{
	kernel.step = storeStep;
}
