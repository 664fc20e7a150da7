#include "tests/gateway/audit_fixture.h"

#include <sys/file.h>

static void write_refusals(const char *path, int count)
{
	struct audit *audit = open_audit(path, 1000, 1);
	for (int i = 0; i < count; i++)
		submit(audit, 0, REASON_no_route, "127.0.0.1:1");
	audit_close(audit);
}

// Killed in the middle of a line, after the file was renamed and before there was another.
static void a_rotated_log_that_a_crash_tore_is_mended_from_its_successor(void **state)
{
	(void)state;
	static const struct {
		int lines;
		const char *before;  // what the crash left under the path
		size_t torn;         // bytes off the rotated file's end
		uint64_t mended;
	} cases[] = {{5, NULL, 1, 1}, {5, NULL, 40, 1}, {5, "", 7, 1}, {5, "{\"timest", 40, 2},
	        {5, "", 0, 0}, {1, NULL, 9, 1}, {1, "", 0, 0}};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *path = in_scratch("audit.jsonl"),
		           *rotated = in_scratch("audit.jsonl.1");
		unlink(path);
		write_refusals(path, cases[i].lines);
		uint64_t whole = (uint64_t)cases[i].lines - (cases[i].torn > 0);
		assert_int_equal(truncate(path, size_of(path) - (off_t)cases[i].torn), 0);
		assert_int_equal(rename(path, rotated), 0);
		if (cases[i].before)
			spill(path, cases[i].before, strlen(cases[i].before));
		write_refusals(path, 2);
		struct told told = tell(rotated);
		assert_int_equal(told.lines, whole);
		told = tell_on(told, path);
		assert_int_equal(told.refusals, whole + 2);
		assert_int_equal(told.mended_lines, cases[i].mended);
		unlink(rotated);
	}
}

static void a_fragment_that_was_rotated_is_mended_behind_its_whole_predecessor(void **state)
{
	(void)state;
	const char *path = in_scratch("audit.jsonl"), *first = in_scratch("audit.jsonl.2"),
	           *second = in_scratch("audit.jsonl.1");
	write_refusals(path, 3);
	assert_int_equal(rename(path, first), 0);
	write_refusals(path, 1);
	assert_int_equal(truncate(path, 30), 0);
	assert_int_equal(rename(path, second), 0);
	write_refusals(path, 1);
	assert_int_equal(size_of(second), 0);
	struct told told = tell_on(tell(first), path);
	assert_int_equal(told.last_seq, 5);
	assert_int_equal(told.mended_lines, 1);
}

// The file is whole again where it can be, and told of where it cannot: somebody else writes it.
static void a_rotated_log_that_another_process_writes_is_left_alone(void **state)
{
	(void)state;
	const char *path = in_scratch("audit.jsonl"), *rotated = in_scratch("audit.jsonl.1");
	write_refusals(path, 3);
	assert_int_equal(truncate(path, size_of(path) - 10), 0);
	assert_int_equal(rename(path, rotated), 0);
	off_t size = size_of(rotated);
	int other = open(rotated, O_RDONLY | O_CLOEXEC);
	assert_int_equal(flock(other, LOCK_EX), 0);
	write_refusals(path, 1);
	close(other);
	assert_int_equal(size_of(rotated), size);
	struct told told = tell(path);
	assert_int_equal(told.first_seq, 3);
	assert_int_equal(told.mended_lines, 0);
}

int main(void)
{
#define ROTATION_TEST(name) cmocka_unit_test_setup_teardown(name, make_scratch, remove_scratch)
	const struct CMUnitTest tests[] = {
	        ROTATION_TEST(a_rotated_log_that_a_crash_tore_is_mended_from_its_successor),
	        ROTATION_TEST(a_fragment_that_was_rotated_is_mended_behind_its_whole_predecessor),
	        ROTATION_TEST(a_rotated_log_that_another_process_writes_is_left_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
