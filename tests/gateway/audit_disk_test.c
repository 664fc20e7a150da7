#include "tests/gateway/audit_fixture.h"

#include <pthread.h>
#include <sys/resource.h>

// Outputs that refuse, stall or are no files at all: nothing is lost, nobody waits.

enum { FAR = 1 << 30 };  // a fold_after nobody reaches

static void limit_file_size(rlim_t bytes)
{
	struct rlimit limit;
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_full_disk_costs_no_record_and_leaves_no_broken_line(void **state)
{
	(void)state;
	enum { REFUSALS = 100000 };
	const char *path = in_scratch("audit.jsonl");
	struct audit *audit = open_audit(path, FAR, 1);
	limit_file_size(100000);  // write(2): the part that fits, then EFBIG
	for (int i = 0; i < REFUSALS; i++)
		submit(audit, 0, REASON_no_route, i % 2 ? "10.0.0.1:1" : "10.0.0.2:1");
	WAIT_UNTIL(audit_failing(audit));
	assert_true(audit_write_failures_total(audit) > 0);
	struct told told = tell(path);  // whole lines only, although the last write was cut short
	assert_true(told.lines > 100 && told.lines < 600);
	limit_file_size(RLIM_INFINITY);
	WAIT_UNTIL(!audit_failing(audit));
	audit_close(audit);
	told = tell(path);
	assert_int_equal(told.refusals, REFUSALS);
	assert_true(told.folded_lines > 0);
	assert_true(size_of(path) < 8 << 20);
}

static void a_log_moved_off_a_full_disk_goes_on(void **state)
{
	(void)state;
	const char *path = in_scratch("audit.jsonl");
	assert_int_equal(symlink("/dev/full", path), 0);
	struct audit *audit = open_audit(path, FAR, 1);
	for (int i = 0; i < 100; i++)
		submit(audit, 0, REASON_no_route, "10.0.0.1:1");
	WAIT_UNTIL(audit_failing(audit));
	assert_int_equal(unlink(path), 0);
	audit_reopen(audit);
	WAIT_UNTIL(!audit_failing(audit));
	audit_close(audit);
	assert_int_equal(tell(path).refusals, 100);
}

static void closing_on_a_full_disk_gives_up_in_time(void **state)
{
	(void)state;
	const char *path = in_scratch("audit.jsonl");
	assert_int_equal(symlink("/dev/full", path), 0);
	struct audit *audit = open_audit(path, FAR, 1);
	for (int i = 0; i < 5000; i++)
		submit(audit, 0, REASON_no_route, "10.0.0.1:1");
	int64_t before_ns = clock_monotonic_ns();
	audit_close(audit);
	assert_true(clock_monotonic_ns() - before_ns < 6 * (int64_t)NS_PER_S);
}

static void *read_to_the_end(void *argument)
{
	int descriptor = *(int *)argument;
	struct buffer *read_bytes = calloc(1, sizeof(*read_bytes));
	for (ssize_t got; (got = read(descriptor, buffer_room(read_bytes, 4096), 4096)) > 0;)
		buffer_added(read_bytes, (size_t)got);
	return read_bytes;
}

// A pipe nobody reads: the writer is stuck, the producers are not, and nothing is lost.
static void a_reader_that_sleeps_never_holds_a_worker(void **state)
{
	(void)state;
	enum { REFUSALS = 50000 };
	const char *path = in_scratch("audit.fifo");
	assert_int_equal(mkfifo(path, 0600), 0);
	struct audit *audit = open_audit(path, FAR, 1);
	for (int i = 0; i < REFUSALS; i++)
		submit(audit, 0, REASON_no_route, "10.0.0.1:1");
	WAIT_UNTIL(audit_failing(audit));
	int descriptor = open(path, O_RDONLY | O_CLOEXEC);
	pthread_t reader;
	assert_int_equal(pthread_create(&reader, NULL, read_to_the_end, &descriptor), 0);
	WAIT_UNTIL(!audit_failing(audit));
	audit_close(audit);
	void *result;
	pthread_join(reader, &result);
	close(descriptor);
	struct buffer *text = result;
	struct told told = {0};
	tell_text(&told, buffer_data(text), buffer_len(text));
	assert_int_equal(told.refusals, REFUSALS);
	buffer_fini(text);
	free(text);
}

// A reader that takes a little now and then, so that the pipe always moves and is always full.
static void a_slow_access_log_does_not_hold_the_audit_log_up(void **state)
{
	(void)state;
	const char *path = in_scratch("audit.jsonl"), *access = in_scratch("access.fifo");
	assert_int_equal(mkfifo(access, 0600), 0);
	struct config config = config_for(path, FAR);
	config.access_log = (struct config_output){.kind = OUTPUT_FILE, .path = str_from(access)};
	struct audit *audit = audit_open(&config, 1, -1, &problems);
	int descriptor = open(access, O_RDONLY | O_CLOEXEC);
	char line[1000], page[4096];
	memset(line, 'x', sizeof(line));
	int64_t worst_ns = 0;
	for (uint64_t i = 1; i <= 20; i++) {
		for (int k = 0; k < 200; k++)
			audit_submit_access(audit_lane_of(audit, 0), str_of(line, sizeof(line)));
		int64_t before_ns = clock_monotonic_ns();
		submit(audit, 0, REASON_no_route, "10.0.0.1:1");
		assert_true(read(descriptor, page, sizeof(page)) > 0);
		WAIT_UNTIL(line_count(path) == i);
		int64_t took_ns = clock_monotonic_ns() - before_ns;
		worst_ns = took_ns > worst_ns ? took_ns : worst_ns;
	}
	assert_true(worst_ns < 2 * (int64_t)NS_PER_S);
	void *result;
	pthread_t reader;
	assert_int_equal(pthread_create(&reader, NULL, read_to_the_end, &descriptor), 0);
	audit_close(audit);
	pthread_join(reader, &result);
	close(descriptor);
	buffer_fini(result);
	free(result);
}

static void standard_output_is_chained_too(void **state)
{
	(void)state;
	const char *path = in_scratch("stdout");
	fflush(stdout);
	int kept = dup(STDOUT_FILENO), file = open(path, O_RDWR | O_CREAT | O_APPEND, 0600);
	dup2(file, STDOUT_FILENO);
	struct config config = {.audit = {.kind = OUTPUT_STDOUT}, .audit_fold_after = FAR};
	struct audit *audit = audit_open(&config, 1, -1, &problems);
	for (int i = 0; i < 3000; i++)
		submit(audit, 0, REASON_no_route, "10.0.0.1:1");
	audit_close(audit);
	dup2(kept, STDOUT_FILENO);
	close(kept);
	close(file);
	assert_int_equal(tell(path).refusals, 3000);
}

static void access_lines_are_written_as_they_come(void **state)
{
	(void)state;
	const char *path = in_scratch("access.jsonl");
	spill(path, "{\"torn\":", 8);
	struct config config = {.access_log = {.kind = OUTPUT_FILE, .path = str_from(path)}};
	struct audit *audit = audit_open(&config, 1, -1, &problems);
	for (int i = 0; i < 3; i++)
		audit_submit_access(audit_lane_of(audit, 0), STR("{\"a\":1}"));
	audit_close(audit);
	size_t len;
	char *text = slurp(path, &len);
	assert_string_equal(text, "{\"torn\":\n{\"a\":1}\n{\"a\":1}\n{\"a\":1}\n");
	free(text);
}

static void access_lines_beyond_their_queue_are_dropped_and_counted(void **state)
{
	(void)state;
	enum { LINES = 100000 };
	const char *path = in_scratch("access.fifo");
	assert_int_equal(mkfifo(path, 0600), 0);
	struct config config = {.access_log = {.kind = OUTPUT_FILE, .path = str_from(path)}};
	struct audit *audit = audit_open(&config, 1, -1, &problems);
	char line[101];
	memset(line, 'x', sizeof(line));
	for (int i = 0; i < LINES; i++)
		audit_submit_access(audit_lane_of(audit, 0), str_of(line, sizeof(line)));
	int descriptor = open(path, O_RDONLY | O_CLOEXEC);
	pthread_t reader;
	assert_int_equal(pthread_create(&reader, NULL, read_to_the_end, &descriptor), 0);
	uint64_t dropped = audit_access_dropped_total(audit);
	assert_true(dropped > 0);
	assert_false(audit_failing(audit));  // that is the audit log's word
	audit_close(audit);
	void *result;
	pthread_join(reader, &result);
	close(descriptor);
	struct buffer *text = result;
	assert_int_equal(buffer_len(text) / (sizeof(line) + 1) + dropped, LINES);
	buffer_fini(text);
	free(text);
}

int main(void)
{
#define DISK_TEST(name) cmocka_unit_test_setup_teardown(name, make_scratch, remove_scratch)
	const struct CMUnitTest tests[] = {
	        DISK_TEST(a_full_disk_costs_no_record_and_leaves_no_broken_line),
	        DISK_TEST(a_log_moved_off_a_full_disk_goes_on),
	        DISK_TEST(closing_on_a_full_disk_gives_up_in_time),
	        DISK_TEST(a_reader_that_sleeps_never_holds_a_worker),
	        DISK_TEST(a_slow_access_log_does_not_hold_the_audit_log_up),
	        DISK_TEST(standard_output_is_chained_too),
	        DISK_TEST(access_lines_are_written_as_they_come),
	        DISK_TEST(access_lines_beyond_their_queue_are_dropped_and_counted),
	};
	alarm(300);  // a worker that did block would hang here for ever
	return cmocka_run_group_tests(tests, NULL, NULL);
}
