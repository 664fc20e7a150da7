#include "tests/gateway/audit_fixture.h"

#include "gateway/audit_chain.h"

// Ten records, one a line; `lines[i]` without its newline.
enum { RECORDS = 10 };
static char *lines[RECORDS];

static int make_lines(void **state)
{
	struct audit_chain chain;
	struct buffer out = {0};
	audit_chain_init(&chain);
	for (int i = 0; i < RECORDS; i++) {
		buffer_clear(&out);
		audit_chain_append(
		        &chain, &out, i, STR("\"event\":\"rejected\",\"reason\":\"x\""), STR(""));
		lines[i] = must_copy(buffer_data(&out), buffer_len(&out) - 1);
	}
	buffer_fini(&out);
	return make_scratch(state);
}

static int drop_lines(void **state)
{
	for (int i = 0; i < RECORDS; i++)
		free(lines[i]);
	return remove_scratch(state);
}

// Runs audit_verify with stdout in a file; what it said is in `said`.
static char said[4096];

static int verify(int count, char *const files[])
{
	const char *path = in_scratch("said");
	fflush(stdout);
	int kept = dup(STDOUT_FILENO), file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	dup2(file, STDOUT_FILENO);
	int result = audit_verify(count, files);
	fflush(stdout);
	dup2(kept, STDOUT_FILENO);
	close(kept);
	ssize_t len = pread(file, said, sizeof(said) - 1, 0);
	said[len > 0 ? len : 0] = '\0';
	close(file);
	return result;
}

// "0123+4" means lines 0 to 3 and 4; '-' before a digit cuts the newline behind it off.
static void write_log(const char *path, const char *which)
{
	struct buffer out = {0};
	for (; *which; which++) {
		if (*which == '-') {
			buffer_cut(&out, buffer_len(&out) - 1);
			continue;
		}
		buffer_printf(&out, "%s\n", lines[*which - '0']);
	}
	spill(path, out.block ? buffer_data(&out) : "", buffer_len(&out));
	buffer_fini(&out);
}

static void assert_verdict(int result, int expected, const char *words)
{
	if (result != expected || strcmp(said, words) != 0)
		fail_msg("%d: '%s', expected %d: '%s'", result, said, expected, words);
}

static void an_intact_chain_is_summed_up_in_a_line(void **state)
{
	(void)state;
	char *path = in_scratch("a");
	write_log(path, "0123456789");
	assert_verdict(verify(1, &path), 0, "10 records, seq 1..10, chain intact\n");
	write_log(path, "");
	assert_verdict(verify(1, &path), 0, "0 records, chain intact\n");
	assert_verdict(verify(0, NULL), 0, "0 records, chain intact\n");
}

static void a_rotated_log_is_one_chain_over_its_files(void **state)
{
	(void)state;
	char *files[] = {
	        in_scratch("a.2"), in_scratch("a.1"), in_scratch("empty"), in_scratch("a")};
	write_log(files[0], "012");
	write_log(files[1], "345");
	write_log(files[2], "");
	write_log(files[3], "6789");
	assert_verdict(verify(4, files), 0, "10 records, seq 1..10, chain intact\n");
	assert_verdict(verify(1, &files[1]), 0,
	        "3 records, seq 4..6, chain intact (starts inside a chain: what came before cannot "
	        "be checked)\n");
	char *skipped[] = {files[0], files[3]}, words[600];
	snprintf(words, sizeof(words), "%s:1: seq 7 follows 3: 3 missing before this line\n",
	        files[3]);
	assert_verdict(verify(2, skipped), 3, words);
	char *turned[] = {files[1], files[0]};
	snprintf(words, sizeof(words),
	        "%s:1: seq 1 follows 6: repeated, inserted or out of order\n", files[0]);
	assert_verdict(verify(2, turned), 3, words);
}

static void missing_doubled_and_swapped_lines_are_named(void **state)
{
	(void)state;
	static const struct {
		const char *log;
		int line;
		const char *what;
	} rows[] = {
	        {"0134", 3, "seq 4 follows 2: 1 missing before this line"},
	        {"0145", 3, "seq 5 follows 2: 2 missing before this line"},
	        {"0112", 3, "seq 2 follows 2: repeated, inserted or out of order"},
	        {"0213", 2, "seq 3 follows 1: 1 missing before this line"},
	        {"012301", 5, "seq 1 follows 4: repeated, inserted or out of order"},
	};
	char *path = in_scratch("a"), words[600];
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		write_log(path, rows[i].log);
		snprintf(words, sizeof(words), "%s:%d: %s\n", path, rows[i].line, rows[i].what);
		assert_verdict(verify(1, &path), 3, words);
	}
}

static void a_torn_last_line_is_said_to_be_one(void **state)
{
	(void)state;
	char *path = in_scratch("a"), words[600];
	write_log(path, "012-");
	snprintf(words, sizeof(words), "%s:3: torn: the last line has no newline (%zu bytes)", path,
	        strlen(lines[2]));
	assert_int_equal(verify(1, &path), 3);
	assert_memory_equal(said, words, strlen(words));
	size_t len;
	char *text = slurp(path, &len);
	spill(path, text, len - 30);
	free(text);
	assert_int_equal(verify(1, &path), 3);
	assert_non_null(strstr(said, "a:3: torn"));
}

// Every single byte of a log, changed one after the other: nothing passes but what stands in the
// last line beside its links, which only the next line could vouch for.
static void every_changed_byte_is_found_on_its_own_line(void **state)
{
	(void)state;
	char *path = in_scratch("a");
	write_log(path, "0123");
	size_t len, line = 1;
	char *text = slurp(path, &len);
	size_t last_line_at = (size_t)((char *)memrchr(text, '\n', len - 1) + 1 - text);
	for (size_t i = 0; i < last_line_at; i++) {
		char expected[600];
		bool newline = text[i] == '\n';
		text[i] ^= 1;
		spill(path, text, len);
		text[i] ^= 1;
		assert_int_equal(verify(1, &path), 3);
		snprintf(expected, sizeof(expected), "%s:%zu: ", path, line);
		if (strncmp(said, expected, strlen(expected)) != 0)
			fail_msg("byte %zu of line %zu: %s", i, line, said);
		line += newline;
	}
	free(text);
}

// A forged line that links properly to the one before it.
static void an_inserted_line_is_found_by_the_line_behind_it(void **state)
{
	(void)state;
	struct audit_chain chain;
	struct buffer out = {0};
	audit_chain_init(&chain);
	audit_chain_step(&chain, 2, str_from(lines[1]));
	buffer_printf(&out, "%s\n%s\n", lines[0], lines[1]);
	audit_chain_append(&chain, &out, 0, STR("\"event\":\"forged\""), STR(""));
	buffer_printf(&out, "%s\n%s\n", lines[2], lines[3]);
	char *path = in_scratch("a"), words[600];
	spill(path, buffer_data(&out), buffer_len(&out));
	snprintf(words, sizeof(words),
	        "%s:4: seq 3 follows 3: repeated, inserted or out of order\n", path);
	assert_verdict(verify(1, &path), 3, words);
	buffer_fini(&out);
}

static void what_is_no_record_is_named(void **state)
{
	(void)state;
	static const struct {
		struct str text;
		const char *what;
	} rows[] = {
	        {STR("\n"), "no JSON object"},
	        {STR("garbage\n"), "no JSON object"},
	        {STR("\0\0\0\n"), "no JSON object"},
	        {STR("[]\n"), "no audit record: seq or previous is missing or malformed"},
	        {STR("{}\n"), "no audit record: seq or previous is missing or malformed"},
	        {STR("{\"seq\":2,\"seq\":2}\n"), "no JSON object"},
	        {STR("{\"seq\":-1,\"previous\":\"\"}\n"),
	                "no audit record: seq or previous is missing or malformed"},
	};
	char *path = in_scratch("a"), words[600];
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct buffer out = {0};
		buffer_printf(&out, "%s\n", lines[0]);
		buffer_append_str(&out, rows[i].text);
		buffer_printf(&out, "%s\n", lines[1]);
		spill(path, buffer_data(&out), buffer_len(&out));
		buffer_fini(&out);
		snprintf(words, sizeof(words), "%s:2: %s\n", path, rows[i].what);
		assert_verdict(verify(1, &path), 3, words);
	}
}

static void a_line_without_end_costs_bounded_memory(void **state)
{
	(void)state;
	enum { BYTES = 8 * AUDIT_LINE_BYTES };
	char *path = in_scratch("a"), *zeros = calloc(1, BYTES), words[600];
	spill(path, zeros, BYTES);
	free(zeros);
	snprintf(words, sizeof(words), "%s:1: longer than any audit record can be\n", path);
	assert_verdict(verify(1, &path), 3, words);
}

static void a_chain_that_claims_to_begin_must_begin(void **state)
{
	(void)state;
	struct audit_chain chain;
	struct buffer out = {0};
	audit_chain_init(&chain);
	audit_chain_step(&chain, 0, STR("something"));
	audit_chain_append(&chain, &out, 0, STR("\"event\":\"rejected\""), STR(""));
	char *path = in_scratch("a");
	spill(path, buffer_data(&out), buffer_len(&out));
	assert_int_equal(verify(1, &path), 3);
	assert_non_null(strstr(said, "a:1: the first record of a chain must have 64 zeros"));
	buffer_fini(&out);
}

static void a_file_that_cannot_be_read_is_named(void **state)
{
	(void)state;
	char *files[] = {in_scratch("a"), in_scratch("absent")}, words[600];
	write_log(files[0], "01");
	snprintf(words, sizeof(words), "%s: cannot be read: No such file or directory\n", files[1]);
	assert_verdict(verify(2, files), 3, words);
	char *directory[] = {scratch};
	snprintf(words, sizeof(words), "%s: cannot be read: Is a directory\n", scratch);
	assert_verdict(verify(1, directory), 3, words);
}

int main(void)
{
#define VERIFY_TEST(name) cmocka_unit_test_setup_teardown(name, make_lines, drop_lines)
	const struct CMUnitTest tests[] = {
	        VERIFY_TEST(an_intact_chain_is_summed_up_in_a_line),
	        VERIFY_TEST(a_rotated_log_is_one_chain_over_its_files),
	        VERIFY_TEST(missing_doubled_and_swapped_lines_are_named),
	        VERIFY_TEST(a_torn_last_line_is_said_to_be_one),
	        VERIFY_TEST(every_changed_byte_is_found_on_its_own_line),
	        VERIFY_TEST(an_inserted_line_is_found_by_the_line_behind_it),
	        VERIFY_TEST(what_is_no_record_is_named),
	        VERIFY_TEST(a_line_without_end_costs_bounded_memory),
	        VERIFY_TEST(a_chain_that_claims_to_begin_must_begin),
	        VERIFY_TEST(a_file_that_cannot_be_read_is_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
