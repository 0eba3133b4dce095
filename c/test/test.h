/* SPDX-License-Identifier: Apache-2.0 */
/* A small runner: tests are rows of a table, a check that fails says where. */
#ifndef KMESH_TEST_H
#define KMESH_TEST_H

#include <stdbool.h>
#include <stddef.h>

struct test {
	const char *name;
	void (*run)(void);
};

#define TEST(function) { #function, function }
#define TESTS_END { NULL, NULL }

/* Each fails the running test when it does not hold, and goes on. */
#define CHECK(condition) test_check((condition), __FILE__, __LINE__, #condition)
#define CHECK_INT(is, want) test_int((long long)(is), (long long)(want), __FILE__, __LINE__, #is)
#define CHECK_TEXT(is, want) test_text((is), (want), __FILE__, __LINE__, #is)
/* The last error of the store holds these words. */
#define CHECK_ERROR(words) test_error((words), __FILE__, __LINE__)

bool test_check(bool ok, const char *file, int line, const char *text);
bool test_int(long long is, long long want, const char *file, int line, const char *text);
bool test_text(const char *is, const char *want, const char *file, int line, const char *text);
bool test_error(const char *words, const char *file, int line);

/* Has the running test failed? */
bool test_failed(void);

/* Memory that lasts until the test has ended; zeroed. */
void *test_alloc(size_t size);

#endif
