#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <jansson.h>

#include "base/json.h"

static struct str written(struct buffer *buffer, struct str value)
{
	struct json json;
	buffer_clear(buffer);
	json_init(&json, buffer);
	json_str(&json, value);
	return buffer_str(buffer);
}

// What may stand raw in a line of a log: printable ASCII and well-formed UTF-8 from U+00A0 on.
static void assert_tame(struct str text)
{
	for (size_t i = 0; i < text.len; i++) {
		unsigned char byte = (unsigned char)text.at[i];
		assert_true(byte >= 0x20 && byte != 0x7f);
		if (byte == 0xc2)
			assert_true((unsigned char)text.at[i + 1] >= 0xa0);
	}
}

static json_t *parsed(struct str text)
{
	json_error_t error;
	json_t *value = json_loadb(text.at, text.len,
	        JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
	if (!value)
		fail_msg("%s in %.*s", error.text, STR_FMT(text));
	return value;
}

static void every_byte_alone_leaves_tame_and_parses(void **state)
{
	(void)state;
	struct buffer buffer = {0};
	for (int byte = 0; byte < 256; byte++) {
		char in[3] = {'a', (char)byte, 'z'};
		struct str out = written(&buffer, str_of(in, sizeof(in)));
		assert_tame(out);
		json_t *value = parsed(out);
		if (byte < 0x80) {
			assert_int_equal(json_string_length(value), 3);
			assert_memory_equal(json_string_value(value), in, 3);
		} else {
			assert_string_equal(json_string_value(value), "a\xef\xbf\xbdz");
		}
		json_decref(value);
	}
	buffer_fini(&buffer);
}

static void text_is_escaped_so_that_it_stays_one_value(void **state)
{
	(void)state;
	static const struct {
		struct str in;
		const char *out;
	} rows[] = {
	        {STR(""), "\"\""},
	        {STR("plain"), "\"plain\""},
	        {STR("\"\\/"), "\"\\\"\\\\/\""},
	        {STR("a\r\n\t\0b"), "\"a\\u000d\\u000a\\u0009\\u0000b\""},
	        {STR("\x1b[2J\x7f"), "\"\\u001b[2J\\u007f\""},
	        {STR("\"},\n{\"seq\":1"), "\"\\\"},\\u000a{\\\"seq\\\":1\""},
	        {STR("gr\xc3\xbc\xc3\x9f"), "\"gr\xc3\xbc\xc3\x9f\""},
	        {STR("\xf0\x9f\x92\xa9"), "\"\xf0\x9f\x92\xa9\""},
	        {STR("\xc2\x85\xc2\x9f\xc2\xa0"), "\"\\u0085\\u009f\xc2\xa0\""},  // C1
	        {STR("\xe2\x80\xa8\xe2\x80\xa9"), "\"\\u2028\\u2029\""},          // line ends
	        {STR("\xc0\x80"), "\"\\ufffd\\ufffd\""},                          // overlong NUL
	        {STR("\xe0\x80\xaf"), "\"\\ufffd\\ufffd\\ufffd\""},               // overlong /
	        {STR("\xed\xa0\x80"), "\"\\ufffd\\ufffd\\ufffd\""},               // surrogate
	        {STR("\xf4\x90\x80\x80"), "\"\\ufffd\\ufffd\\ufffd\\ufffd\""},    // > U+10FFFF
	        {STR("\xf8\x88\x80\x80\x80"), "\"\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\""},
	        {STR("\xe2\x82"), "\"\\ufffd\\ufffd\""},        // cut short
	        {STR("\xe2\x82\""), "\"\\ufffd\\ufffd\\\"\""},  // a quote never hides in a sequence
	        {STR("\xf0\x9f\x92"), "\"\\ufffd\\ufffd\\ufffd\""},
	};
	struct buffer buffer = {0};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct str out = written(&buffer, rows[i].in);
		assert_true(str_eq(out, str_from(rows[i].out)));
		json_decref(parsed(out));
	}
	buffer_fini(&buffer);
}

static void hostile_bytes_always_give_one_tame_value(void **state)
{
	(void)state;
	static const unsigned char favourites[] = {0, '"', '\\', '\n', 0x7f, 0x80, 0x9f, 0xa0, 0xbf,
	        0xc0, 0xc2, 0xe0, 0xe2, 0xed, 0xef, 0xf0, 0xf4, 0xf5, 0xff};
	struct buffer buffer = {0};
	srandom(3);
	for (int round = 0; round < 20000; round++) {
		size_t len = (size_t)(random() % 24);
		char *in = malloc(len + 1);  // exactly as long as it is, for ASan
		in = realloc(in, len ? len : 1);
		for (size_t i = 0; i < len; i++)
			in[i] = random() % 2
			                ? (char)random()
			                : (char)favourites[(size_t)random() % sizeof(favourites)];
		struct str out = written(&buffer, str_of(in, len));
		assert_tame(out);
		json_decref(parsed(out));
		free(in);
	}
	buffer_fini(&buffer);
}

static void commas_and_colons_come_by_themselves(void **state)
{
	(void)state;
	struct buffer buffer = {0};
	struct json json;
	json_init(&json, &buffer);
	json_open(&json, '{');
	json_member_str(&json, "a", STR("x"));
	json_member_str_if(&json, "left out", STR(""));
	json_member_str(&json, "kept", str_from(NULL));
	json_key(&json, "list");
	json_open(&json, '[');
	json_int(&json, 1);
	json_open(&json, '{');
	json_close(&json, '}');
	json_str(&json, STR("s"));
	json_open(&json, '[');
	json_close(&json, ']');
	json_close(&json, ']');
	json_member_bool(&json, "yes", true);
	json_member_bool(&json, "no", false);
	json_member_int(&json, "n", -5);
	json_close(&json, '}');
	assert_true(str_eq(
	        buffer_str(&buffer), STR("{\"a\":\"x\",\"kept\":\"\",\"list\":[1,{},\"s\",[]],"
	                                 "\"yes\":true,\"no\":false,\"n\":-5}")));
	buffer_fini(&buffer);
}

static void integers_reach_both_ends_of_their_range(void **state)
{
	(void)state;
	static const int64_t values[] = {0, 9, 10, -1, -10, 1234567890123, INT64_MAX, INT64_MIN};
	struct buffer buffer = {0};
	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		struct json json;
		buffer_clear(&buffer);
		json_init(&json, &buffer);
		json_int(&json, values[i]);
		json_t *value = parsed(buffer_str(&buffer));
		assert_true(json_integer_value(value) == values[i]);
		json_decref(value);
	}
	buffer_fini(&buffer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(every_byte_alone_leaves_tame_and_parses),
	        cmocka_unit_test(text_is_escaped_so_that_it_stays_one_value),
	        cmocka_unit_test(hostile_bytes_always_give_one_tame_value),
	        cmocka_unit_test(commas_and_colons_come_by_themselves),
	        cmocka_unit_test(integers_reach_both_ends_of_their_range),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
