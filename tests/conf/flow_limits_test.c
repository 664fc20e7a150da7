// `flow_limits` of a route: what is understood of them, written back, and refused.
#include "tests/conf/malformed.h"

#define SECOND INT64_C(1000000000)
#define USERS "backend: users"
#define LIMITS "        flow_limits: "

static struct config *with_limits(const char *limits)
{
	struct buffer to = {0};
	buffer_printf(&to, USERS "\n" LIMITS "%s", limits);
	buffer_append(&to, "", 1);
	struct config *config = parse_changed(USERS, buffer_data(&to));
	buffer_fini(&to);
	return config;
}

static void every_key_is_understood_and_written_back(void **state)
{
	(void)state;
	struct config *config = with_limits(
	        "[{messages: 100/m, burst: 200}, {bytes: 64KiB/s, burst: 1MiB, direction: "
	        "responses, on_excess: reject, per: [source_ip, 'header:X-A'], shadow: "
	        "true, max_keys: 9}]");
	const struct config_route *route = &config->listeners[0].routes[0];
	const struct config_flow_limit *limits = route->flow_limits;
	assert_int_equal(route->flow_limit_count, 2);
	assert_int_equal(limits[0].messages.count, 100);
	assert_int_equal(limits[0].messages.period_ns, 60 * SECOND);
	assert_int_equal(limits[0].bytes.count, 0);
	assert_int_equal(limits[0].burst, 200);
	assert_int_equal(limits[0].direction, FLOW_REQUESTS);
	assert_int_equal(limits[0].on_excess, EXCESS_PAUSE);
	assert_int_equal(limits[0].split.per_count, 0);
	assert_false(limits[0].shadow);
	assert_int_equal(limits[1].bytes.count, 64 << 10);
	assert_int_equal(limits[1].bytes.period_ns, SECOND);
	assert_int_equal(limits[1].messages.count, 0);
	assert_int_equal(limits[1].burst, 1 << 20);
	assert_int_equal(limits[1].direction, FLOW_RESPONSES);
	assert_int_equal(limits[1].on_excess, EXCESS_REJECT);
	assert_int_equal(limits[1].split.per_count, 2);
	assert_text(limits[1].split.per[1].header, "x-a");
	assert_int_equal(limits[1].split.max_keys, 9);
	assert_true(limits[1].shadow);
	assert_dump_reads_back(config);
	config_free(config);
}

static void overrides_are_the_limit_with_their_own_numbers(void **state)
{
	(void)state;
	struct config *config = with_limits(
	        "[{bytes: 64KiB/s, burst: 1MiB, direction: responses, on_excess: reject, shadow: "
	        "true, per: [identity], overrides: [{identity: 'spiffe://a/b', bytes: 1/h, burst: "
	        "7}, {identity: 'spiffe://a/*', bytes: 1MiB/m, burst: 4MiB}]}]");
	const struct config_flow_limit *limit = &config->listeners[0].routes[0].flow_limits[0];
	assert_int_equal(limit->override_count, 2);
	assert_text(limit->overrides[1].identity.text, "spiffe://a/*");
	const struct config_flow_limit *own = &limit->overrides[0].limit;
	assert_int_equal(own->bytes.count, 1);
	assert_int_equal(own->bytes.period_ns, 3600 * SECOND);
	assert_int_equal(own->messages.count, 0);
	assert_int_equal(own->burst, 7);
	assert_int_equal(own->direction, FLOW_RESPONSES);
	assert_int_equal(own->on_excess, EXCESS_REJECT);
	assert_true(own->shadow);
	assert_int_equal(own->split.per_count, 1);
	assert_int_equal(own->override_count, 0);
	assert_dump_reads_back(config);
	config_free(config);
}

static void the_dump_tells_of_each_what_it_has(void **state)
{
	(void)state;
	static const char *const lines[] = {
	        "          - messages: 100/m\n",
	        "            burst: 200\n            direction: requests\n            on_excess: "
	        "pause\n",
	        "          - bytes: 1MiB/h\n            burst: 4KiB\n            direction: "
	        "responses\n            on_excess: pause\n            per: [identity]\n            "
	        "shadow: false\n            max_keys: 10000\n",
	};
	struct config *config = with_limits(
	        "[{messages: 100/m, burst: 200}, {bytes: 1024KiB/h, burst: 4096, direction: "
	        "responses, per: [identity]}]");
	struct buffer out = {0};
	config_dump(config, &out);
	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		if (!memmem(buffer_data(&out), buffer_len(&out), lines[i], strlen(lines[i])))
			fail_msg("no '%s' in\n%.*s", lines[i], STR_FMT(buffer_str(&out)));
	buffer_fini(&out);
	config_free(config);
}

static void the_bounds_themselves_are_good(void **state)
{
	(void)state;
	static const char *const rows[] = {
	        "[]",
	        "[{messages: 1000000000/s, burst: 1}]",
	        "[{messages: 1/m, burst: 1}]",
	        "[{messages: 60/h, burst: 1}]",
	        "[{messages: 1/h, burst: 1, on_excess: reject}]",
	        "[{bytes: 1024GiB/s, burst: 1024GiB}]",
	        "[{bytes: 1/m, burst: 1}]",
	        "[{bytes: 1/h, burst: 1, on_excess: reject}]",
	        "[{bytes: 1/s, burst: 1}, {bytes: 2/s, burst: 1}, {bytes: 3/s, burst: 1}, {bytes: "
	        "4/s, burst: 1}, {bytes: 5/s, burst: 1}, {bytes: 6/s, burst: 1}, {bytes: 7/s, "
	        "burst: 1}, {bytes: 8/s, burst: 1}]",
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct config *config = with_limits(rows[i]);
		assert_dump_reads_back(config);
		config_free(config);
	}
}

#define ROW(name, limits, column, key, what)                                                       \
	{                                                                                          \
		name, USERS, USERS "\n" LIMITS limits, 17, column,                                 \
		        "listeners[0].routes[0].flow_limits" key, what, 0                          \
	}

static const struct malformed malformed[] = {
        ROW("no messages", "[{messages: 0/s, burst: 5}]", 34, "[0].messages",
                "found '0/s', expected a rate such as 5/s, 300/m or 10000/h, its number from 1"),
        ROW("messages as bytes", "[{messages: 1KiB/s, burst: 5}]", 34, "[0].messages",
                "found '1KiB/s', expected a rate such as 5/s, 300/m or 10000/h"),
        ROW("too many messages", "[{messages: 1000000001/s, burst: 5}]", 34, "[0].messages",
                "found '1000000001/s', expected a rate such as"),
        ROW("no bytes", "[{bytes: 0/s, burst: 5}]", 31, "[0].bytes",
                "found '0/s', expected a rate such as 64KiB/s or 100MiB/m, its size from 1 to "
                "1024GiB"),
        ROW("a size without time", "[{bytes: 64KiB, burst: 5}]", 31, "[0].bytes",
                "found '64KiB', expected a rate such as 64KiB/s or 100MiB/m"),
        ROW("a decimal size", "[{bytes: 64KB/s, burst: 5}]", 31, "[0].bytes",
                "found '64KB/s', expected a rate such as 64KiB/s or 100MiB/m"),
        ROW("bytes by the day", "[{bytes: 64KiB/d, burst: 5}]", 31, "[0].bytes",
                "found '64KiB/d', expected a rate such as 64KiB/s or 100MiB/m"),
        ROW("too many bytes", "[{bytes: 1025GiB/s, burst: 5}]", 31, "[0].bytes",
                "found '1025GiB/s', expected a rate such as 64KiB/s or 100MiB/m"),
        ROW("bytes beyond 64 bits", "[{bytes: 99999999999999999999GiB/s, burst: 5}]", 31,
                "[0].bytes", "found '99999999999999999999GiB/s', expected a rate such as"),
        ROW("no burst", "[{bytes: 5/s, burst: 0}]", 43, "[0].burst",
                "found '0', expected a size such as 512, 16KiB, 4MiB or 1GiB from 1 to 1024GiB"),
        ROW("without a burst", "[{bytes: 5/s}]", 23, "[0].burst",
                "is missing; expected a size such as 512"),
        ROW("another direction", "[{bytes: 5/s, burst: 5, direction: both}]", 57, "[0].direction",
                "found 'both', expected requests or responses"),
        ROW("another excess", "[{bytes: 5/s, burst: 5, on_excess: drop}]", 57, "[0].on_excess",
                "found 'drop', expected pause or reject"),
        ROW("of both", "[{bytes: 5/s, messages: 5/s, burst: 5}]", 31, "[0].bytes",
                "stands beside messages; expected either messages or bytes"),
        ROW("of nothing", "[{burst: 5}]", 23, "[0]", "counts nothing; expected messages or bytes"),
        ROW("a pause of an hour", "[{messages: 1/h, burst: 5}]", 34, "[0].messages",
                "is less than one a minute, and nobody waits for longer; expected more, or "
                "on_excess: reject"),
        ROW("a pause of a minute and a bit", "[{bytes: 59/h, burst: 5}]", 31, "[0].bytes",
                "is less than one a minute, and nobody waits for longer"),
        ROW("keys of nobody", "[{bytes: 5/s, burst: 5, max_keys: 5}]", 56, "[0].max_keys",
                "can have no effect without per; expected it left out, or per given"),
        ROW("an empty per", "[{bytes: 5/s, burst: 5, per: []}]", 51, "[0].per",
                "is an empty list; expected at least one element, or the key left out"),
        ROW("a name that is none", "[{byte: 5/s, burst: 5, bytes: 5/s}]", 24, "[0].byte",
                "is no key here; did you mean bytes?"),
        ROW("an override of something else",
                "[{bytes: 5/s, burst: 5, overrides: [{identity: 'spiffe://a/b', messages: 5/s, "
                "burst: 5}]}]",
                95, "[0].overrides[0].messages", "is not what the limit counts; expected bytes"),
        ROW("an override of bytes, of a limit of messages",
                "[{messages: 5/s, burst: 5, overrides: [{identity: 'spiffe://a/b', bytes: 5/s, "
                "burst: 5}]}]",
                95, "[0].overrides[0].bytes", "is not what the limit counts; expected messages"),
        ROW("an override of both",
                "[{bytes: 5/s, burst: 5, overrides: [{identity: 'spiffe://a/b', messages: 5/s, "
                "bytes: 5/s, burst: 5}]}]",
                107, "[0].overrides[0].bytes", "stands beside messages; expected either"),
        ROW("an override of nothing",
                "[{bytes: 5/s, burst: 5, overrides: [{identity: 'spiffe://a/b', burst: 5}]}]", 58,
                "[0].overrides[0]", "counts nothing; expected messages or bytes"),
        ROW("an override of nobody",
                "[{bytes: 5/s, burst: 5, overrides: [{bytes: 5/s, burst: 5}]}]", 58,
                "[0].overrides[0].identity", "is missing; expected a pattern such as spiffe:"),
        ROW("a pause of an hour for some",
                "[{bytes: 5/s, burst: 5, overrides: [{identity: 'spiffe://a/b', bytes: 1/h, "
                "burst: 5}]}]",
                92, "[0].overrides[0].bytes", "is less than one a minute, and nobody waits"),
        ROW("no overrides", "[{bytes: 5/s, burst: 5, overrides: []}]", 57, "[0].overrides",
                "is an empty list"),
        ROW("too many",
                "[{bytes: 1/s, burst: 1}, {bytes: 2/s, burst: 1}, {bytes: 3/s, burst: 1}, "
                "{bytes: 4/s, burst: 1}, {bytes: 5/s, burst: 1}, {bytes: 6/s, burst: 1}, {bytes: "
                "7/s, burst: 1}, {bytes: 8/s, burst: 1}, {bytes: 9/s, burst: 1}]",
                22, "", "has 9 elements, expected at most 8"),
        ROW("no list", "{bytes: 5/s, burst: 5}", 22, "",
                "found a mapping, expected a list of mappings with the keys messages, bytes, "
                "burst"),
        {"messages of what need not be gRPC", "backend: api",
                "backend: api\n" LIMITS "[{bytes: 5/s, burst: 5}, {messages: 5/s, burst: 5}]", 20,
                58, "listeners[0].routes[1].flow_limits[1].messages",
                "counts messages of gRPC calls; expected a route that matches grpc, or bytes", 0},
        {"limits of what goes nowhere", "respond: {status: 200, body: \"ok\"}",
                "respond: {status: 200, body: \"ok\"}\n" LIMITS "[{bytes: 5/s, burst: 5}]", 22, 22,
                "listeners[0].routes[2].flow_limits",
                "can have no effect beside respond; expected it left out", 0},
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
	        cmocka_unit_test(overrides_are_the_limit_with_their_own_numbers),
	        cmocka_unit_test(the_dump_tells_of_each_what_it_has),
	        cmocka_unit_test(the_bounds_themselves_are_good),
	        cmocka_unit_test(what_makes_no_sense_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
