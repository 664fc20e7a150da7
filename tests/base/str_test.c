#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/check.h"
#include "base/str.h"

static void assert_str(struct str s, const char *expected)
{
	assert_int_equal(s.len, strlen(expected));
	assert_memory_equal(s.at ? s.at : "", expected, s.len);
}

static void empty_strings_need_no_pointer(void **state)
{
	(void)state;
	struct str none = str_from(NULL);
	assert_int_equal(none.len, 0);
	assert_true(str_eq(none, STR("")));
	assert_true(str_eq_nocase(none, none));
	assert_true(str_starts(none, none));
	assert_true(str_starts_nocase(none, none));
	assert_true(str_ends(none, none));
	assert_false(str_ends(none, STR("a")));
	assert_null(str_find_byte(none, 'a'));
	assert_int_equal(str_trim(none).len, 0);
}

static void comparisons_are_bytewise_and_bounded(void **state)
{
	(void)state;
	static const struct {
		struct str a, b;
		bool eq, eq_nocase, starts, starts_nocase, ends;
	} rows[] = {
	        {STR("abc"), STR("abc"), true, true, true, true, true},
	        {STR("abc"), STR("ABC"), false, true, false, true, false},
	        {STR("abc"), STR("ab"), false, false, true, true, false},
	        {STR("abc"), STR("Ab"), false, false, false, true, false},
	        {STR("abc"), STR("bc"), false, false, false, false, true},
	        {STR("abc"), STR("abcd"), false, false, false, false, false},
	        {STR("abc"), STR(""), false, false, true, true, true},
	        {STR("a\0b"), STR("a\0c"), false, false, false, false, false},
	        {STR("\xc3\xa4"), STR("\xc3\x84"), false, false, false, false, false},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(str_eq(rows[i].a, rows[i].b), rows[i].eq);
		assert_int_equal(str_starts(rows[i].a, rows[i].b), rows[i].starts);
		assert_int_equal(str_ends(rows[i].a, rows[i].b), rows[i].ends);
		assert_int_equal(str_eq_nocase(rows[i].a, rows[i].b), rows[i].eq_nocase);
		assert_int_equal(str_starts_nocase(rows[i].a, rows[i].b), rows[i].starts_nocase);
	}
}

// strncasecmp stops at a NUL: what differs behind one must still differ.
static void nocase_comparison_looks_behind_a_nul(void **state)
{
	(void)state;
	assert_false(str_eq_nocase(STR("a\0b"), STR("a\0c")));
	assert_true(str_eq_nocase(STR("a\0B"), STR("A\0b")));
	assert_false(str_starts_nocase(STR("a\0bc"), STR("a\0x")));
}

static void fields_are_the_same_in_every_spelling_of_their_name(void **state)
{
	(void)state;
	assert_true(str_same_field(STR(""), str_from(NULL)));
	assert_true(str_same_field(STR("x-tenant"), STR("X_Tenant")));
	assert_true(str_same_field(STR("x_a-b"), STR("x-a_b")));
	assert_false(str_same_field(STR("x-tenant"), STR("x-tenants")));
	assert_false(str_same_field(STR("x-tenant"), STR("x.tenant")));
	assert_false(str_same_field(STR("xa"), STR("x-")));
	assert_false(str_same_field(STR("@"), STR("`")));
}

// Every byte at every place of a text that is shorter, as long, and longer than what is looked at
// in one step; and the first of two.
static void the_first_control_byte_is_found_wherever_it_stands(void **state)
{
	(void)state;
	char text[27];
	for (size_t len = 0; len <= sizeof(text); len++) {
		memset(text, '\t', len);
		assert_int_equal(str_find_control(str_of(text, len)), len);
		memset(text, 0x80, len);
		assert_int_equal(str_find_control(str_of(text, len)), len);
		for (size_t at = 0; at < len; at++)
			for (int byte = 0; byte < 256; byte++) {
				bool control = (byte < 0x20 && byte != '\t') || byte == 0x7f;
				memset(text, at % 2 ? 0x21 : 0xff, len);
				text[len - 1] = '\n';
				text[at] = (char)byte;
				size_t expected = control || at == len - 1 ? at : len - 1;
				if (at == len - 1 && !control)
					expected = len;
				assert_int_equal(str_find_control(str_of(text, len)), expected);
			}
	}
	assert_int_equal(str_find_control(str_of(NULL, 0)), 0);
}

static void trim_takes_spaces_and_tabs_only(void **state)
{
	(void)state;
	static const struct {
		const char *in, *out;
	} rows[] = {{"", ""}, {" \t ", ""}, {" a ", "a"}, {"\ta b\t", "a b"}, {"\ra\n", "\ra\n"}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_str(str_trim(str_from(rows[i].in)), rows[i].out);
}

static void lists_skip_empty_elements(void **state)
{
	(void)state;
	static const struct {
		const char *list, *elements;  // joined by '|'
	} rows[] = {
	        {"", ""},
	        {",", ""},
	        {" , ,\t, ", ""},
	        {"a", "a|"},
	        {"a,b", "a|b|"},
	        {" a\t, b b ,,c,", "a|b b|c|"},
	        {",close", "close|"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct str list = str_from(rows[i].list), element;
		char joined[64] = "";
		while (str_next_element(&list, &element)) {
			strncat(joined, element.at, element.len);
			strcat(joined, "|");
		}
		assert_string_equal(joined, rows[i].elements);
		assert_int_equal(list.len, 0);
	}
}

static void numbers_are_digits_within_the_maximum(void **state)
{
	(void)state;
	static const struct {
		struct str text;
		uint64_t max;
		bool good;
		uint64_t value;
	} rows[] = {
	        {STR("0"), 0, true, 0},
	        {STR("00012"), 99, true, 12},
	        {STR("18446744073709551615"), UINT64_MAX, true, UINT64_MAX},
	        {STR("18446744073709551616"), UINT64_MAX, false, 0},
	        {STR("99999999999999999999999"), UINT64_MAX, false, 0},
	        {STR("255"), 255, true, 255},
	        {STR("256"), 255, false, 0},
	        {STR("3"), 2, false, 0},
	        {STR(""), 9, false, 0},
	        {STR("+1"), 9, false, 0},
	        {STR("-1"), 9, false, 0},
	        {STR(" 1"), 9, false, 0},
	        {STR("1 "), 9, false, 0},
	        {STR("0x1"), 9, false, 0},
	        {STR("1\0"), 9, false, 0},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint64_t value = 4711;
		assert_int_equal(str_to_u64(rows[i].text, rows[i].max, &value), rows[i].good);
		assert_int_equal(value, rows[i].good ? rows[i].value : 4711);
	}
}

static void hash_depends_on_every_byte_on_length_and_seed(void **state)
{
	(void)state;
	char bytes[40];
	for (size_t len = 0; len <= sizeof(bytes); len++) {
		memset(bytes, 0, sizeof(bytes));
		uint64_t base = str_hash(str_of(bytes, len), 1);
		assert_int_equal(base, str_hash(str_of(bytes, len), 1));
		assert_int_not_equal(base, str_hash(str_of(bytes, len), 2));
		if (len)
			assert_int_not_equal(base, str_hash(str_of(bytes, len - 1), 1));
		for (size_t i = 0; i < len; i++) {
			bytes[i] ^= 1;
			assert_int_not_equal(base, str_hash(str_of(bytes, len), 1));
			bytes[i] ^= 1;
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(empty_strings_need_no_pointer),
	        cmocka_unit_test(comparisons_are_bytewise_and_bounded),
	        cmocka_unit_test(nocase_comparison_looks_behind_a_nul),
	        cmocka_unit_test(fields_are_the_same_in_every_spelling_of_their_name),
	        cmocka_unit_test(the_first_control_byte_is_found_wherever_it_stands),
	        cmocka_unit_test(trim_takes_spaces_and_tabs_only),
	        cmocka_unit_test(lists_skip_empty_elements),
	        cmocka_unit_test(numbers_are_digits_within_the_maximum),
	        cmocka_unit_test(hash_depends_on_every_byte_on_length_and_seed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
