/* SPDX-License-Identifier: Apache-2.0 */
/* What a store should hold: each resource's wire form by its key. */
#ifndef KMESH_MODEL_H
#define KMESH_MODEL_H

#include <stddef.h>

#include "deserial.h"

void model_clear(void);
void model_apply(const struct deserial_op *ops, size_t n);
/* Everything that the store lists is in the model, byte for byte, and its
 * clusters' endpoints are what their messages say. */
void model_check(void);
/* What is in use is what a walk of the maps finds. Opens the store anew. */
void model_check_slots(void);

#endif
