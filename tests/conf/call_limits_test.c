// `call_limits` of a route: what is understood of them, written back, and refused.
#include "tests/conf/malformed.h"

#define USERS "backend: users"
#define LIMITS "        call_limits: "

static void every_key_is_understood_and_written_back(void **state)
{
	(void)state;
	struct config *config = parse_changed(USERS, USERS
	        "\n" LIMITS "[{calls: 10, per: [identity], shadow: true, max_keys: 9, overrides: ["
	        "{identity: 'spiffe://a/b', calls: 1}, {identity: 'spiffe://a/*', calls: 99}]}, "
	        "{calls: 5}]");
	const struct config_route *route = &config->listeners[0].routes[0];
	const struct config_call_limit *limit = &route->call_limits[0];
	assert_int_equal(route->call_limit_count, 2);
	assert_int_equal(limit->calls, 10);
	assert_true(limit->shadow);
	assert_int_equal(limit->split.max_keys, 9);
	assert_int_equal(limit->override_count, 2);
	assert_text(limit->overrides[1].identity.text, "spiffe://a/*");
	const struct config_call_limit *own = &limit->overrides[1].limit;
	assert_int_equal(own->calls, 99);
	assert_true(own->shadow);
	assert_int_equal(own->split.per_count, 1);
	assert_int_equal(own->split.max_keys, 9);
	assert_int_equal(own->override_count, 0);
	assert_int_not_equal(own->mark.column, limit->mark.column);
	assert_int_equal(route->call_limits[1].calls, 5);
	assert_false(route->call_limits[1].shadow);
	assert_int_equal(route->call_limits[1].override_count, 0);
	assert_dump_reads_back(config);
	config_free(config);
}

#define ROW(name, limits, column, key, what)                                                       \
	{                                                                                          \
		name, USERS, USERS "\n" LIMITS limits, 17, column,                                 \
		        "listeners[0].routes[0].call_limits" key, what, 0                          \
	}

static const struct malformed malformed[] = {
        ROW("no calls", "[{calls: 0}]", 31, "[0].calls", "found '0', expected a whole number"),
        ROW("without a number", "[{per: [identity]}]", 23, "[0].calls", "is missing; expected"),
        ROW("keys of nobody", "[{calls: 5, max_keys: 5}]", 44, "[0].max_keys",
                "can have no effect without per; expected it left out, or per given"),
        ROW("a trial of a sort", "[{calls: 5, shadow: maybe}]", 42, "[0].shadow",
                "found 'maybe', expected true or false"),
        ROW("an override of nobody", "[{calls: 5, overrides: [{calls: 5}]}]", 46,
                "[0].overrides[0].identity", "is missing; expected a pattern such as spiffe:"),
        ROW("an override of nothing", "[{calls: 5, overrides: [{identity: 'spiffe://a/b'}]}]", 46,
                "[0].overrides[0].calls", "is missing; expected"),
        ROW("an override of another kind",
                "[{calls: 5, overrides: [{identity: 'spiffe://a/b', calls: 5, burst: 5}]}]", 83,
                "[0].overrides[0].burst", "is no key here; expected identity or calls"),
        ROW("no overrides", "[{calls: 5, overrides: []}]", 45, "[0].overrides", "is an empty list"),
};

static void what_makes_no_sense_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(malformed); i++)
		malformed_check(&malformed[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(every_key_is_understood_and_written_back),
	        cmocka_unit_test(what_makes_no_sense_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
