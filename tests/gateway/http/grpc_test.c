#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/clock.h"
#include "gateway/http/grpc.h"

enum { MS = NS_PER_MS };
#define SECOND ((int64_t)NS_PER_S)
#define HOUR (3600 * SECOND)

static void a_timeout_is_digits_and_a_unit(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int64_t ns;
	} rows[] = {
	        {"1n", 1},
	        {"1u", 1000},
	        {"1m", MS},
	        {"1S", SECOND},
	        {"1M", 60 * SECOND},
	        {"1H", HOUR},
	        {"0n", 0},
	        {"0H", 0},
	        {"00000001S", SECOND},
	        {"99999999n", 99999999},
	        {"99999999S", 99999999 * SECOND},
	        {"2562047H", 2562047 * HOUR},
	        {"2562048H", INT64_MAX},
	        {"99999999H", INT64_MAX},
	        {"99999999M", 99999999 * (60 * SECOND)},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int64_t ns = -1;
		assert_true(grpc_timeout_parse(str_from(rows[i].text), &ns));
		assert_int_equal(ns, rows[i].ns);
	}
}

static void anything_else_is_no_timeout(void **state)
{
	(void)state;
	static const struct str rows[] = {
	        {"", 0},
	        {"S", 1},
	        {"1", 1},
	        {"10", 2},
	        {"1s", 2},
	        {"1h", 2},
	        {"1N", 2},
	        {"1U", 2},
	        {"1 S", 3},
	        {" 1S", 3},
	        {"1S ", 3},
	        {"-1S", 3},
	        {"+1S", 3},
	        {"1.5S", 4},
	        {"0x1S", 4},
	        {"1SS", 3},
	        {"1e3S", 4},
	        {"123456789S", 10},
	        {"000000001S", 10},
	        {"1\0S", 3},
	        {"\0", 1},
	        {"1\xc2\xb5", 3},
	        {"99999999999999999999H", 21},
	        {"1S,2S", 5},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int64_t ns = -1;
		if (grpc_timeout_parse(rows[i], &ns))
			fail_msg("%s is no timeout", rows[i].at);
		assert_int_equal(ns, -1);
	}
}

static void a_timeout_is_written_in_the_finest_unit_that_fits_and_never_longer(void **state)
{
	(void)state;
	struct arena arena = {0};
	static const struct {
		int64_t ns;
		const char *text;
	} rows[] = {
	        {INT64_MIN, "1n"},
	        {-1, "1n"},
	        {0, "1n"},
	        {1, "1n"},
	        {99999999, "99999999n"},
	        {100000000, "100000u"},
	        {100000999, "100000u"},
	        {SECOND, "1000000u"},
	        {100 * SECOND, "100000m"},
	        {99999999 * SECOND, "99999999S"},
	        {100000000 * SECOND, "1666666M"},
	        {INT64_MAX, "2562047H"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct str text = grpc_timeout_format(rows[i].ns, &arena);
		if (!str_eq(text, str_from(rows[i].text)))
			fail_msg("%lld gives %.*s", (long long)rows[i].ns, STR_FMT(text));
	}
	for (int64_t ns = 1; ns < INT64_MAX / 3; ns = ns * 3 + 1) {
		int64_t read;
		struct str text = grpc_timeout_format(ns, &arena);
		assert_true(grpc_timeout_parse(text, &read));
		assert_true(read <= ns && read >= ns - ns / 99999 - 1);
	}
	arena_fini(&arena);
}

static void http_statuses_map_as_grpc_says(void **state)
{
	(void)state;
	static const struct {
		int http, grpc;
	} rows[] = {
	        {400, 13},
	        {401, 16},
	        {403, 7},
	        {404, 12},
	        {429, 14},
	        {502, 14},
	        {503, 14},
	        {504, 14},
	        {200, 2},
	        {204, 2},
	        {302, 2},
	        {408, 2},
	        {413, 2},
	        {431, 2},
	        {500, 2},
	        {501, 2},
	        {0, 2},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(grpc_status_of_http(rows[i].http), rows[i].grpc);
}

static void a_message_is_percent_encoded(void **state)
{
	(void)state;
	struct arena arena = {0};
	static const struct {
		struct str plain;
		const char *encoded;
	} rows[] = {
	        {{"", 0}, ""},
	        {{"rate limit exceeded", 19}, "rate limit exceeded"},
	        {{"100%", 4}, "100%25"},
	        {{"a\r\nb", 4}, "a%0D%0Ab"},
	        {{"\0", 1}, "%00"},
	        {{"\x7f", 1}, "%7F"},
	        {{" ~", 2}, " ~"},
	        {{"\xc3\xa9", 2}, "%C3%A9"},
	        {{"\xff\t", 2}, "%FF%09"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct str encoded = grpc_message_encode(rows[i].plain, &arena);
		assert_int_equal(encoded.len, strlen(rows[i].encoded));
		assert_memory_equal(encoded.at, rows[i].encoded, encoded.len);
	}
	arena_fini(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_timeout_is_digits_and_a_unit),
	        cmocka_unit_test(anything_else_is_no_timeout),
	        cmocka_unit_test(
	                a_timeout_is_written_in_the_finest_unit_that_fits_and_never_longer),
	        cmocka_unit_test(http_statuses_map_as_grpc_says),
	        cmocka_unit_test(a_message_is_percent_encoded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
