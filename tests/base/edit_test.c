// Edits of a text, and what patch(1) is told of them. That it takes it: tests/e2e.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/edit.h"

static const char numbers[] = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n";

static const struct {
	const char *text;
	struct {
		const char *from, *other;  // the first such words of the text; empty: its end
	} edits[3];
	const char *after, *diff;
} rows[] = {
        {numbers, {{"5", "five"}}, "1\n2\n3\n4\nfive\n6\n7\n8\n9\n10\n11\n12\n",
                "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n"},
        {numbers, {{"12\n", ""}, {"1\n", ""}}, "2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n",
                "@@ -1,4 +1,3 @@\n-1\n 2\n 3\n 4\n"
                "@@ -9,4 +8,3 @@\n 9\n 10\n 11\n-12\n"},
        {numbers, {{"2", "2a"}, {"9", "9a"}}, "1\n2a\n3\n4\n5\n6\n7\n8\n9a\n10\n11\n12\n",
                "@@ -1,12 +1,12 @@\n 1\n-2\n+2a\n 3\n 4\n 5\n 6\n 7\n 8\n-9\n+9a\n 10\n 11\n 12\n"},
        {numbers, {{"2", "2\n2a"}, {"10", "10a"}}, "1\n2\n2a\n3\n4\n5\n6\n7\n8\n9\n10a\n11\n12\n",
                "@@ -1,5 +1,6 @@\n 1\n 2\n+2a\n 3\n 4\n 5\n"
                "@@ -7,6 +8,6 @@\n 7\n 8\n 9\n-10\n+10a\n 11\n 12\n"},
        {numbers, {{"6\n7", "6 7"}, {"8\n", ""}}, "1\n2\n3\n4\n5\n6 7\n9\n10\n11\n12\n",
                "@@ -3,9 +3,7 @@\n 3\n 4\n 5\n-6\n-7\n-8\n+6 7\n 9\n 10\n 11\n"},
        {"a\nb", {{"b", "c"}}, "a\nc",
                "@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n"
                "+c\n\\ No newline at end of file\n"},
        {"a\nb", {{"b", ""}}, "a\n", "@@ -1,2 +1,1 @@\n a\n-b\n\\ No newline at end of file\n"},
        {"a\nb", {{"a", "c"}}, "c\nb",
                "@@ -1,2 +1,2 @@\n-a\n+c\n b\n\\ No newline at end of file\n"},
        {"a\n", {{"", "b\n"}}, "a\nb\n", "@@ -1,1 +1,2 @@\n a\n+b\n"},
        {"", {{"", "b\n"}}, "b\n", "@@ -0,0 +1,1 @@\n+b\n"},
        {"a\n", {{"a\n", ""}}, "", "@@ -1,1 +0,0 @@\n-a\n"},
        {"a\r\nb\r\n", {{"b", "c"}}, "a\r\nc\r\n", "@@ -1,2 +1,2 @@\n a\r\n-b\r\n+c\r\n"},
};

static void add(struct edits *edits, const char *from, const char *other)
{
	const char *found = *from ? strstr(edits->text.at, from) : edits->text.at + edits->text.len;
	assert_non_null(found);
	size_t at = (size_t)(found - edits->text.at);
	edits_add(edits, at, at + strlen(from), str_from(other));
}

static void assert_text(const struct buffer *found, const char *front, const char *wanted)
{
	struct str rest = str_skip(buffer_str(found), strlen(front));
	if (!str_starts(buffer_str(found), str_from(front)) || !str_eq(rest, str_from(wanted)))
		fail_msg(
		        "found\n%.*s\nand wanted\n%s%s", STR_FMT(buffer_str(found)), front, wanted);
}

static void edits_are_made_and_told(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct edits edits = {.text = str_from(rows[i].text)};
		struct buffer after = {0}, diff = {0};
		for (size_t j = 0; j < ARRAY_LEN(rows[i].edits) && rows[i].edits[j].from; j++)
			add(&edits, rows[i].edits[j].from, rows[i].edits[j].other);
		edits_apply(&edits, edits.count, &after);
		assert_text(&after, "", rows[i].after);
		edits_diff(&edits, "some/file", &diff);
		assert_text(&diff, "--- some/file\n+++ some/file\n", rows[i].diff);
		buffer_fini(&after);
		buffer_fini(&diff);
		edits_fini(&edits);
	}
}

static void some_of_the_edits_can_be_made(void **state)
{
	struct edits edits = {.text = STR("a b c")};
	struct buffer after = {0};
	(void)state;
	add(&edits, "c", "C");
	add(&edits, "a", "A");
	edits_apply(&edits, 0, &after);
	assert_text(&after, "", "a b c");
	buffer_clear(&after);
	edits_apply(&edits, 1, &after);
	assert_text(&after, "", "a b C");
	buffer_fini(&after);
	edits_fini(&edits);
}

static void what_is_put_in_at_a_place_stands_before_what_goes_there(void **state)
{
	struct edits edits = {.text = STR("a b c")};
	struct buffer after = {0};
	(void)state;
	edits_add(&edits, 2, 4, STR(""));
	edits_add(&edits, 2, 2, STR("new "));
	edits_apply(&edits, edits.count, &after);
	assert_text(&after, "", "a new c");
	buffer_fini(&after);
	edits_fini(&edits);
}

static void no_edit_is_no_difference(void **state)
{
	struct edits edits = {.text = STR("a\n")};
	struct buffer diff = {0};
	(void)state;
	edits_diff(&edits, "file", &diff);
	assert_int_equal(buffer_len(&diff), 0);
	buffer_fini(&diff);
}

// A tab behind it is how patch(1) knows that the name goes on behind the space.
static void a_name_with_a_space_is_told_to_its_end(void **state)
{
	struct edits edits = {.text = STR("a\n")};
	struct buffer diff = {0};
	(void)state;
	add(&edits, "a", "b");
	edits_diff(&edits, "a file", &diff);
	assert_text(&diff, "--- a file\t\n+++ a file\t\n", "@@ -1,1 +1,1 @@\n-a\n+b\n");
	buffer_fini(&diff);
	edits_fini(&edits);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(edits_are_made_and_told),
	        cmocka_unit_test(some_of_the_edits_can_be_made),
	        cmocka_unit_test(what_is_put_in_at_a_place_stands_before_what_goes_there),
	        cmocka_unit_test(no_edit_is_no_difference),
	        cmocka_unit_test(a_name_with_a_space_is_told_to_its_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
