// SPDX-License-Identifier: Apache-2.0
#include "test.h"
const struct test rebuild_tests[] = { TESTS_END };
