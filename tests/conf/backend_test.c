#include <stdio.h>

#include "tests/conf/malformed.h"
#include "tests/conf/resolver.h"

#define API(text) "[127.0.0.1:8080]\n", "[127.0.0.1:8080, 127.0.0.1:8081]\n    " text "\n"

// In place of the endpoint of line 27, from column 16 on.
#define ENDPOINTS(text) "[127.0.0.1:8080]\n", text "\n"

static const struct malformed rows[] = {
        {"a weight for one of two", API("weights: [2]"), 28, 14, "backends[1].weights",
                "has 1 elements beside 2 endpoints; expected one for each"},
        {"a weight too many", API("weights: [2, 1, 1]"), 28, 14, "backends[1].weights",
                "has 3 elements beside 2 endpoints"},
        {"equal weights", API("weights: [2, 2]"), 28, 14, "backends[1].weights",
                "can have no effect: all are equal"},
        {"no weight", API("weights: [0, 1]"), 28, 15, "backends[1].weights[0]",
                "found '0', expected a whole number from 1 to 1000"},
        {"too much weight", API("weights: [1, 1001]"), 28, 18, "backends[1].weights[1]",
                "found '1001', expected a whole number from 1 to 1000"},
        {"weights in both spellings",
                ENDPOINTS("[127.0.0.1:1, {address: 127.0.0.1:2, weight: 2}]\n    weights: [1, 3]"),
                28, 14, "backends[1].weights",
                "stands beside endpoints[1].weight, in line 27; expected either weights or"},
        {"no weight of its own", ENDPOINTS("[{address: 127.0.0.1:1, weight: 0}]"), 27, 48,
                "backends[1].endpoints[0].weight",
                "found '0', expected a whole number from 1 to 1000"},
        {"too much weight of its own", ENDPOINTS("[{address: 127.0.0.1:1, weight: 1001}]"), 27, 48,
                "backends[1].endpoints[0].weight", "found '1001', expected a whole number"},
        {"equal weights of their own",
                ENDPOINTS("\n      - {address: 127.0.0.1:1, weight: 2}\n"
                          "      - {weight: 2, address: 127.0.0.1:2}"),
                28, 40, "backends[1].endpoints[0].weight", "can have no effect: all are equal"},
        {"a weight of nobody", ENDPOINTS("[{weight: 2}, 127.0.0.1:1]"), 27, 17,
                "backends[1].endpoints[0].address",
                "is missing; expected an address such as 127.0.0.1:50051"},
        {"a misspelt weight", ENDPOINTS("[{address: 127.0.0.1:1, wieght: 2}, 127.0.0.1:2]"), 27, 40,
                "backends[1].endpoints[0].wieght", "is no key here; did you mean weight?"},
        {"an endpoint that is a list", ENDPOINTS("[[127.0.0.1:1]]"), 27, 17,
                "backends[1].endpoints[0]",
                "found a list, expected an address such as 127.0.0.1:50051, [::1]:50051, "
                "localhost:50051 or unix:/path, or a mapping with the keys address and weight"},
        {"endpoints that are no list", ENDPOINTS("127.0.0.1:1"), 27, 16, "backends[1].endpoints",
                "found '127.0.0.1:1', expected a list, each element an address such as"},
        {"an endpoint that is nothing", ENDPOINTS("[~]"), 27, 17, "backends[1].endpoints[0]",
                "found nothing, expected an address such as"},
        {"a tagged endpoint", ENDPOINTS("[!!str 127.0.0.1:1]"), 27, 17, "backends[1].endpoints[0]",
                "carries a YAML tag"},
        {"an endpoint that stands twice, in both spellings",
                ENDPOINTS("[127.0.0.1:1, {address: 127.0.0.1:1}]"), 27, 40,
                "backends[1].endpoints[1]", "stands twice in the list, first in line 27"},
        {"a mapping with an address that is none", ENDPOINTS("[{address: '127.0.0.1', weight: 2}]"),
                27, 27, "backends[1].endpoints[0]", "which has no port from 1 to 65535", 2},
        {"an unknown way to balance", API("balance: random"), 28, 14, "backends[1].balance",
                "found 'random', expected round_robin, least_requests or hash"},
        {"a hash of nothing", API("balance: hash"), 26, 5, "backends[1].hash_by",
                "is missing beside balance: hash; expected identity, source_ip or header:"},
        {"a hash that nobody asks for", API("hash_by: identity"), 28, 14, "backends[1].hash_by",
                "can have no effect without balance: hash"},
        {"a hash by what is no caller's", API("balance: hash\n    hash_by: method"), 29, 14,
                "backends[1].hash_by",
                "found 'method', expected identity, source_ip or header: followed by"},
        {"ejection of the only endpoint", "[127.0.0.1:8080]\n",
                "[127.0.0.1:8080]\n    ejection: {failures: 3}\n", 28, 15, "backends[1].ejection",
                "can have no effect: there is one endpoint, and the last is never ejected"},
        {"ejection after nothing", API("ejection: {failures: 0}"), 28, 26,
                "backends[1].ejection.failures", "found '0', expected a whole number from 1"},
        {"ejection for no time", API("ejection: {base: 0s}"), 28, 22, "backends[1].ejection.base",
                "found '0s', expected a duration"},
        {"ejection of more than all", API("ejection: {most: 101}"), 28, 22,
                "backends[1].ejection.most", "found '101', expected a whole number from 1 to 100"},
        {"a slow start for callers who move whole",
                API("balance: hash\n    hash_by: identity\n    slow_start: 5s"), 30, 17,
                "backends[1].slow_start", "can have no effect beside balance: hash"},
        {"a check of nothing", API("health_check: {interval: 1s}"), 28, 19,
                "backends[1].health_check", "names no way to ask; expected one of path, grpc"},
        {"a check of two kinds", API("health_check: {path: /a, tcp: true}"), 28, 19,
                "backends[1].health_check", "names several ways to ask; expected one of"},
        {"a check that is none", API("health_check: {tcp: false}"), 28, 25,
                "backends[1].health_check.tcp", "can have no effect; expected true, or path"},
        {"a check of no path", API("health_check: {path: healthz}"), 28, 26,
                "backends[1].health_check.path", "found 'healthz', expected a path such as"},
        {"a check that smuggles", API("health_check: {path: '/a b'}"), 28, 26,
                "backends[1].health_check.path", "found '/a b', expected a path such as"},
        {"a check of gRPC through HTTP/1.1", API("health_check: {grpc: a.B}"), 28, 26,
                "backends[1].health_check.grpc", "needs a backend that speaks h2"},
        {"a check of no service", API("protocol: h2\n    health_check: {grpc: 'a b'}"), 29, 26,
                "backends[1].health_check.grpc", "found 'a b', expected the name of a gRPC"},
        {"a hash by no header", API("balance: hash\n    hash_by: 'header:'"), 29, 14,
                "backends[1].hash_by", "found 'header:', expected identity"},
};

static void every_mistake_is_told(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		malformed_check(&rows[i]);
}

static struct config *parse(const char *backend)
{
	return parse_changed("    endpoints: [127.0.0.1:8080]\n", backend);
}

static void endpoints_go_round_robin_and_weigh_the_same_unless_told(void **state)
{
	(void)state;
	struct config *config = parse("    endpoints: [127.0.0.1:1, 127.0.0.1:2]\n");
	const struct config_backend *api = &config->backends[1];
	assert_int_equal(api->balance, BALANCE_ROUND_ROBIN);
	assert_int_equal(api->weights[0], 1);
	assert_int_equal(api->weights[1], 1);
	config_free(config);
}

static void every_address_of_a_name_has_its_weight(void **state)
{
	(void)state;
	struct config *config = parse(
	        "    endpoints: [\"both.test:1\", 127.0.0.1:2]\n    weights: [3, 5]\n");
	const struct config_backend *api = &config->backends[1];
	assert_int_equal(api->endpoint_count, 3);
	assert_int_equal(api->weights[0], 3);
	assert_int_equal(api->weights[1], 3);
	assert_int_equal(api->weights[2], 5);
	config_free(config);
}

static void a_weight_is_the_same_in_either_spelling(void **state)
{
	(void)state;
	static const char *const spellings[] = {
	        "endpoints: [127.0.0.1:1, \"both.test:2\", \"unix:a\"]\n    weights: [3, 5, 1]\n",
	        "weights: [3, 5, 1]\n    endpoints: [127.0.0.1:1, \"both.test:2\", \"unix:a\"]\n",
	        "weights: [3, 5, 1]\n    endpoints: [{address: 127.0.0.1:1}, \"both.test:2\", "
	        "\"unix:a\"]\n",
	        "endpoints: [{address: 127.0.0.1:1, weight: 3}, {weight: 5, address: "
	        "\"both.test:2\"}, \"unix:a\"]\n",
	        "endpoints:\n    - address: 127.0.0.1:1\n      weight: 3\n"
	        "    - {address: \"both.test:2\", weight: 5}\n    - {address: \"unix:a\"}\n",
	};
	struct buffer first = {0};
	for (size_t i = 0; i < ARRAY_LEN(spellings); i++) {
		char text[240];
		struct buffer dump = {0};
		snprintf(text, sizeof(text), "    %s", spellings[i]);
		struct config *config = parse(text);
		const struct config_backend *api = &config->backends[1];
		static const uint32_t weights[] = {3, 5, 5, 1};
		assert_int_equal(api->endpoint_count, ARRAY_LEN(weights));
		assert_memory_equal(api->weights, weights, sizeof(weights));
		config_dump(config, &dump);
		if (i == 0)
			buffer_append_str(&first, buffer_str(&dump));
		assert_true(str_eq(buffer_str(&first), buffer_str(&dump)));
		config_free(config);
		buffer_fini(&dump);
	}
	buffer_fini(&first);
}

static void callers_are_told_apart_by_what_hash_by_says(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		enum config_hash_by hash_by;
		const char *header;
	} kinds[] = {{"identity", HASH_BY_IDENTITY, ""}, {"source_ip", HASH_BY_SOURCE_IP, ""},
	        {"header:X-User", HASH_BY_HEADER, "x-user"}};
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		char text[160];
		snprintf(text, sizeof(text),
		        "    endpoints: [127.0.0.1:1]\n    balance: hash\n    hash_by: \"%s\"\n",
		        kinds[i].text);
		struct config *config = parse(text);
		assert_int_equal(config->backends[1].balance, BALANCE_HASH);
		assert_int_equal(config->backends[1].hash_by, kinds[i].hash_by);
		assert_text(config->backends[1].hash_header, kinds[i].header);
		config_free(config);
	}
}

static void ejection_is_off_unless_given_and_then_at_its_defaults(void **state)
{
	(void)state;
	struct config *config = parse("    endpoints: [127.0.0.1:1, 127.0.0.1:2]\n");
	assert_int_equal(config->backends[1].ejection.failures, 0);
	assert_int_equal(config->backends[1].slow_start_ns, 0);
	config_free(config);
	config = parse("    endpoints: [127.0.0.1:1, 127.0.0.1:2]\n    ejection: {}\n");
	assert_int_equal(config->backends[1].ejection.failures, 5);
	assert_int_equal(config->backends[1].ejection.base_ns, INT64_C(30000000000));
	assert_int_equal(config->backends[1].ejection.most, 50);
	config_free(config);
}

static void one_name_may_have_ejection_however_many_addresses_it_has(void **state)
{
	(void)state;
	config_free(parse("    endpoints: [\"six.test:1\"]\n    ejection: {}\n"));
}

static void checks_are_off_unless_given_and_then_at_their_defaults(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		enum config_health_check_kind kind;
	} kinds[] = {{"path: /a?b=c", HEALTH_CHECK_HTTP}, {"tcp: true", HEALTH_CHECK_TCP},
	        {"grpc: a.B", HEALTH_CHECK_GRPC}, {"grpc: \"\"", HEALTH_CHECK_GRPC}};
	struct config *config = parse("    endpoints: [127.0.0.1:1]\n");
	assert_int_equal(config->backends[1].health_check.kind, HEALTH_CHECK_NONE);
	config_free(config);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		char text[160];
		snprintf(text, sizeof(text),
		        "    protocol: h2\n    endpoints: [127.0.0.1:1]\n    health_check: {%s}\n",
		        kinds[i].text);
		config = parse(text);
		const struct config_health_check *check = &config->backends[1].health_check;
		assert_int_equal(check->kind, kinds[i].kind);
		assert_int_equal(check->interval_ns, INT64_C(5000000000));
		assert_int_equal(check->timeout_ns, INT64_C(1000000000));
		assert_int_equal(check->unhealthy, 3);
		assert_int_equal(check->healthy, 2);
		assert_dump_reads_back(config);
		config_free(config);
	}
}

static void the_dump_says_the_same(void **state)
{
	(void)state;
	struct config *config = parse(
	        "    endpoints: [127.0.0.1:1, 127.0.0.1:2, 127.0.0.1:3]\n    weights: [1, 10, 1]\n"
	        "    balance: hash\n    hash_by: \"header:X-User\"\n"
	        "    ejection: {failures: 7, base: 1m}\n");
	struct buffer dump = {0};
	config_dump(config, &dump);
	buffer_append(&dump, "", 1);
	static const char *const lines[] = {
	        "    endpoints:\n      - address: \"127.0.0.1:1\"\n        weight: 1\n"
	        "      - address: \"127.0.0.1:2\"\n        weight: 10\n",
	        "    balance: hash\n", "    hash_by: \"header:x-user\"\n",
	        "    ejection:\n      failures: 7\n      base: 1m\n      most: 50\n"};
	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		assert_non_null(strstr(buffer_data(&dump), lines[i]));
	assert_dump_reads_back(config);
	buffer_fini(&dump);
	config_free(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(every_mistake_is_told),
	        cmocka_unit_test(endpoints_go_round_robin_and_weigh_the_same_unless_told),
	        cmocka_unit_test(every_address_of_a_name_has_its_weight),
	        cmocka_unit_test(a_weight_is_the_same_in_either_spelling),
	        cmocka_unit_test(callers_are_told_apart_by_what_hash_by_says),
	        cmocka_unit_test(ejection_is_off_unless_given_and_then_at_its_defaults),
	        cmocka_unit_test(one_name_may_have_ejection_however_many_addresses_it_has),
	        cmocka_unit_test(checks_are_off_unless_given_and_then_at_their_defaults),
	        cmocka_unit_test(the_dump_says_the_same),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
