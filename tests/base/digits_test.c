#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/check.h"
#include "base/digits.h"

static const uint64_t values[] = {0, 1, 9, 10, 15, 16, 99, 100, 255, 256, 65535, 65536, 999999999,
        UINT64_C(0x0123456789abcdef), INT64_MAX, UINT64_MAX - 1, UINT64_MAX};

static void digits_are_those_of_printf(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		char got[DIGITS_MAX], expected[32];
		int len = snprintf(expected, sizeof(expected), "%" PRIu64, values[i]);
		assert_int_equal(digits_decimal(got, values[i]), len);
		assert_memory_equal(got, expected, (size_t)len);
		len = snprintf(expected, sizeof(expected), "%" PRIx64, values[i]);
		assert_int_equal(digits_hex(got, values[i]), len);
		assert_memory_equal(got, expected, (size_t)len);
		snprintf(expected, sizeof(expected), "%016" PRIx64, values[i]);
		digits_hex_padded(got, values[i]);
		assert_memory_equal(got, expected, DIGITS_HEX);
	}
}

static void arena_and_buffer_take_digits(void **state)
{
	struct arena arena = {0};
	struct buffer buffer = {0};
	(void)state;
	struct str id = arena_join(
	        &arena, (struct str[]){STR("n="), arena_digits(&arena, 42), STR(""), STR(";")}, 4);
	assert_string_equal(id.at, "n=42;");
	assert_int_equal(id.len, 5);
	assert_int_equal(arena_join(&arena, NULL, 0).len, 0);
	buffer_append_digits(&buffer, UINT64_MAX);
	buffer_append_digits(&buffer, 0);
	assert_int_equal(buffer_len(&buffer), 21);
	assert_memory_equal(buffer_data(&buffer), "184467440737095516150", 21);
	buffer_fini(&buffer);
	arena_fini(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(digits_are_those_of_printf),
	        cmocka_unit_test(arena_and_buffer_take_digits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
