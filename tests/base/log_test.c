#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include <jansson.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/log_fold.h"
#include "base/log_line.h"

// --- stderr, caught in a file

static int real_stderr = -1, caught = -1;

static int catch_stderr(void **state)
{
	(void)state;
	char name[] = "/tmp/tollgate-log-XXXXXX";
	real_stderr = dup(STDERR_FILENO);
	caught = mkstemp(name);
	unlink(name);
	dup2(caught, STDERR_FILENO);
	clock_fake(0, (int64_t)1795480800 * NS_PER_S + 123 * NS_PER_MS);
	log_set_format(LOG_LOGFMT);
	log_set_level(LOG_INFO);
	log_fold_forget();
	return 0;
}

static int release_stderr(void **state)
{
	(void)state;
	log_fold_forget();
	dup2(real_stderr, STDERR_FILENO);
	close(real_stderr);
	close(caught);
	clock_real();
	return 0;
}

// What was written since the last call; the caller frees it.
static char *said(void)
{
	off_t len = lseek(STDERR_FILENO, 0, SEEK_END);
	char *text = must_alloc((size_t)len + 1);
	assert_int_equal(pread(caught, text, (size_t)len, 0), len);
	assert_int_equal(ftruncate(caught, 0), 0);
	lseek(STDERR_FILENO, 0, SEEK_SET);
	return text;
}

static void assert_said(const char *expected)
{
	char *text = said();
	assert_string_equal(text, expected);
	free(text);
}

static size_t count_of(const char *text, const char *part)
{
	size_t count = 0;
	for (; (text = strstr(text, part)); text += strlen(part))
		count++;
	return count;
}

// The sum of the numbers behind `part`.
static uint64_t sum_of(const char *text, const char *part)
{
	uint64_t sum = 0;
	for (; (text = strstr(text, part)); text += strlen(part))
		sum += strtoull(text + strlen(part), NULL, 10);
	return sum;
}

static void at_second(int64_t second)
{
	clock_fake(second * NS_PER_S, ((int64_t)1795480800 + second) * NS_PER_S);
}

#define STAMP "time=2026-11-24T00:40:00.123Z "

// --- lines

static void an_event_is_one_line_of_logfmt(void **state)
{
	(void)state;
	log_event(LOG_WARN, "a door is shut", "name=%s address=\"%.*s\" routes=%zu left=%d%%",
	        "edge", 9, "127.0.0.1 and what follows", (size_t)3, 17);
	assert_said(STAMP "level=warn msg=\"a door is shut\" name=edge address=\"127.0.0.1\" "
	                  "routes=3 left=17%\n");
	log_event(LOG_INFO, "nothing more", "%s", "");
	assert_said(STAMP "level=info msg=\"nothing more\"\n");
	log_event(LOG_DEBUG, "not asked for", "%s", "");
	assert_said("");
}

static void every_conversion_is_understood(void **state)
{
	(void)state;
	log_event(LOG_ERROR, "numbers",
	        "a=%d b=%u c=%ld d=%lu e=%lld f=%llu g=%zu h=%" PRIu64 " i=%" PRId64
	        " j=%x k=%04o l=%c m=%.3s n=%.2f o=%5d p=%hhu q=%jd r=%td s=\"%s and %s\"",
	        -1, 2U, -3L, 4UL, -5LL, 6ULL, (size_t)7, UINT64_MAX, INT64_MIN, 255U, 8U, 'x',
	        "abcdef", 1.5, 42, (unsigned char)200, (intmax_t)-9, (ptrdiff_t)10, "this", "that");
	assert_said(
	        STAMP "level=error msg=\"numbers\" a=-1 b=2 c=-3 d=4 e=-5 f=6 g=7 "
	              "h=18446744073709551615 i=-9223372036854775808 j=ff k=0010 l=x m=abc n=1.50 "
	              "o=\"   42\" p=200 q=-9 r=10 s=\"this and that\"\n");
}

static void no_value_ends_its_line_or_itself(void **state)
{
	(void)state;
	log_event(LOG_INFO, "x", "a=%s b=\"%s\" c=%s d=%s e=%s f=%s", "1 level=error",
	        "\" msg=\"forged\ntime=1", "=", "", "\xff\x1b[2J", "gr\xc3\xbcn");
	assert_said(STAMP "level=info msg=\"x\" a=\"1 level=error\" b=\"\\\" "
	                  "msg=\\\"forged\\u000atime=1\" c=\"=\" d=\"\" "
	                  "e=\"\\ufffd\\u001b[2J\" f=\"gr\xc3\xbcn\"\n");
}

static json_t *parsed(const char *line)
{
	json_error_t error;
	json_t *value = json_loads(line, JSON_REJECT_DUPLICATES, &error);
	if (!value)
		fail_msg("%s in %s", error.text, line);
	return value;
}

static void an_event_is_one_object_of_json(void **state)
{
	(void)state;
	log_set_format(LOG_JSON);
	log_event(LOG_WARN, "x", "a=%s b=%d c=\"%d\" d=%d/%d e=%s f=%.*s g=%04d", "7", -7, 7, 1, 2,
	        "\"},\n{\"\xff\x01", 2, "no more", 7);
	char *text = said();
	assert_int_equal(count_of(text, "\n"), 1);
	json_t *line = parsed(text);
	const struct {
		const char *key, *text;
	} expected[] = {{"time", "2026-11-24T00:40:00.123Z"}, {"level", "warn"}, {"msg", "x"},
	        {"a", "7"}, {"c", "7"}, {"d", "1/2"}, {"e", "\"},\n{\"\xef\xbf\xbd\x01"},
	        {"f", "no"}, {"g", "0007"}};
	for (size_t i = 0; i < ARRAY_LEN(expected); i++)
		assert_string_equal(json_string_value(json_object_get(line, expected[i].key)),
		        expected[i].text);
	assert_int_equal(json_integer_value(json_object_get(line, "b")), -7);
	assert_int_equal(json_object_size(line), ARRAY_LEN(expected) + 1);
	json_decref(line);
	free(text);
}

static void long_values_and_lines_are_cut_and_say_so(void **state)
{
	(void)state;
	char *wide = must_alloc(100 * 1024), *text;
	memset(wide, 1, 100 * 1024 - 1);
	log_set_format(LOG_JSON);
	log_event(LOG_INFO, "x", "a=\"%s\" b=\"%s\" c=%d", wide, wide, 5);
	text = said();
	assert_true(strlen(text) < LOG_LINE_MAX + 100);
	json_t *line = parsed(text);
	const char *value = json_string_value(json_object_get(line, "a"));
	assert_int_equal(strlen(value), LOG_VALUE_MAX + strlen("…"));
	assert_string_equal(value + LOG_VALUE_MAX, "…");
	assert_true(json_is_true(json_object_get(line, "cut")));
	assert_null(json_object_get(line, "b"));
	json_decref(line);
	free(text);
	free(wide);
}

// --- repeats

static void a_text_that_repeats_is_folded_and_counted(void **state)
{
	(void)state;
	for (int i = 0; i < 422; i++)
		log_event(LOG_WARN, "again", "n=%d", 1);
	char *text = said();
	assert_int_equal(count_of(text, "msg=\"again\" n=1\n"), LOG_FOLD_AFTER);
	free(text);
	at_second(LOG_FOLD_WINDOW_S - 1);
	log_settle();
	assert_said("");
	at_second(LOG_FOLD_WINDOW_S);
	log_settle();
	assert_said("time=2026-11-24T00:40:10.000Z level=warn msg=\"again\" n=1 repeated=417\n");
	log_settle();
	assert_said("");
}

static void who_goes_on_is_told_once_a_window(void **state)
{
	(void)state;
	for (int64_t second = 0; second < 100; second++) {
		at_second(second);
		for (int i = 0; i < 50; i++)
			log_event(LOG_WARN, "flood", "%s", "");
	}
	log_end();
	char *text = said();
	size_t whole = count_of(text, "flood\"\n"), folded = count_of(text, "repeated=");
	assert_int_equal(whole, LOG_FOLD_AFTER);
	assert_int_equal(folded, 100 / LOG_FOLD_WINDOW_S);
	assert_int_equal(whole + sum_of(text, "repeated="), 100 * 50);
	free(text);
}

static void a_pause_ends_the_folding(void **state)
{
	(void)state;
	for (int i = 0; i < LOG_FOLD_AFTER + 1; i++)
		log_event(LOG_WARN, "again", "%s", "");
	at_second(LOG_FOLD_WINDOW_S);
	log_settle();
	at_second(2 * LOG_FOLD_WINDOW_S);
	free(said());
	log_event(LOG_WARN, "again", "%s", "");
	char *text = said();
	assert_int_equal(count_of(text, "again\"\n"), 1);
	free(text);
}

static void texts_that_differ_are_not_folded_together(void **state)
{
	(void)state;
	for (int i = 0; i < 200; i++)
		log_event(LOG_ERROR, "failed", "error=\"%s %d\"", "number", i);
	char *text = said();
	assert_int_equal(count_of(text, "\n"), 200);
	assert_null(strstr(text, "repeated"));
	free(text);
}

static void a_flood_of_texts_that_differ_is_bounded_and_counted(void **state)
{
	(void)state;
	enum { EACH = 1000, SECONDS = 100 };
	for (int64_t second = 0; second < SECONDS; second++) {
		at_second(second);
		for (int i = 0; i < EACH; i++)
			log_event(LOG_WARN, "flood", "n=%d second=%d", i, (int)second);
	}
	log_event(LOG_ERROR, "errors have a budget of their own", "%s", "");
	log_end();
	char *text = said();
	size_t whole = count_of(text, "msg=\"flood\"");
	assert_in_range(whole, LOG_FOLD_BURST, LOG_FOLD_BURST + SECONDS * LOG_FOLD_PER_S);
	assert_int_equal(whole + sum_of(text, " lines="), EACH * SECONDS);
	assert_non_null(strstr(text, "errors have a budget of their own\"\n"));
	assert_true(count_of(text, "left out") <= 1 + SECONDS / LOG_FOLD_WINDOW_S);
	free(text);
}

// A thread may read the clock, be stopped for seconds, and come after one that read it later.
static void who_comes_late_gives_the_budget_nothing_back(void **state)
{
	(void)state;
	size_t admitted = 0;
	for (int i = 0; i < 2 * LOG_FOLD_BURST; i++) {
		int64_t now_ns = (i % 2 ? 5 : 10) * (int64_t)NS_PER_S;
		char text[16];
		snprintf(text, sizeof(text), "%d", i);
		admitted += log_fold_admits(LOG_WARN, str_from(text), now_ns);
	}
	assert_int_equal(admitted, LOG_FOLD_BURST);
}

static void what_stderr_does_not_take_is_told_later(void **state)
{
	(void)state;
	int full = open("/dev/full", O_WRONLY);
	dup2(full, STDERR_FILENO);
	log_event(LOG_WARN, "lost", "n=%d", 1);
	log_event(LOG_WARN, "lost", "n=%d", 2);
	dup2(caught, STDERR_FILENO);
	close(full);
	log_event(LOG_INFO, "taken", "%s", "");
	assert_said(STAMP "level=warn msg=\"log lines were lost, stderr did not take them\" "
	                  "lines=2\n" STAMP "level=info msg=\"taken\"\n");
}

enum { THREADS = 4, TURNS = 5000 };

static void *shout(void *argument)
{
	for (int i = 0; i < TURNS; i++)
		log_event(LOG_WARN, "all together", "who=%d", *(int *)argument % 2);
	return NULL;
}

static void threads_lose_nothing_and_tear_no_line(void **state)
{
	(void)state;
	pthread_t threads[THREADS];
	int numbers[THREADS];
	clock_real();
	for (int i = 0; i < THREADS; i++) {
		numbers[i] = i;
		assert_int_equal(pthread_create(&threads[i], NULL, shout, &numbers[i]), 0);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	log_end();
	char *text = said();
	size_t whole = count_of(text, "msg=\"all together\" who=0\n") +
	               count_of(text, "msg=\"all together\" who=1\n");
	assert_int_equal(whole + sum_of(text, "repeated="), THREADS * TURNS);
	assert_int_equal(count_of(text, "\n"), count_of(text, "time="));
	free(text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, catch_stderr, release_stderr)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(an_event_is_one_line_of_logfmt),
	        TEST(every_conversion_is_understood),
	        TEST(no_value_ends_its_line_or_itself),
	        TEST(an_event_is_one_object_of_json),
	        TEST(long_values_and_lines_are_cut_and_say_so),
	        TEST(a_text_that_repeats_is_folded_and_counted),
	        TEST(who_goes_on_is_told_once_a_window),
	        TEST(a_pause_ends_the_folding),
	        TEST(texts_that_differ_are_not_folded_together),
	        TEST(a_flood_of_texts_that_differ_is_bounded_and_counted),
	        TEST(who_comes_late_gives_the_budget_nothing_back),
	        TEST(what_stderr_does_not_take_is_told_later),
	        TEST(threads_lose_nothing_and_tear_no_line),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
