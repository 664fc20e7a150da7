#include "tests/gateway/audit_fixture.h"

#include <pthread.h>

#include "gateway/audit_lane.h"

enum { FAR = 1 << 30 };  // a fold_after nobody reaches

static void a_record_is_in_the_file_within_two_hundred_milliseconds(void **state)
{
	(void)state;
	const char *path = in_scratch("audit.jsonl");
	struct audit *audit = open_audit(path, FAR, 2);
	int64_t best_ns = INT64_MAX;  // of several: the machine may be busy with other things
	for (uint64_t i = 1; i <= 5; i++) {
		int64_t before_ns = clock_monotonic_ns();
		submit(audit, i % 2, REASON_no_route, "127.0.0.1:1");
		WAIT_UNTIL(line_count(path) == i);
		int64_t took_ns = clock_monotonic_ns() - before_ns;
		best_ns = took_ns < best_ns ? took_ns : best_ns;
	}
	assert_true(best_ns < 200 * (int64_t)NS_PER_MS);
	audit_close(audit);
}

static void the_time_told_is_that_of_the_event(void **state)
{
	(void)state;
	const char *path = in_scratch("audit.jsonl");
	clock_fake(NS_PER_S, INT64_C(1795452000123456789));
	struct audit *audit = open_audit(path, FAR, 1);
	submit(audit, 0, REASON_no_route, "127.0.0.1:1");
	clock_fake(NS_PER_S, INT64_C(1795459999000000000));
	audit_close(audit);
	size_t len;
	char *text = slurp(path, &len);
	assert_memory_equal(text, "{\"timestamp\":\"2026-11-23T16:40:00.123456Z\",\"seq\":1,", 51);
	free(text);
}

static void records_are_only_counted_where_the_log_is_off(void **state)
{
	(void)state;
	struct config config = {.audit_fold_after = 10};
	struct audit *audit = audit_open(&config, 2, -1, &problems);
	assert_non_null(audit);
	for (int i = 0; i < 1000; i++)
		submit(audit, (size_t)i % 2, REASON_no_route, "127.0.0.1:1");
	audit_submit_access(audit_lane_of(audit, 0), STR("{}"));
	assert_int_equal(audit_records_total(audit), 1000);
	assert_int_equal(audit_access_dropped_total(audit), 0);
	assert_false(audit_failing(audit));
	audit_close(audit);
}

// ---- folding

static uint64_t count_in(const char *path, const char *address, uint64_t *lines)
{
	size_t len;
	uint64_t sum = 0;
	char *text = slurp(path, &len), *line = text, *next;
	for (*lines = 0; (next = strchr(line, '\n')); line = next + 1) {
		*next = '\0';
		char *count = strstr(line, "\"count\":");
		if (!strstr(line, address))
			continue;
		sum += count ? strtoull(count + 8, NULL, 10) : 1;
		++*lines;
	}
	free(text);
	return sum;
}

static void what_repeats_beyond_fold_after_becomes_one_record(void **state)
{
	(void)state;
	const char *path = in_scratch("audit.jsonl");
	clock_fake(NS_PER_S, NS_PER_S);
	struct audit *audit = open_audit(path, 10, 1);
	char address[32];
	for (int i = 0; i < 25; i++) {
		clock_fake(NS_PER_S + i, NS_PER_S + i * (int64_t)NS_PER_MS);
		snprintf(address, sizeof(address), "10.0.0.1:%d", 1000 + i);
		submit(audit, 0, REASON_rate_limited, address);
		if (i < 3)
			submit(audit, 0, REASON_rate_limited, "10.0.0.2:5");
	}
	audit_close(audit);
	uint64_t lines;
	assert_int_equal(count_in(path, "10.0.0.1:", &lines), 25);
	assert_int_equal(lines, 11);
	assert_int_equal(count_in(path, "10.0.0.2:", &lines), 3);
	assert_int_equal(lines, 3);
	size_t len;
	char *text = slurp(path, &len);
	// The first of the folded speaks for them.
	assert_non_null(strstr(text, "\"client\":{\"address\":\"10.0.0.1:1010\"},\"count\":15,"
	                             "\"first\":\"1970-01-01T00:00:01.010000Z\","
	                             "\"last\":\"1970-01-01T00:00:01.024000Z\",\"previous\":"));
	free(text);
	assert_int_equal(tell(path).refusals, 28);
}

static void a_fold_is_written_when_its_second_ends_without_another_submit(void **state)
{
	(void)state;
	const char *path = in_scratch("audit.jsonl");
	clock_fake(NS_PER_S, NS_PER_S);
	struct audit *audit = open_audit(path, 1, 1);
	for (int i = 0; i < 5; i++)
		submit(audit, 0, REASON_no_route, "127.0.0.1:1");
	WAIT_UNTIL(line_count(path) == 1);
	clock_fake(2 * (int64_t)NS_PER_S - 1, NS_PER_S);
	submit(audit, 0, REASON_no_route, "127.0.0.2:1");  // shows that the writer came by
	WAIT_UNTIL(line_count(path) == 2);
	clock_fake(2 * (int64_t)NS_PER_S, NS_PER_S);
	WAIT_UNTIL(line_count(path) == 3);
	struct told told = tell(path);
	assert_int_equal(told.folded_lines, 1);
	assert_int_equal(told.refusals, 6);
	submit(audit, 0, REASON_no_route, "127.0.0.1:1");  // a new second, a line of its own again
	WAIT_UNTIL(line_count(path) == 4);
	audit_close(audit);
	assert_int_equal(tell(path).folded_lines, 1);
}

static void a_quiet_second_starts_the_count_anew(void **state)
{
	(void)state;
	const char *path = in_scratch("audit.jsonl");
	struct audit *audit = open_audit(path, 3, 1);
	for (int second = 1; second <= 5; second++) {
		clock_fake(second * (int64_t)NS_PER_S, NS_PER_S);
		for (int i = 0; i < 3; i++)
			submit(audit, 0, REASON_no_route, "127.0.0.1:1");
	}
	audit_close(audit);
	struct told told = tell(path);
	assert_int_equal(told.lines, 15);
	assert_int_equal(told.folded_lines, 0);
}

static void more_callers_than_the_table_holds_are_counted_to_the_last(void **state)
{
	(void)state;
	const char *path = in_scratch("audit.jsonl");
	clock_fake(NS_PER_S, NS_PER_S);
	struct audit *audit = open_audit(path, 2, 1);
	enum { CALLERS = 3 * AUDIT_FOLD_CALLERS, EACH = 4 };
	for (int i = 0; i < CALLERS * EACH; i++) {
		char address[32];
		int caller = i % CALLERS;
		snprintf(address, sizeof(address), "10.0.%d.%d:%d", caller >> 8, caller & 255, i);
		submit(audit, 0, caller % 2 ? REASON_no_route : REASON_rate_limited, address);
	}
	audit_close(audit);
	struct told told = tell(path);
	assert_int_equal(told.refusals, CALLERS * EACH);
	// Two lines of one's own and one folded for each in the table; the same for the two
	// reasons.
	assert_int_equal(told.lines, (AUDIT_FOLD_CALLERS + 2) * 3);
}

// Nobody who passed is told of as refused, though both are for the same reason.
static void callers_beyond_the_table_are_refused_or_on_trial(void **state)
{
	(void)state;
	const char *path = in_scratch("audit.jsonl");
	clock_fake(NS_PER_S, NS_PER_S);
	struct audit *audit = open_audit(path, 1, 1);
	for (int i = 0; i < AUDIT_FOLD_CALLERS + 5 + 7; i++) {
		char address[32];
		snprintf(address, sizeof(address), "10.0.%d.%d:1", i >> 8, i & 255);
		struct audit_record record = refusal(REASON_rate_limited, address);
		record.authorized = i >= AUDIT_FOLD_CALLERS + 5;
		record.event = record.authorized ? "shadowed" : "rejected";
		audit_submit(audit_lane_of(audit, 0), &record);
	}
	audit_close(audit);
	size_t len;
	char *text = slurp(path, &len);
	assert_non_null(strstr(text, "\"event\":\"rejected\",\"authorized\":false,\"reason\":"
	                             "\"rate_limited\",\"count\":4,"));
	assert_non_null(strstr(text, "\"event\":\"shadowed\",\"authorized\":true,\"reason\":"
	                             "\"rate_limited\",\"count\":6,"));
	free(text);
}

// ---- threads

enum { LANES = 4, EACH_LANE = 20000 };

struct producer {
	struct audit *audit;
	size_t lane;
};

static void *produce(void *argument)
{
	const struct producer *producer = argument;
	unsigned random = (unsigned)producer->lane + 1;
	for (int i = 0; i < EACH_LANE; i++) {
		char address[32];
		random = random * 1103515245 + 12345;
		snprintf(address, sizeof(address), "10.0.0.%u:1", random >> 16 & 63);
		submit(producer->audit, producer->lane,
		        (enum reason)(1 + (random >> 24) % (REASON_COUNT - 1)), address);
		audit_submit_access(audit_lane_of(producer->audit, producer->lane), STR("{}"));
		if (i % 4000 == 0)
			audit_reopen(producer->audit);
	}
	return NULL;
}

static void lanes_of_many_threads_make_one_unbroken_chain(void **state)
{
	(void)state;
	const char *path = in_scratch("audit.jsonl"), *access = in_scratch("access.jsonl");
	struct config config = config_for(path, 20);
	config.access_log = (struct config_output){.kind = OUTPUT_FILE, .path = str_from(access)};
	struct audit *audit = audit_open(&config, LANES, -1, &problems);
	assert_non_null(audit);
	pthread_t threads[LANES];
	struct producer producers[LANES];
	for (size_t i = 0; i < LANES; i++) {
		producers[i] = (struct producer){audit, i};
		assert_int_equal(pthread_create(&threads[i], NULL, produce, &producers[i]), 0);
	}
	WAIT_UNTIL(audit_records_total(audit) > 0);
	char *rotated = in_scratch("rotated");
	WAIT_UNTIL(size_of(path) > 0);
	assert_int_equal(rename(path, rotated), 0);
	audit_reopen(audit);
	for (size_t i = 0; i < LANES; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(audit_records_total(audit), LANES * EACH_LANE);
	uint64_t dropped = audit_access_dropped_total(audit);
	audit_close(audit);
	struct told told = tell(rotated);
	if (size_of(path) > 0)
		told = tell_on(told, path);
	assert_int_equal(told.refusals, LANES * EACH_LANE);
	assert_int_equal(told.first_seq, 1);
	assert_int_equal(line_count(access) + dropped, LANES * EACH_LANE);
}

int main(void)
{
#define AUDIT_TEST(name) cmocka_unit_test_setup_teardown(name, make_scratch, remove_scratch)
	const struct CMUnitTest tests[] = {
	        AUDIT_TEST(a_record_is_in_the_file_within_two_hundred_milliseconds),
	        AUDIT_TEST(the_time_told_is_that_of_the_event),
	        AUDIT_TEST(records_are_only_counted_where_the_log_is_off),
	        AUDIT_TEST(what_repeats_beyond_fold_after_becomes_one_record),
	        AUDIT_TEST(a_fold_is_written_when_its_second_ends_without_another_submit),
	        AUDIT_TEST(a_quiet_second_starts_the_count_anew),
	        AUDIT_TEST(more_callers_than_the_table_holds_are_counted_to_the_last),
	        AUDIT_TEST(callers_beyond_the_table_are_refused_or_on_trial),
	        AUDIT_TEST(lanes_of_many_threads_make_one_unbroken_chain),
	};
	alarm(300);  // a worker that did block would hang here for ever
	return cmocka_run_group_tests(tests, NULL, NULL);
}
