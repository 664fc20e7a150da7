// Config files: any text is read or complained of at a place in it, by a message on one line; what
// is read is compiled, dumps to a file that reads back to the same, and in its present spelling, if
// it can have it, says the same and has nothing older in it.
//   a YAML file
#include "conf/older.h"
#include "policy/policy.h"
#include "tests/conf/resolver.h"
#include "tests/fuzz/fuzz.h"

static void check_problems(const struct config_problems *problems, size_t size)
{
	CHECK(problems->count <= CONFIG_PROBLEMS_MAX);
	for (size_t i = 0; i < problems->count; i++) {
		const struct config_problem *problem = &problems->items[i];
		CHECK(problem->what.len && problem->mark.line >= 0 && problem->mark.column >= 0);
		CHECK((size_t)problem->mark.line <= size + 2);
		CHECK(!has_control_bytes(problem->what) && !has_control_bytes(problem->key));
	}
}

static void check_dump(const struct config *config)
{
	struct buffer first = {0}, second = {0};
	struct config_problems problems = {0};
	config_dump(config, &first);
	struct config *again = config_parse(
	        buffer_str(&first), "dump.yaml", "/elsewhere", &problems);
	if (!again) {
		fwrite(buffer_data(&first), 1, buffer_len(&first), stderr);
		config_problems_print(&problems, 2);
	}
	CHECK(again && problems.count == 0);
	config_dump(again, &second);
	CHECK(str_eq(buffer_str(&first), buffer_str(&second)));
	config_free(again);
	config_problems_fini(&problems);
	buffer_fini(&first);
	buffer_fini(&second);
}

static void check_policy(const struct config *config)
{
	struct config_problems problems = {0};
	struct policy *policy = policy_compile(config, NULL, &problems);
	CHECK((policy != NULL) == (problems.count == 0));
	check_problems(&problems, SIZE_MAX - 2);
	policy_free(policy);
	config_problems_fini(&problems);
}

// Its present spelling; empty where it has none that would mean the same.
static struct buffer check_older(struct str text, size_t *edit_count)
{
	struct config_problems problems = {0};
	struct buffer rewritten = {0}, diff = {0};
	struct edits edits = {.text = text};
	struct config *config = config_parse_offline(text, "/etc/tollgate/fuzz.yaml", &problems);
	CHECK(config && problems.count == 0);
	if (older_rewrite(config, &edits, &problems)) {
		edits_apply(&edits, edits.count, &rewritten);
		edits_diff(&edits, "fuzz.yaml", &diff);
		CHECK((buffer_len(&diff) > 0) == (edits.count > 0));
	}
	*edit_count = edits.count;
	check_problems(&problems, text.len);
	edits_fini(&edits);
	config_free(config);
	config_problems_fini(&problems);
	buffer_fini(&diff);
	return rewritten;
}

static void check_rewritten(const struct config *config, struct str text)
{
	struct config_problems problems = {0};
	size_t edits;
	struct buffer once = check_older(text, &edits);
	if (buffer_len(&once) == 0)
		return;
	struct config *after = config_parse(
	        buffer_str(&once), "fuzz.yaml", "/etc/tollgate", &problems);
	CHECK(after && problems.count == 0 && config_same(config, after));
	struct buffer twice = check_older(buffer_str(&once), &edits);
	CHECK(edits == 0 && str_eq(buffer_str(&once), buffer_str(&twice)));
	config_free(after);
	config_problems_fini(&problems);
	buffer_fini(&once);
	buffer_fini(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = own_copy(str_of((const char *)data, size));
	struct config_problems problems = {0};
	struct config *config = config_parse(text, "fuzz.yaml", "/etc/tollgate", &problems);
	CHECK((config != NULL) == (problems.count == 0));
	check_problems(&problems, size);
	if (config) {
		check_dump(config);
		check_policy(config);
		check_rewritten(config, text);
		config_free(config);
	}
	own_free(text);
	config_problems_fini(&problems);
	return 0;
}
