// What cannot be rewritten without meaning something else, or being too much, is refused.
#include "tests/conf/older_file.h"

// Each has good backends before and behind, which could be rewritten, and is refused for a, which
// begins in line 20.
static const struct {
	const char *what, *rest;
	int line, column;
	const char *why;
} refusals[] = {
        {"an address as a block of text",
                "    endpoints:\n      - |-\n       10.0.0.1:1\n      - 10.0.0.2:1\n"
                "    weights: [2, 1]\n",
                22, 9, "this address is written as a block of text"},
        {"an address as a folded block of text",
                "    endpoints:\n      - 10.0.0.2:1\n      - >-\n       10.0.0.1:1\n"
                "    weights: [1, 2]\n",
                23, 9, "this address is written as a block of text"},
        {"a key behind a question mark",
                "    endpoints: [10.0.0.1:1, 10.0.0.2:1]\n    ? weights\n    : [2, 1]\n", 23, 7,
                "it is written in a way in which that would not mean the same"},
        {"an address as a block of text in a mapping",
                "    weights: [2, 1]\n    endpoints:\n      - address: |-\n"
                "          10.0.0.1:1\n      - 10.0.0.2:1\n",
                21, 14, "it is written in a way in which that would not mean the same"},
};

static void what_cannot_be_rewritten_is_refused_at_its_place(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
		char rest[400];
		struct buffer text = {0};
		struct config_problems problems = {0};
		snprintf(rest, sizeof(rest),
		        "  - {name: c, endpoints: [10.0.0.1:1, 10.0.0.2:1], weights: [1, 2]}\n"
		        "  - name: a\n%s"
		        "  - {name: d, endpoints: [10.0.0.1:1, 10.0.0.2:1], weights: [1, 2]}\n",
		        refusals[i].rest);
		older_write(rest, "\n", &text);
		struct edits edits = {.text = buffer_str(&text)};
		struct config *config = older_parse(edits.text, &problems);
		config_problems_print(&problems, 2);
		assert_int_equal(problems.count, 0);
		assert_false(older_rewrite(config, &edits, &problems));
		assert_int_equal(problems.items[0].mark.line, refusals[i].line);
		assert_int_equal(problems.items[0].mark.column, refusals[i].column);
		assert_one_problem(&problems, i, "backends[2].weights", refusals[i].why);
		config_free(config);
		edits_fini(&edits);
		buffer_fini(&text);
	}
}

static void a_file_that_would_be_too_large_is_refused(void **state)
{
	struct buffer text = {0};
	struct config_problems problems = {0};
	(void)state;
	older_write("  - {name: a, endpoints: [10.0.0.1:1, 10.0.0.2:1], weights: [1, 2]}\n", "\n",
	        &text);
	while (buffer_len(&text) < TREE_BYTES_MAX - 1)
		buffer_append_str(&text, STR("#"));
	buffer_append_str(&text, STR("\n"));
	struct edits edits = {.text = buffer_str(&text)};
	struct config *config = older_parse(edits.text, &problems);
	assert_int_equal(problems.count, 0);
	assert_false(older_rewrite(config, &edits, &problems));
	assert_one_problem(&problems, 0, "", "would be larger than 4MiB in the present spelling");
	config_free(config);
	edits_fini(&edits);
	buffer_fini(&text);
}

// A config repository has neither the users nor the names of the machine that will serve it.
static void a_text_is_read_without_asking_anybody(void **state)
{
	struct config_problems problems = {0};
	struct buffer text = {0};
	(void)state;
	older_write("  - {name: a, endpoints: [10.0.0.1]}\n", "\n", &text);
	struct config *config = older_parse(buffer_str(&text), &problems);
	assert_non_null(config);
	assert_one_problem(&problems, 0, "backends[1].endpoints[0]", "which has no port from 1");
	config_free(config);
	buffer_fini(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(what_cannot_be_rewritten_is_refused_at_its_place),
	        cmocka_unit_test(a_file_that_would_be_too_large_is_refused),
	        cmocka_unit_test(a_text_is_read_without_asking_anybody),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
