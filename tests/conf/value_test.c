#include <inttypes.h>

#include "conf/value.h"
#include "tests/conf/loading.h"

enum kind { COUNT, SIZE, DURATION };

static bool parse(enum kind kind, struct str text, uint64_t *value)
{
	switch (kind) {
	case COUNT:
		return value_count(text, value);
	case SIZE:
		return value_size(text, value);
	case DURATION:
		return value_duration(text, value);
	}
	return false;
}

static void numbers_are_read_exactly_and_never_wrap(void **state)
{
	(void)state;
	static const struct {
		enum kind kind;
		const char *text;
		uint64_t value;
	} table[] = {
	        {COUNT, "0", 0},
	        {COUNT, "007", 7},
	        {COUNT, "18446744073709551615", UINT64_MAX},
	        {COUNT, "18446744073709551616", UINT64_MAX},
	        {COUNT, "99999999999999999999999999", UINT64_MAX},
	        {SIZE, "512", 512},
	        {SIZE, "512B", 512},
	        {SIZE, "16KiB", 16384},
	        {SIZE, "4MiB", 4194304},
	        {SIZE, "1GiB", 1073741824},
	        {SIZE, "17179869183GiB", UINT64_MAX - 1073741823},
	        {SIZE, "17179869184GiB", UINT64_MAX},
	        {DURATION, "0", 0},
	        {DURATION, "00", 0},
	        {DURATION, "0s", 0},
	        {DURATION, "250ms", 250000000},
	        {DURATION, "10s", 10000000000},
	        {DURATION, "5m", 300000000000},
	        {DURATION, "1h", 3600000000000},
	        {DURATION, "18446744073710ms", UINT64_MAX},
	        {DURATION, "5124096h", UINT64_MAX},
	};
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		uint64_t value = 1;
		assert_true(parse(table[i].kind, str_from(table[i].text), &value));
		if (value != table[i].value)
			fail_msg("%s gave %" PRIu64, table[i].text, value);
	}
}

static void what_is_no_number_is_refused_and_changes_nothing(void **state)
{
	(void)state;
	static const struct {
		enum kind kind;
		const char *text;
	} table[] = {{COUNT, ""}, {COUNT, "-1"}, {COUNT, "+1"}, {COUNT, " 1"}, {COUNT, "1 "},
	        {COUNT, "1e3"}, {COUNT, "0x10"}, {COUNT, "1_000"}, {COUNT, "1."}, {SIZE, ""},
	        {SIZE, "KiB"}, {SIZE, "16KB"}, {SIZE, "16kib"}, {SIZE, "16K"}, {SIZE, "1.5MiB"},
	        {SIZE, "16 KiB"}, {SIZE, "1TiB"}, {DURATION, ""}, {DURATION, "5"}, {DURATION, "s"},
	        {DURATION, "5S"}, {DURATION, "5us"}, {DURATION, "5ns"}, {DURATION, "5d"},
	        {DURATION, "1h30m"}, {DURATION, "5 s"}, {DURATION, "-5s"}, {DURATION, "5s "}};
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		uint64_t value = 4711;
		if (parse(table[i].kind, str_from(table[i].text), &value))
			fail_msg("'%s' gave %" PRIu64, table[i].text, value);
		assert_int_equal(value, 4711);
	}
}

static void rates_are_a_number_and_a_unit(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool good;
		uint64_t count;
		int64_t period_ns;
	} table[] = {{"5/s", true, 5, 1000000000}, {"300/m", true, 300, 60000000000},
	        {"10000/h", true, 10000, 3600000000000},
	        {"99999999999999999999/s", true, UINT64_MAX, 1000000000}, {"5", false, 0, 0},
	        {"5/", false, 0, 0}, {"/s", false, 0, 0}, {"5s", false, 0, 0}, {"5/S", false, 0, 0},
	        {"5/ms", false, 0, 0}, {"5/d", false, 0, 0}, {"5 / s", false, 0, 0},
	        {"0.5/s", false, 0, 0}, {"-5/s", false, 0, 0}, {"5/s/s", false, 0, 0},
	        {"", false, 0, 0}};
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		uint64_t count = 0;
		int64_t period_ns = 0;
		bool good = value_rate(str_from(table[i].text), &count, &period_ns);
		if (good != table[i].good || count != table[i].count ||
		        period_ns != table[i].period_ns)
			fail_msg("'%s': %d %" PRIu64 " %" PRId64, table[i].text, good, count,
			        period_ns);
	}
}

static void rates_of_bytes_are_a_size_and_a_unit(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool good;
		uint64_t bytes;
		int64_t period_ns;
		const char *written;  // NULL: as it was
	} table[] = {{"5/s", true, 5, 1000000000, NULL}, {"64KiB/s", true, 65536, 1000000000, NULL},
	        {"100MiB/m", true, 104857600, 60000000000, NULL},
	        {"1GiB/h", true, 1073741824, 3600000000000, NULL},
	        {"1024GiB/s", true, UINT64_C(1) << 40, 1000000000, NULL},
	        {"1024KiB/s", true, 1048576, 1000000000, "1MiB/s"},
	        {"65536/h", true, 65536, 3600000000000, "64KiB/h"},
	        {"1025/m", true, 1025, 60000000000, NULL}, {"0/s", true, 0, 1000000000, NULL},
	        {"0KiB/s", true, 0, 1000000000, "0/s"},
	        {"99999999999999999999GiB/s", true, UINT64_MAX, 1000000000,
	                "18446744073709551615/s"},
	        {"64KiB", false, 0, 0, NULL}, {"64KiB/", false, 0, 0, NULL},
	        {"/s", false, 0, 0, NULL}, {"KiB/s", false, 0, 0, NULL},
	        {"64KiBs", false, 0, 0, NULL}, {"64KB/s", false, 0, 0, NULL},
	        {"64kib/s", false, 0, 0, NULL}, {"64K/s", false, 0, 0, NULL},
	        {"64 KiB/s", false, 0, 0, NULL}, {"64KiB /s", false, 0, 0, NULL},
	        {"64KiB/ s", false, 0, 0, NULL}, {"64KiB/ms", false, 0, 0, NULL},
	        {"64KiB/S", false, 0, 0, NULL}, {"64KiB/d", false, 0, 0, NULL},
	        {"64KiB/s/s", false, 0, 0, NULL}, {"64/KiB/s", false, 0, 0, NULL},
	        {"0.5MiB/s", false, 0, 0, NULL}, {"-5/s", false, 0, 0, NULL},
	        {"+5/s", false, 0, 0, NULL}, {"5s", false, 0, 0, NULL}, {"", false, 0, 0, NULL}};
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		uint64_t bytes = 0;
		int64_t period_ns = 0;
		struct buffer out = {0};
		bool good = value_byte_rate(str_from(table[i].text), &bytes, &period_ns);
		if (good != table[i].good || bytes != table[i].bytes ||
		        period_ns != table[i].period_ns)
			fail_msg("'%s': %d %" PRIu64 " %" PRId64, table[i].text, good, bytes,
			        period_ns);
		value_write_byte_rate(bytes, good ? period_ns : 1000000000, &out);
		if (good)
			assert_text(buffer_str(&out),
			        table[i].written ? table[i].written : table[i].text);
		buffer_fini(&out);
	}
}

static void numbers_are_written_in_the_unit_that_fits(void **state)
{
	(void)state;
	struct buffer out = {0};
	value_write_size(0, &out);
	value_write_size(1, &out);
	buffer_append_str(&out, STR(" "));
	value_write_size(1 << 20, &out);
	value_write_size((1 << 20) + 1024, &out);
	buffer_append_str(&out, STR(" "));
	value_write_duration(0, &out);
	value_write_duration(90000000000, &out);
	value_write_duration(1001000000, &out);
	value_write_duration(7200000000000, &out);
	buffer_append_str(&out, STR(" "));
	value_write_rate(7, 3600000000000, &out);
	assert_text(buffer_str(&out), "01 1MiB1025KiB 0s90s1001ms2h 7/h");
	buffer_fini(&out);
}

static void text_is_quoted_where_yaml_would_take_it_for_something_else(void **state)
{
	(void)state;
	static const struct {
		struct str text;
		const char *written;
	} table[] = {
	        {{"edge", 4}, "edge"},
	        {{"/a/b-c_d.e", 10}, "/a/b-c_d.e"},
	        {{"", 0}, "\"\""},
	        {{"No", 2}, "\"No\""},
	        {{"null", 4}, "\"null\""},
	        {{"1.2", 3}, "\"1.2\""},
	        {{"-a", 2}, "\"-a\""},
	        {{"a b", 3}, "\"a b\""},
	        {{"a\"\\\n\t\r", 6}, "\"a\\\"\\\\\\n\\t\\x0d\""},
	        {{"a\0b", 3}, "\"a\\x00b\""},
	        {{"\x7f", 1}, "\"\\x7f\""},
	        {{"\xC3\xA9\xF0\x9F\x98\x80", 6}, "\"\\u00e9\\U0001f600\""},
	};
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct buffer out = {0};
		value_write_text(table[i].text, &out);
		assert_text(buffer_str(&out), table[i].written);
		buffer_fini(&out);
	}
}

static void what_a_file_holds_is_quoted_harmlessly(void **state)
{
	(void)state;
	char long_text[300], cut[160];
	memset(long_text, 'x', sizeof(long_text));
	assert_string_equal(value_quote(STR("a b")).text, "'a b'");
	assert_string_equal(value_quote(STR("")).text, "''");
	assert_string_equal(value_quote(STR("a\x1b[31m\n")).text, "'a\\x1b[31m\\x0a'");
	assert_string_equal(value_quote(STR("a\0b")).text, "'a\\x00b'");
	assert_string_equal(
	        value_quote(STR("\xC3\xA9\xC2\x9B\xFF")).text, "'\xC3\xA9\\xc2\\x9b\\xff'");
	snprintf(cut, sizeof(cut), "'%.79s...'", long_text);
	assert_string_equal(value_quote(str_of(long_text, sizeof(long_text))).text, cut);
	memset(long_text, '\xF0', sizeof(long_text));
	assert_true(strlen(value_quote(str_of(long_text, sizeof(long_text))).text) < 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(numbers_are_read_exactly_and_never_wrap),
	        cmocka_unit_test(what_is_no_number_is_refused_and_changes_nothing),
	        cmocka_unit_test(rates_are_a_number_and_a_unit),
	        cmocka_unit_test(rates_of_bytes_are_a_size_and_a_unit),
	        cmocka_unit_test(numbers_are_written_in_the_unit_that_fits),
	        cmocka_unit_test(text_is_quoted_where_yaml_would_take_it_for_something_else),
	        cmocka_unit_test(what_a_file_holds_is_quoted_harmlessly),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
