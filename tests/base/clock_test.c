#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"

static void text_is_rfc_3339_with_microseconds(void **state)
{
	(void)state;
	static const struct {
		int64_t wall_ns;
		const char *text;
	} rows[] = {
	        {0, "1970-01-01T00:00:00.000000Z"},
	        {999, "1970-01-01T00:00:00.000000Z"},
	        {1000, "1970-01-01T00:00:00.000001Z"},
	        {INT64_C(1795452000123456789), "2026-11-23T16:40:00.123456Z"},
	        {INT64_C(1709209799999999999), "2024-02-29T12:29:59.999999Z"},
	        {INT64_C(951782400000000000), "2000-02-29T00:00:00.000000Z"},
	        {INT64_C(4107542399000000000), "2100-02-28T23:59:59.000000Z"},
	        {-1, "1969-12-31T23:59:59.999999Z"},
	        {-NS_PER_S, "1969-12-31T23:59:59.000000Z"},
	        {INT64_MAX, "2262-04-11T23:47:16.854775Z"},
	        {INT64_MIN, "1677-09-21T00:12:43.145224Z"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[CLOCK_TEXT_SIZE];
		clock_text(rows[i].wall_ns, text);
		assert_string_equal(text, rows[i].text);
	}
}

static void text_for_http_is_of_fixed_length(void **state)
{
	(void)state;
	static const struct {
		int64_t wall_s;
		const char *text;
	} rows[] = {
	        {0, "Thu, 01 Jan 1970 00:00:00 GMT"},
	        {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"},
	        {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},
	        {1795452000, "Mon, 23 Nov 2026 16:40:00 GMT"},
	        {4107542399, "Sun, 28 Feb 2100 23:59:59 GMT"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[CLOCK_HTTP_SIZE];
		clock_http(rows[i].wall_s * NS_PER_S + NS_PER_S - 1, text);
		assert_string_equal(text, rows[i].text);
	}
}

static void a_fake_clock_stands_until_the_real_one_returns(void **state)
{
	(void)state;
	clock_fake(5, 7);
	assert_int_equal(clock_monotonic_ns(), 5);
	assert_int_equal(clock_wall_ns(), 7);
	clock_real();
	int64_t before = clock_monotonic_ns();
	assert_true(before > 7);
	assert_true(clock_monotonic_ns() >= before);
	assert_true(clock_wall_ns() > INT64_C(1700000000) * NS_PER_S);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(text_is_rfc_3339_with_microseconds),
	        cmocka_unit_test(text_for_http_is_of_fixed_length),
	        cmocka_unit_test(a_fake_clock_stands_until_the_real_one_returns),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
