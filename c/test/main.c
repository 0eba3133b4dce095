// SPDX-License-Identifier: Apache-2.0
/* Runs every table of tests, or those whose name holds an argument. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deserial.h"
#include "fake.h"
#include "test.h"

extern const struct test slab_tests[], wire_tests[], env_tests[], cluster_tests[], listener_tests[],
	route_tests[], batch_tests[], limit_tests[], fault_tests[], crash_tests[], rebuild_tests[],
	process_tests[], random_tests[], thread_tests[], reclaim_tests[], churn_tests[];

static const struct test *const tables[] = {
	slab_tests,   wire_tests,   env_tests,	   cluster_tests, listener_tests, route_tests,
	batch_tests,  limit_tests,  fault_tests,   crash_tests,	  rebuild_tests,  process_tests,
	random_tests, thread_tests, reclaim_tests, churn_tests,
};

static unsigned int failures;

struct block {
	struct block *older;
	max_align_t data[];
};

static struct block *blocks;

void *test_alloc(size_t size)
{
	struct block *block = calloc(1, sizeof(*block) + size);

	if (!block)
		abort();
	block->older = blocks;
	blocks = block;
	return block->data;
}

static void free_blocks(void)
{
	while (blocks) {
		struct block *older = blocks->older;

		free(blocks);
		blocks = older;
	}
}

bool test_failed(void)
{
	return failures;
}

bool test_check(bool ok, const char *file, int line, const char *text)
{
	if (!ok && __atomic_fetch_add(&failures, 1, __ATOMIC_RELAXED) < 10)
		printf("  %s:%d: %s\n", file, line, text);
	return ok;
}

bool test_int(long long is, long long want, const char *file, int line, const char *text)
{
	if (is != want && __atomic_fetch_add(&failures, 1, __ATOMIC_RELAXED) < 10)
		printf("  %s:%d: %s is %lld, not %lld (%s)\n", file, line, text, is, want,
		       deserial_error());
	return is == want;
}

bool test_text(const char *is, const char *want, const char *file, int line, const char *text)
{
	bool ok = !strcmp(is, want);

	if (!ok && __atomic_fetch_add(&failures, 1, __ATOMIC_RELAXED) < 10)
		printf("  %s:%d: %s is\n    \"%s\", not\n    \"%s\"\n", file, line, text, is, want);
	return ok;
}

bool test_error(const char *words, const char *file, int line)
{
	bool ok = strstr(deserial_error(), words);

	if (!ok && __atomic_fetch_add(&failures, 1, __ATOMIC_RELAXED) < 10)
		printf("  %s:%d: the error is \"%s\", without \"%s\"\n", file, line,
		       deserial_error(), words);
	return ok;
}

int main(int argc, char **argv)
{
	unsigned int passed = 0, failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		for (const struct test *t = tables[i]; t->name; t++) {
			if (argc > 1 && !strstr(t->name, argv[1]))
				continue;
			failures = 0;
			fake_reset();
			t->run();
			fake_end();
			free_blocks();
			printf("%s %s\n", failures ? "FAIL" : "ok  ", t->name);
			if (failures)
				failed++;
			else
				passed++;
		}
	}
	printf("%u passed, %u failed\n", passed, failed);
	return failed || !passed;
}
