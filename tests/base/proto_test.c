#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/proto.h"

static void assert_bytes(struct buffer *out, const char *bytes, size_t len)
{
	assert_int_equal(buffer_len(out), len);
	assert_memory_equal(buffer_data(out), bytes, len);
	buffer_clear(out);
}
#define ASSERT_BYTES(out, literal) assert_bytes(out, literal, sizeof(literal) - 1)

// The examples of protobuf.dev/programming-guides/encoding.
static void numbers_and_text_are_as_the_guide_has_them(void **state)
{
	(void)state;
	struct buffer out = {0};
	proto_uint(&out, 1, 150);
	ASSERT_BYTES(&out, "\x08\x96\x01");
	proto_bytes(&out, 2, STR("testing"));
	ASSERT_BYTES(&out, "\x12\x07testing");
	size_t opened = proto_open(&out, 3);
	proto_uint(&out, 1, 150);
	proto_close(&out, opened);
	ASSERT_BYTES(&out, "\x1a\x03\x08\x96\x01");
	proto_uint(&out, 16, 0);
	ASSERT_BYTES(&out, "\x80\x01\x00");
	proto_varint(&out, UINT64_MAX);
	ASSERT_BYTES(&out, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
	proto_fixed64(&out, 7, UINT64_C(0x0102030405060708));
	ASSERT_BYTES(&out, "\x39\x08\x07\x06\x05\x04\x03\x02\x01");
	proto_fixed32(&out, 16, 0x01020304);
	ASSERT_BYTES(&out, "\x85\x01\x04\x03\x02\x01");
	buffer_fini(&out);
}

static void a_long_message_moves_to_make_room_for_its_length(void **state)
{
	(void)state;
	struct buffer out = {0};
	for (size_t len = 0; len < 40000; len = len * 3 + 1) {
		size_t outer = proto_open(&out, 1), inner = proto_open(&out, 2);
		for (size_t i = 0; i < len; i++)
			buffer_append(&out, (char[]){(char)i}, 1);
		proto_close(&out, inner);
		proto_uint(&out, 3, 7);
		proto_close(&out, outer);
		struct str bytes = buffer_str(&out), content, text;
		uint64_t value;
		unsigned field;
		assert_true(proto_take(&bytes, &field, &value, &content));
		assert_int_equal(field, 1);
		assert_int_equal(bytes.len, 0);
		assert_true(proto_take(&content, &field, &value, &text));
		assert_int_equal(field, 2);
		assert_int_equal(text.len, len);
		for (size_t i = 0; i < len; i++)
			assert_int_equal(text.at[i], (char)i);
		assert_true(proto_take(&content, &field, &value, &text));
		assert_int_equal(field, 3);
		assert_int_equal(value, 7);
		assert_int_equal(content.len, 0);
		buffer_clear(&out);
	}
	buffer_fini(&out);
}

static const struct {
	const char *given;
	size_t most;
	const char *written;
} texts[] = {
        {"plain", 99, "plain"},
        {"plain", 5, "plain"},
        {"plain", 4, "plai"},
        {"plain", 0, ""},
        {"", 9, ""},
        {"\xC3\xA9t\xC3\xA9", 99, "\xC3\xA9t\xC3\xA9"},
        {"\xC3\xA9t\xC3\xA9", 4, "\xC3\xA9t"},
        {"\xC3\xA9t\xC3\xA9", 1, ""},
        {"a\xFF"
         "b",
                99,
                "a\xEF\xBF\xBD"
                "b"},
        {"a\xFF"
         "b",
                5,
                "a\xEF\xBF\xBD"
                "b"},
        {"a\xFF"
         "b",
                4, "a\xEF\xBF\xBD"},
        {"a\xFF"
         "b",
                3, "a"},
        {"\xC0\x80", 99, "\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xED\xA0\x80", 99, "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xF0\x9F\x9A", 99, "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xFF\xFF\xFF\xFF", 7, "\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"ab\xFF\xF0\x9F\x9A\xAA"
         "c",
                9, "ab\xEF\xBF\xBD\xF0\x9F\x9A\xAA"},
        {"ab\xFF\xF0\x9F\x9A\xAA"
         "c",
                8, "ab\xEF\xBF\xBD"},
};

static void text_is_whole_characters(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct buffer out = {0};
		struct str content;
		uint64_t value;
		unsigned field;
		proto_text(&out, 5, str_from(texts[i].given), texts[i].most);
		struct str bytes = buffer_str(&out);
		assert_true(proto_take(&bytes, &field, &value, &content));
		assert_int_equal(bytes.len, 0);
		if (!str_eq(content, str_from(texts[i].written)))
			fail_msg("row %zu became %.*s", i, STR_FMT(content));
		buffer_fini(&out);
	}
}

static void torn_bytes_are_told(void **state)
{
	(void)state;
	static const struct str torn[] = {{"", 0}, {"\x08", 1}, {"\x08\x96", 2},
	        {"\x12\x07test", 6}, {"\x39\x08\x07", 3}, {"\x0b", 1}, {"\x02\x00", 2},
	        {"\x85\x01\x04\x03", 4}, {"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x", 12},
	        {"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 12}};
	for (size_t i = 0; i < ARRAY_LEN(torn); i++) {
		struct str bytes = torn[i], content;
		uint64_t value;
		unsigned field;
		assert_false(proto_take(&bytes, &field, &value, &content));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(numbers_and_text_are_as_the_guide_has_them),
	        cmocka_unit_test(a_long_message_moves_to_make_room_for_its_length),
	        cmocka_unit_test(text_is_whole_characters),
	        cmocka_unit_test(torn_bytes_are_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
