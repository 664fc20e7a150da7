// What the tests of compiling share: routes in a few words, each with the one problem it has, or
// none.
#ifndef TESTS_POLICY_COMPILE_ROWS_H
#define TESTS_POLICY_COMPILE_ROWS_H

#include "tests/policy/policy_fixture.h"

#define OK ", respond: {status: 200}}\n"
#define ALLOW(list) ", allow: " list OK
#define LIMITS(list) ", rate_limits: " list OK

struct row {
	const char *routes;
	const char *key;   // under `listeners[0].`; NULL: nothing is wrong
	const char *what;  // a part of the sentence
	size_t count;      // of problems; 0 means one
};

static inline void check_row(const char *names, const struct row *row)
{
	struct fixture fixture;
	fixture_parse(&fixture, names, row->routes, "");
	fixture_fail_on_problems(&fixture);
	fixture.policy = policy_compile(fixture.config, NULL, &fixture.problems);
	assert_int_equal(fixture.policy == NULL, row->key != NULL);
	if (fixture.problems.count != (row->key ? row->count + !row->count : 0)) {
		config_problems_print(&fixture.problems, 2);
		fail_msg("%s: %zu problems", row->routes, fixture.problems.count);
	}
	if (row->key) {
		const struct config_problem *problem = &fixture.problems.items[0];
		char key[128];
		snprintf(key, sizeof(key), "listeners[0].%s", row->key);
		if (!str_eq(problem->key, str_from(key)) || !strstr(problem->what.at, row->what))
			fail_msg("%s: %.*s: %.*s", row->routes, STR_FMT(problem->key),
			        STR_FMT(problem->what));
		assert_true(problem->mark.line > 0 && problem->mark.column > 0);
	}
	fixture_free(&fixture);
}

#define CHECK_ROWS(names, rows)                                                                    \
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)                                               \
	check_row(names, &(rows)[i])

#endif
