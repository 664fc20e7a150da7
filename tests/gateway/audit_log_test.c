#include "tests/gateway/audit_fixture.h"

#include <sys/wait.h>

#include "gateway/audit_chain.h"

static void write_refusals(const char *path, int count)
{
	struct audit *audit = open_audit(path, 1000, 1);
	for (int i = 0; i < count; i++)
		submit(audit, 0, REASON_no_route, "127.0.0.1:1");
	audit_close(audit);
}

static void refuse_to_open(const struct config *config, const char *because)
{
	struct config_problems found = {0};
	assert_null(audit_open(config, 1, -1, &found));
	assert_int_equal(found.count, 1);
	char what[2048];
	snprintf(what, sizeof(what), "%.*s", STR_FMT(found.items[0].what));
	if (!strstr(what, because))
		fail_msg("'%s' does not say '%s'", what, because);
	config_problems_fini(&found);
}

static void a_chain_begins_with_seq_1_and_64_zeros(void **state)
{
	(void)state;
	const char *path = in_scratch("audit.jsonl");
	write_refusals(path, 1);
	size_t len;
	char *text = slurp(path, &len);
	assert_non_null(strstr(text, "Z\",\"seq\":1,\"event\":\"rejected\",\"authorized\":false,"));
	assert_memory_equal(text, "{\"timestamp\":\"2", 15);
	assert_non_null(
	        strstr(text, ",\"previous\":\"0000000000000000000000000000000000000000000000"
	                     "000000000000000000\"}\n"));
	free(text);
	struct stat status;
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
}

static void a_restart_goes_on_where_the_file_ends(void **state)
{
	(void)state;
	const char *path = in_scratch("audit.jsonl");
	for (int i = 1; i <= 5; i++)
		write_refusals(path, i);
	struct told told = tell(path);
	assert_int_equal(told.first_seq, 1);
	assert_int_equal(told.lines, 15);
	assert_int_equal(told.refusals, 15);
}

static void a_reopened_log_goes_on_in_the_new_file(void **state)
{
	(void)state;
	const char *path = in_scratch("audit.jsonl"), *rotated = in_scratch("audit.jsonl.1");
	struct audit *audit = open_audit(path, 1000, 1);
	submit(audit, 0, REASON_no_route, "127.0.0.1:1");
	WAIT_UNTIL(line_count(path) == 1);
	assert_int_equal(rename(path, rotated), 0);
	submit(audit, 0, REASON_no_route, "127.0.0.1:1");
	WAIT_UNTIL(line_count(rotated) == 2);  // until told, the old file is written
	audit_reopen(audit);
	WAIT_UNTIL(size_of(path) == 0);
	submit(audit, 0, REASON_no_route, "127.0.0.1:1");
	audit_close(audit);
	struct told told = tell_on(tell(rotated), path);
	assert_int_equal(told.lines, 3);
	assert_int_equal(told.first_seq, 1);
}

static void reopening_an_unmoved_file_changes_nothing(void **state)
{
	(void)state;
	const char *path = in_scratch("audit.jsonl");
	struct audit *audit = open_audit(path, 1000, 1);
	for (int i = 0; i < 20; i++) {
		submit(audit, 0, REASON_no_route, "127.0.0.1:1");
		audit_reopen(audit);
	}
	audit_close(audit);
	assert_int_equal(tell(path).lines, 20);
}

static void a_reopened_path_that_holds_another_chain_is_left_alone(void **state)
{
	(void)state;
	const char *path = in_scratch("audit.jsonl"), *rotated = in_scratch("moved");
	const char *other = in_scratch("other.jsonl");
	write_refusals(other, 3);
	struct audit *audit = open_audit(path, 1000, 1);
	submit(audit, 0, REASON_no_route, "127.0.0.1:1");
	WAIT_UNTIL(line_count(path) == 1);
	assert_int_equal(rename(path, rotated), 0);
	assert_int_equal(rename(other, path), 0);
	audit_reopen(audit);
	submit(audit, 0, REASON_no_route, "127.0.0.1:1");
	audit_close(audit);
	assert_int_equal(tell(path).lines, 3);
	assert_int_equal(tell(rotated).lines, 2);
}

static void a_log_rotated_while_nobody_wrote_goes_on_too(void **state)
{
	(void)state;
	static const char *const names[] = {
	        "audit.jsonl.1", "audit.jsonl.2", "audit.jsonl-20261123"};
	const char *path = in_scratch("audit.jsonl");
	uint64_t last_seq = 0;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		write_refusals(path, 2);
		struct told told = tell(path);
		assert_int_equal(told.first_seq, last_seq + 1);
		last_seq = told.last_seq;
		assert_int_equal(rename(path, in_scratch(names[i])), 0);
	}
	write_refusals(in_scratch("audit.jsonl.bak"), 50);  // nobody's predecessor
	write_refusals(in_scratch("audit.jsonlx.1"), 50);
	spill(in_scratch("audit.jsonl.3.gz"), "\x1f\x8b\n", 3);
	write_refusals(path, 1);
	struct told told = {0};
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		told = tell_on(told, in_scratch(names[i]));
	assert_int_equal(tell_on(told, path).last_seq, 7);
}

// A file as a crash leaves it: whole lines, then a fragment.
static void a_torn_last_line_is_mended_into_a_record_that_names_it(void **state)
{
	(void)state;
	static const struct {
		const char *fragment;
		size_t len;
	} rows[] = {
	        {"{", 1},
	        {"{\"timestamp\":\"2026-11-23T16:40:00.123456Z\",\"seq\":3,\"ev", 52},
	        {"{\"timestamp\":\"2026\",\"seq\":3,\"previous\":\"00\"}", 43},  // but the newline
	        {"\0\0\0\0\0\0\0\0", 8},  // what XFS and power cuts leave
	        {"{\"timestamp\":\"2026-11-2\0\0\0\0\n", 27},
	        {"not at all\n", 11},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char name[32], digest[DIGEST_HEX_SIZE];
		snprintf(name, sizeof(name), "audit%zu.jsonl", i);
		const char *path = in_scratch(name);
		write_refusals(path, 2);
		int descriptor = open(path, O_WRONLY | O_APPEND);
		assert_int_equal(write(descriptor, rows[i].fragment, rows[i].len), rows[i].len);
		close(descriptor);
		write_refusals(path, 1);
		struct told told = tell(path);
		assert_int_equal(told.lines, 4);
		assert_int_equal(told.mended_lines, 1);
		assert_int_equal(told.refusals, 3);
		size_t len;
		char *text = slurp(path, &len), expected[160];
		digest_hex(str_of(rows[i].fragment, rows[i].len), digest);
		snprintf(expected, sizeof(expected),
		        "\"event\":\"torn_line_mended\",\"torn\":{\"bytes\":%zu,\"sha256\":\"%s\"}",
		        rows[i].len, digest);
		assert_non_null(strstr(text, expected));
		free(text);
	}
}

static void a_file_that_is_but_a_fragment_of_ours_is_mended(void **state)
{
	(void)state;
	const char *path = in_scratch("audit.jsonl");
	spill(path, "{\"timestamp\":\"2026-11", 21);
	write_refusals(path, 1);
	struct told told = tell(path);
	assert_int_equal(told.first_seq, 1);
	assert_int_equal(told.mended_lines, 1);
	assert_int_equal(told.lines, 2);
}

static void another_programs_file_is_refused_and_kept(void **state)
{
	(void)state;
	static const char *const contents[] = {
	        "root:x:0:0:root:/root:/bin/bash\n",
	        "no newline",
	        "\n",
	        "\n\n\n",
	        "{}\n",
	        "[1]\n",
	        "{\"seq\":1}\n",
	        "{\"seq\":\"1\",\"previous\":\"00\"}\n",
	        "{\"seq\":1,\"previous\":\"zz\"}\n",
	        "{\"timestamp\":\"2026-11-23\",\"msg\":\"another log\"}\n",
	        "{\"a\":1}\n{\"timest",
	        "\0\0\0\n",
	};
	const char *path = in_scratch("audit.jsonl");
	struct config config = config_for(path, 1000);
	for (size_t i = 0; i < ARRAY_LEN(contents); i++) {
		size_t len = contents[i][0] ? strlen(contents[i]) : 4, now;
		spill(path, contents[i], len);
		refuse_to_open(&config, "is no audit record");
		refuse_to_open(&config, path);
		char *text = slurp(path, &now);
		assert_int_equal(now, len);
		assert_memory_equal(text, contents[i], len);
		free(text);
	}
}

static void a_foreign_line_behind_ours_is_refused(void **state)
{
	(void)state;
	const char *path = in_scratch("audit.jsonl");
	write_refusals(path, 2);
	int descriptor = open(path, O_WRONLY | O_APPEND);
	assert_int_equal(write(descriptor, "{\"mine\":1}\n", 11), 11);
	close(descriptor);
	struct config config = config_for(path, 1000);
	refuse_to_open(&config, "is no audit record");
}

static void paths_that_cannot_be_written_are_problems(void **state)
{
	(void)state;
	struct config config = config_for(scratch, 1000);
	refuse_to_open(&config, "directory");
	config = config_for(in_scratch("no/such/audit.jsonl"), 1000);
	refuse_to_open(&config, "No such file");
}

static void two_writers_never_share_a_file(void **state)
{
	(void)state;
	const char *path = in_scratch("audit.jsonl");
	struct audit *audit = open_audit(path, 1000, 1);
	struct config config = config_for(path, 1000);
	refuse_to_open(&config, "in use by another process");
	audit_close(audit);
	write_refusals(path, 1);
	config.access_log = config.audit;
	refuse_to_open(&config, "the audit log's file");
}

// Megabytes before the end must not be read, and lines as long as they get must be found.
static void a_large_file_is_continued_from_its_tail(void **state)
{
	(void)state;
	const char *path = in_scratch("audit.jsonl");
	struct audit_chain chain;
	struct buffer out = {0}, body = {0};
	char *padding = malloc(AUDIT_LINE_BYTES);
	memset(padding, 'x', AUDIT_LINE_BYTES);
	audit_chain_init(&chain);
	for (int i = 0; i < 8; i++) {
		buffer_clear(&body);
		buffer_printf(&body, "\"event\":\"rejected\",\"padding\":\"%.*s\"",
		        i % 4 ? AUDIT_LINE_BYTES - 300 : 10, padding);
		audit_chain_append(&chain, &out, 0, buffer_str(&body), STR(""));
	}
	buffer_append_str(&out, STR("{\"timestamp\":\""));
	buffer_append(&out, padding, AUDIT_LINE_BYTES - 300);
	spill(path, buffer_data(&out), buffer_len(&out));
	write_refusals(path, 1);
	struct told told = tell(path);
	assert_int_equal(told.lines, 10);
	assert_int_equal(told.mended_lines, 1);
	buffer_fini(&out);
	buffer_fini(&body);
	free(padding);
}

static void write_until_killed(const char *path)
{
	struct config config = config_for(path, 1000000);
	struct audit *audit = audit_open(&config, 1, -1, &problems);
	if (!audit)
		_exit(1);
	for (unsigned i = 0;; i++) {
		char address[32];
		snprintf(address, sizeof(address), "10.0.%u.%u:1", i >> 8 & 255, i & 255);
		submit(audit, 0, REASON_certificate_missing, address);
		if (i % 512 == 0)
			nanosleep(&(struct timespec){.tv_nsec = 2 * NS_PER_MS}, NULL);
	}
}

static void a_killed_writer_leaves_at_most_one_torn_line(void **state)
{
	(void)state;
	const char *path = in_scratch("audit.jsonl");
	for (int round = 0; round < 5; round++) {
		off_t before = size_of(path);
		pid_t child = fork();
		if (child == 0)
			write_until_killed(path);
		WAIT_UNTIL(size_of(path) > before + 200000);
		kill(child, SIGKILL);
		assert_int_equal(waitpid(child, NULL, 0), child);
		size_t len;
		char *text = slurp(path, &len), *last = memrchr(text, '\n', len);
		struct told whole = {0};
		tell_text(&whole, text, (size_t)(last + 1 - text));
		bool torn = last + 1 < text + len;
		free(text);
		write_refusals(path, 1);
		struct told told = tell(path);
		assert_int_equal(told.lines, whole.lines + 1 + torn);
	}
}

int main(void)
{
#define LOG_TEST(name) cmocka_unit_test_setup_teardown(name, make_scratch, remove_scratch)
	const struct CMUnitTest tests[] = {
	        LOG_TEST(a_chain_begins_with_seq_1_and_64_zeros),
	        LOG_TEST(a_restart_goes_on_where_the_file_ends),
	        LOG_TEST(a_reopened_log_goes_on_in_the_new_file),
	        LOG_TEST(reopening_an_unmoved_file_changes_nothing),
	        LOG_TEST(a_reopened_path_that_holds_another_chain_is_left_alone),
	        LOG_TEST(a_log_rotated_while_nobody_wrote_goes_on_too),
	        LOG_TEST(a_torn_last_line_is_mended_into_a_record_that_names_it),
	        LOG_TEST(a_file_that_is_but_a_fragment_of_ours_is_mended),
	        LOG_TEST(another_programs_file_is_refused_and_kept),
	        LOG_TEST(a_foreign_line_behind_ours_is_refused),
	        LOG_TEST(paths_that_cannot_be_written_are_problems),
	        LOG_TEST(two_writers_never_share_a_file),
	        LOG_TEST(a_large_file_is_continued_from_its_tail),
	        LOG_TEST(a_killed_writer_leaves_at_most_one_torn_line),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
