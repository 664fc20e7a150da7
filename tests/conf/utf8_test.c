#include "conf/utf8.h"
#include "tests/conf/loading.h"

static void every_code_point_is_read_and_nothing_else(void **state)
{
	(void)state;
	static const struct {
		struct str bytes;
		int32_t character;
	} table[] = {
	        {{"a", 1}, 'a'},
	        {{"\0", 1}, 0},
	        {{"\x7F", 1}, 0x7F},
	        {{"\xC2\x80", 2}, 0x80},
	        {{"\xDF\xBF", 2}, 0x7FF},
	        {{"\xE0\xA0\x80", 3}, 0x800},
	        {{"\xEF\xBF\xBF", 3}, 0xFFFF},
	        {{"\xF0\x90\x80\x80", 4}, 0x10000},
	        {{"\xF4\x8F\xBF\xBF", 4}, 0x10FFFF},
	        {{"\x80", 1}, -1},              // a continuation alone
	        {{"\xC2", 1}, -1},              // cut short
	        {{"\xE2\x82", 2}, -1},          // cut short
	        {{"\xC2\x41", 2}, -1},          // no continuation
	        {{"\xC0\x80", 2}, -1},          // overlong
	        {{"\xC1\xBF", 2}, -1},          // overlong
	        {{"\xE0\x9F\xBF", 3}, -1},      // overlong
	        {{"\xF0\x8F\xBF\xBF", 4}, -1},  // overlong
	        {{"\xED\xA0\x80", 3}, -1},      // a surrogate
	        {{"\xED\xBF\xBF", 3}, -1},      // a surrogate
	        {{"\xF4\x90\x80\x80", 4}, -1},  // above U+10FFFF
	        {{"\xF8\x88\x80\x80\x80", 5}, -1},
	        {{"\xFF", 1}, -1},
	};
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct str text = table[i].bytes;
		assert_int_equal(utf8_take(&text), table[i].character);
		assert_int_equal(text.len, table[i].character < 0 ? table[i].bytes.len : 0);
	}
}

static void a_fault_has_its_line_and_its_column_in_characters(void **state)
{
	(void)state;
	static const struct {
		struct str text;
		int line, column;
	} table[] = {
	        {{"\x01", 1}, 1, 1},
	        {{"ab\x01", 3}, 1, 3},
	        {{"a\nb\n\x01", 5}, 3, 1},
	        {{"a\r\nb\x01", 5}, 2, 2},
	        {{"a\rb\x01", 4}, 2, 2},
	        {{"a\n\r\x01", 4}, 3, 1},
	        {{"\xC3\xA9\xC3\xA9\x01", 5}, 1, 3},
	        {{"\ta\xFF", 3}, 1, 3},
	};
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct utf8_fault fault;
		assert_false(utf8_printable(table[i].text, &fault));
		assert_int_equal(fault.mark.line, table[i].line);
		assert_int_equal(fault.mark.column, table[i].column);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(every_code_point_is_read_and_nothing_else),
	        cmocka_unit_test(a_fault_has_its_line_and_its_column_in_characters),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
