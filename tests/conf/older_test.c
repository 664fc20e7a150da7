// Older spellings are rewritten where they stand, and nothing else is touched: comments, quotes,
// blank lines and line ends are as they were, and so is what the file means.
#include "tests/conf/older_file.h"

static const struct {
	const char *what, *before, *after;
} rows[] = {
        {"lists in brackets",
                "  - name: a\n"
                "    endpoints: [10.0.0.1:1, 10.0.0.2:1]\n"
                "    weights: [3, 1]\n"
                "    balance: least_requests\n",
                "  - name: a\n"
                "    endpoints: [{address: 10.0.0.1:1, weight: 3}, 10.0.0.2:1]\n"
                "    balance: least_requests\n"},
        {"lists of lines, and comments",
                "  - name: a  # the one\n"
                "    # where\n"
                "    endpoints:   # two\n"
                "      - 10.0.0.1:1   # first\n"
                "\n"
                "      # the other\n"
                "      - \"unix:/ä\"\n"
                "    # how much\n"
                "    weights:  # shares\n"
                "      - 3   # large\n"
                "\n"
                "      # and\n"
                "      - '2'\n"
                "    # behind\n"
                "    balance: hash\n"
                "    hash_by: identity # end\n",
                "  - name: a  # the one\n"
                "    # where\n"
                "    endpoints:   # two\n"
                "      - {address: 10.0.0.1:1, weight: 3}   # first\n"
                "\n"
                "      # the other\n"
                "      - {address: \"unix:/ä\", weight: 2}\n"
                "    # how much\n"
                "    # shares\n"
                "      # large\n"
                "\n"
                "      # and\n"
                "    # behind\n"
                "    balance: hash\n"
                "    hash_by: identity # end\n"},
        {"lists of lines at the key's own depth",
                "  - name: a\n"
                "    endpoints:\n"
                "    - 10.0.0.1:1\n"
                "    - 10.0.0.2:1\n"
                "    weights:\n"
                "    - 007\n"
                "    - 1000\n"
                "    connect_timeout: 2s\n",
                "  - name: a\n"
                "    endpoints:\n"
                "    - {address: 10.0.0.1:1, weight: 7}\n"
                "    - {address: 10.0.0.2:1, weight: 1000}\n"
                "    connect_timeout: 2s\n"},
        {"all in one line",
                "  - {name: a, endpoints: [10.0.0.1:1, '10.0.0.2:1'], weights: [1, 2]}\n",
                "  - {name: a, endpoints: [10.0.0.1:1, {address: '10.0.0.2:1', weight: 2}]}\n"},
        {"all in one line, the weights first",
                "  - {weights: [1,2], name: a, endpoints: [10.0.0.1:1,10.0.0.2:1]}\n",
                "  - {name: a, endpoints: [10.0.0.1:1,{address: 10.0.0.2:1, weight: 2}]}\n"},
        {"all in one line, the weights in the middle, a comma too many",
                "  - { endpoints: [ 10.0.0.1:1 , 10.0.0.2:1 , ] , weights : [ 2 , 1 , ] , name: a "
                ", }\n",
                "  - { endpoints: [ {address: 10.0.0.1:1, weight: 2} , 10.0.0.2:1 , ] , name: a , "
                "}\n"},
        {"braces over several lines",
                "  - {name: a,\n"
                "     endpoints: [10.0.0.1:1,   # one\n"
                "                 10.0.0.2:1],  # two\n"
                "     weights: [2,   # more\n"
                "               1],  # less\n"
                "     balance: hash, hash_by: identity}\n",
                "  - {name: a,\n"
                "     endpoints: [{address: 10.0.0.1:1, weight: 2},   # one\n"
                "                 10.0.0.2:1],  # two\n"
                "     # more\n"
                "               # less\n"
                "     balance: hash, hash_by: identity}\n"},
        {"braces over several lines, a line of its own",
                "  - {name: a,\n"
                "     weights: [2, 1],\n"
                "     endpoints: [10.0.0.1:1, 10.0.0.2:1]}\n",
                "  - {name: a,\n"
                "     endpoints: [{address: 10.0.0.1:1, weight: 2}, 10.0.0.2:1]}\n"},
        {"braces over several lines, the last line",
                "  - {name: a,\n"
                "     endpoints: [10.0.0.1:1, 10.0.0.2:1],  # two\n"
                "     weights: [2, 1]}  # end\n",
                "  - {name: a,\n"
                "     endpoints: [{address: 10.0.0.1:1, weight: 2}, 10.0.0.2:1]  # two\n"
                "     }  # end\n"},
        {"braces over several lines, commas in front",
                "  - { name: a\n"
                "    , endpoints: [10.0.0.1:1, 10.0.0.2:1]\n"
                "    , weights: [2, 1]\n"
                "    }\n",
                "  - { name: a\n"
                "    , endpoints: [{address: 10.0.0.1:1, weight: 2}, 10.0.0.2:1]\n"
                "    }\n"},
        {"behind the dash",
                "  - weights: [2, 1]\n"
                "    name: a\n"
                "    endpoints: [10.0.0.1:1, 10.0.0.2:1]\n",
                "  - name: a\n"
                "    endpoints: [{address: 10.0.0.1:1, weight: 2}, 10.0.0.2:1]\n"},
        {"behind the dash, with comments",
                "  - weights:\n"
                "      - 2  # more\n"
                "      - 1\n"
                "    # called\n"
                "    name: a\n"
                "    endpoints: [10.0.0.1:1, 10.0.0.2:1]\n",
                "  -\n"
                "      # more\n"
                "    # called\n"
                "    name: a\n"
                "    endpoints: [{address: 10.0.0.1:1, weight: 2}, 10.0.0.2:1]\n"},
        {"mappings already",
                "  - name: a\n"
                "    endpoints:\n"
                "      - address: 10.0.0.1:1  # one\n"
                "      - {address: 10.0.0.2:1}\n"
                "      - { address: \"10.0.0.3:1\" , }\n"
                "      -\n"
                "        address:\n"
                "          10.0.0.4:1\n"
                "    weights: [2, 3, 4, 5]\n",
                "  - name: a\n"
                "    endpoints:\n"
                "      - address: 10.0.0.1:1  # one\n"
                "        weight: 2\n"
                "      - {address: 10.0.0.2:1, weight: 3}\n"
                "      - { address: \"10.0.0.3:1\", weight: 4 , }\n"
                "      -\n"
                "        address:\n"
                "          10.0.0.4:1\n"
                "        weight: 5\n"},
        {"mappings without braces between brackets",
                "  - {name: a, endpoints: [address: 10.0.0.1:1, 10.0.0.2:1], weights: [2, 3]}\n",
                "  - {name: a, endpoints: [{address: 10.0.0.1:1, weight: 2}, "
                "{address: 10.0.0.2:1, weight: 3}]}\n"},
        {"what would end too soon between braces",
                "  - name: a\n"
                "    weights: [2, 3, 4, 5, 1]\n"
                "    endpoints:\n"
                "      - unix:/a,b\n"
                "      - unix:/it's\n"
                "      - unix:/a b\n"
                "      - unix:/[c]{d}\n"
                "      - unix:/f,g\n",
                "  - name: a\n"
                "    endpoints:\n"
                "      - {address: \"unix:/a,b\", weight: 2}\n"
                "      - {address: unix:/it's, weight: 3}\n"
                "      - {address: unix:/a b, weight: 4}\n"
                "      - {address: \"unix:/[c]{d}\", weight: 5}\n"
                "      - unix:/f,g\n"},
        {"quoted keys, and a # that is no comment",
                "  - \"name\": a\n"
                "    'endpoints': [\"unix:/a#b\", unix:/c#d]\n"
                "    \"weights\": [2, \"1\"]# so\n",
                "  - \"name\": a\n"
                "    'endpoints': [{address: \"unix:/a#b\", weight: 2}, unix:/c#d]\n"
                "    # so\n"},
        {"several backends, and one of them as it should be",
                "  - {name: c, endpoints: [10.0.0.1:1, 10.0.0.2:1], weights: [1, 2]}\n"
                "  - name: a\n"
                "    endpoints: [10.0.0.1:1, {address: 10.0.0.2:1, weight: 2}]\n"
                "  - name: d\n"
                "    weights: [1, 2]\n"
                "    endpoints: [10.0.0.3:1, 10.0.0.4:1]\n",
                "  - {name: c, endpoints: [10.0.0.1:1, {address: 10.0.0.2:1, weight: 2}]}\n"
                "  - name: a\n"
                "    endpoints: [10.0.0.1:1, {address: 10.0.0.2:1, weight: 2}]\n"
                "  - name: d\n"
                "    endpoints: [10.0.0.3:1, {address: 10.0.0.4:1, weight: 2}]\n"},
        {"a last line without an end",
                "  - name: a\n"
                "    endpoints: [10.0.0.1:1, 10.0.0.2:1]\n"
                "    weights: [2, 1]",
                "  - name: a\n"
                "    endpoints: [{address: 10.0.0.1:1, weight: 2}, 10.0.0.2:1]\n"},
        {"a last line without an end, which becomes two",
                "  - name: a\n"
                "    weights: [1, 2]\n"
                "    endpoints:\n"
                "      - 10.0.0.1:1\n"
                "      - address: 10.0.0.2:1",
                "  - name: a\n"
                "    endpoints:\n"
                "      - 10.0.0.1:1\n"
                "      - address: 10.0.0.2:1\n"
                "        weight: 2"},
        {"nothing older", "  - {name: a, endpoints: [10.0.0.1:1]}",
                "  - {name: a, endpoints: [10.0.0.1:1]}"},
};

// The text in its present spelling; the number of edits.
static size_t rewrite(struct str text, struct buffer *out)
{
	struct config_problems problems = {0};
	struct edits edits = {.text = text};
	struct config *config = older_parse(text, &problems);
	bool good = problems.count == 0 && older_rewrite(config, &edits, &problems);
	config_problems_print(&problems, 2);
	assert_true(good);
	edits_apply(&edits, edits.count, out);
	size_t count = edits.count;
	config_free(config);
	edits_fini(&edits);
	config_problems_fini(&problems);
	return count;
}

static void assert_same_meaning(struct str a, struct str b)
{
	struct config_problems problems = {0};
	struct config *before = older_parse(a, &problems), *after = older_parse(b, &problems);
	config_problems_print(&problems, 2);
	assert_int_equal(problems.count, 0);
	assert_true(config_same(before, after));
	config_free(before);
	config_free(after);
	config_problems_fini(&problems);
}

static void check_row(const char *what, struct str before, struct str after)
{
	struct buffer once = {0}, twice = {0};
	size_t count = rewrite(before, &once);
	if (!str_eq(buffer_str(&once), after))
		fail_msg("%s: became\n%.*s\nand should\n%.*s", what, STR_FMT(buffer_str(&once)),
		        STR_FMT(after));
	assert_int_equal(count > 0, !str_eq(before, after));
	assert_same_meaning(before, after);
	assert_int_equal(rewrite(after, &twice), 0);
	assert_true(str_eq(buffer_str(&twice), after));
	buffer_fini(&once);
	buffer_fini(&twice);
}

static void what_is_older_is_rewritten_and_nothing_else(void **state)
{
	static const char *const line_ends[] = {"\n", "\r\n", "\r"};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (size_t j = 0; j < ARRAY_LEN(line_ends); j++) {
			struct buffer before = {0}, after = {0};
			older_write(rows[i].before, line_ends[j], &before);
			older_write(rows[i].after, line_ends[j], &after);
			check_row(rows[i].what, buffer_str(&before), buffer_str(&after));
			buffer_fini(&before);
			buffer_fini(&after);
		}
}

static void a_byte_order_mark_stays(void **state)
{
	static const char *const mark = "\xEF\xBB\xBF";
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct buffer before = {0}, after = {0};
		buffer_append_str(&before, str_from(mark));
		buffer_append_str(&after, str_from(mark));
		older_write(rows[i].before, "\n", &before);
		older_write(rows[i].after, "\n", &after);
		check_row(rows[i].what, buffer_str(&before), buffer_str(&after));
		buffer_fini(&before);
		buffer_fini(&after);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(what_is_older_is_rewritten_and_nothing_else),
	        cmocka_unit_test(a_byte_order_mark_stays),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
