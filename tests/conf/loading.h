// Helpers of the tests that parse good files. One thread; for tests.
#ifndef TESTS_CONF_LOADING_H
#define TESTS_CONF_LOADING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "conf/config.h"

static inline void assert_text(struct str found, const char *expected)
{
	if (!str_eq(found, str_from(expected)))
		fail_msg("'%.*s' is not '%s'", STR_FMT(found), expected);
}

static inline struct config *assert_parses(struct str text, const char *directory)
{
	struct config_problems problems = {0};
	struct config *config = config_parse(text, "good.yaml", directory, &problems);
	config_problems_print(&problems, 2);
	assert_non_null(config);
	config_problems_fini(&problems);
	return config;
}

static inline struct config *assert_loads(const char *path)
{
	struct config_problems problems = {0};
	struct config *config = config_load(path, &problems);
	config_problems_print(&problems, 2);
	assert_non_null(config);
	config_problems_fini(&problems);
	return config;
}

// Whether those words stand in the dump, which is a good file in any case.
static inline bool dump_holds(const struct config *config, const char *words)
{
	struct buffer dump = {0};
	config_dump(config, &dump);
	bool holds = memmem(buffer_data(&dump), buffer_len(&dump), words, strlen(words));
	config_free(assert_parses(buffer_str(&dump), "/elsewhere"));
	buffer_fini(&dump);
	return holds;
}

// Of a row of a table of mistakes: that one problem, at that key, with these words. Empties them.
static inline void assert_one_problem(
        struct config_problems *problems, size_t row, const char *key, const char *what)
{
	const struct config_problem *first = problems->items;
	if (problems->count == 0)
		fail_msg("row %zu is taken", row);
	if (problems->count != 1 || !str_eq(first->key, str_from(key)) ||
	        !memmem(first->what.at, first->what.len, what, strlen(what)))
		fail_msg("row %zu: %zu problems, the first %.*s: %.*s", row, problems->count,
		        STR_FMT(first->key), STR_FMT(first->what));
	config_problems_fini(problems);
}

// What the dump says is what was read, wherever it is read.
static inline void assert_dump_reads_back(const struct config *config)
{
	struct buffer first = {0}, second = {0};
	config_dump(config, &first);
	struct config *again = assert_parses(buffer_str(&first), "/elsewhere");
	config_dump(again, &second);
	assert_int_equal(buffer_len(&first), buffer_len(&second));
	assert_memory_equal(buffer_data(&first), buffer_data(&second), buffer_len(&first));
	config_free(again);
	buffer_fini(&first);
	buffer_fini(&second);
}

#endif
