/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KMESH_STEP_H
#define KMESH_STEP_H

/* Has kernel.step of the C store call storeStep. */
void call_at_steps(void);

#endif
