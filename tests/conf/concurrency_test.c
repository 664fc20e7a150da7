#include "tests/conf/loading.h"

#define LISTENER                                                                                   \
	"listeners: [{name: a, address: \"127.0.0.1:1\", tls: {certificates: "                     \
	"[{certificate_chain: c, private_key: k}], validation_context: {trusted_ca: ca, "          \
	"match_subject_alt_names: [\"spiffe://a/*\"]}}, routes: [%s]}]\n"
#define BACKEND "backends: [{name: b, endpoints: [\"127.0.0.1:2\"]%s%s}]\n"
#define TO_B "{match: {path: /*}, backend: b}"

static struct config_problems problems;

// `concurrency`: NULL for none.
static struct config *parse(const char *routes, const char *concurrency)
{
	struct buffer text = {0};
	buffer_printf(&text, "version: tollgate/v1\n" LISTENER BACKEND, routes,
	        concurrency ? ", concurrency: " : "", concurrency ? concurrency : "");
	struct config *config = config_parse(buffer_str(&text), "t.yaml", "/etc", &problems);
	buffer_fini(&text);
	return config;
}

static const struct {
	const char *written, *dumped;
	struct config_concurrency read;
} good[] = {
        {NULL, NULL, {{0}, 0, 0, 0, 0}},
        {"{}", "min: 4\n      max: 1000\n      tolerance: 1.5\n", {{0}, 0, 4, 1000, 150}},
        {"{limit: 30}", "limit: 30\n", {{0}, 30, 4, 1000, 150}},
        {"{min: 1, max: 2, tolerance: 2}", "tolerance: 2\n", {{0}, 0, 1, 2, 200}},
        {"{tolerance: 1.25}", "tolerance: 1.25\n", {{0}, 0, 4, 1000, 125}},
        {"{tolerance: 1.05}", NULL, {{0}, 0, 0, 0, 0}},
        {"{tolerance: 10.0}", "tolerance: 10\n", {{0}, 0, 4, 1000, 1000}},
        {"{tolerance: 1.1}", "tolerance: 1.1\n", {{0}, 0, 4, 1000, 110}},
};

static void what_is_given_is_read_and_written(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct config *config = parse(TO_B, good[i].written);
		if (!good[i].dumped && good[i].written) {
			assert_null(config);
			config_problems_fini(&problems);
			continue;
		}
		assert_non_null(config);
		const struct config_concurrency *read = &config->backends[0].concurrency;
		assert_int_equal(read->mark.line > 0, good[i].written != NULL);
		assert_int_equal(read->limit, good[i].read.limit);
		assert_int_equal(read->min, good[i].read.min);
		assert_int_equal(read->max, good[i].read.max);
		assert_int_equal(read->tolerance_percent, good[i].read.tolerance_percent);
		assert_int_equal(dump_holds(config, "concurrency:"), good[i].written != NULL);
		if (good[i].dumped)
			assert_true(dump_holds(config, good[i].dumped));
		config_free(config);
		config_problems_fini(&problems);
	}
}

static void priorities_are_normal_unless_given(void **state)
{
	(void)state;
	struct config *config = parse("{match: {path: /a}, backend: b, priority: low},"
	                              "{match: {path: /b}, backend: b, priority: high}," TO_B,
	        "{}");
	assert_non_null(config);
	assert_int_equal(config->listeners[0].routes[0].priority, PRIORITY_LOW);
	assert_int_equal(config->listeners[0].routes[1].priority, PRIORITY_HIGH);
	assert_int_equal(config->listeners[0].routes[2].priority, PRIORITY_NORMAL);
	assert_true(dump_holds(config, "priority: high"));
	assert_false(dump_holds(config, "priority: normal"));
	config_free(config);
	config_problems_fini(&problems);
}

#define ON_B "{match: {path: /*}, backend: b, priority: high}"
static const struct {
	const char *routes, *concurrency, *key, *what;
} bad[] = {
        {TO_B, "{limit: 0}", "backends[0].concurrency.limit", "from 1 to 1000000"},
        {TO_B, "{min: 0}", "backends[0].concurrency.min", "from 1 to 1000000"},
        {TO_B, "{limit: 5, min: 2}", "backends[0].concurrency.min", "no effect beside limit"},
        {TO_B, "{limit: 5, tolerance: 2}", "backends[0].concurrency.tolerance",
                "no effect beside limit"},
        {TO_B, "{min: 9, max: 9}", "backends[0].concurrency.max", "nothing to adapt"},
        {TO_B, "{min: 1001}", "backends[0].concurrency.min", "min is 1001 and max 1000"},
        {TO_B, "{tolerance: 1}", "backends[0].concurrency.tolerance", "from 1.1 to 10"},
        {TO_B, "{tolerance: 10.01}", "backends[0].concurrency.tolerance", "from 1.1 to 10"},
        {TO_B, "{tolerance: 1.555}", "backends[0].concurrency.tolerance", "two decimals"},
        {TO_B, "{tolerance: 1.}", "backends[0].concurrency.tolerance", "a number such as 1.5"},
        {TO_B, "{tolerance: -2}", "backends[0].concurrency.tolerance", "a number such as 1.5"},
        {TO_B, "{tolerance: 150%}", "backends[0].concurrency.tolerance", "such as 1.5"},
        {TO_B, "{limits: 5}", "backends[0].concurrency.limits", "did you mean limit?"},
        {ON_B, NULL, "listeners[0].routes[0].priority", "b has no concurrency limit"},
        {"{match: {path: /*}, backend: b, priority: urgent}", "{}",
                "listeners[0].routes[0].priority", "low, normal or high"},
        {"{match: {path: /a}, respond: {status: 200}, priority: low}," TO_B, "{}",
                "listeners[0].routes[0].priority", "no effect beside respond"},
};

static void what_is_wrong_is_told_with_its_key(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_null(parse(bad[i].routes, bad[i].concurrency));
		assert_one_problem(&problems, i, bad[i].key, bad[i].what);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(what_is_given_is_read_and_written),
	        cmocka_unit_test(priorities_are_normal_unless_given),
	        cmocka_unit_test(what_is_wrong_is_told_with_its_key),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
