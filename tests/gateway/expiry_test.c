#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/expiry.h"
#include "tls/pki.h"

enum { HOUR_S = 3600, DAY_S = 24 * HOUR_S };

static struct tls_expiry lasting(const char *role, int64_t seconds)
{
	return (struct tls_expiry){.role = role, .begins_s = 1000, .ends_s = 1000 + seconds};
}

static void what_is_soon_depends_on_how_long_it_lives(void **state)
{
	(void)state;
	const struct {
		int64_t life_s, near_s;
	} rows[] = {{HOUR_S, HOUR_S / 10}, {DAY_S, DAY_S / 10}, {70 * DAY_S, 7 * DAY_S},
	        {90 * DAY_S, 7 * DAY_S}, {3650 * (int64_t)DAY_S, 7 * DAY_S}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct tls_expiry what = lasting("certificate", rows[i].life_s);
		int64_t near_from_s = what.ends_s - rows[i].near_s;
		assert_int_equal(expiry_state(&what, near_from_s - 1), EXPIRY_FAR);
		assert_null(expiry_words(&what, near_from_s - 1));
		assert_int_equal(expiry_state(&what, near_from_s), EXPIRY_NEAR);
		assert_int_equal(expiry_state(&what, what.ends_s), EXPIRY_NEAR);
		assert_int_equal(expiry_state(&what, what.ends_s + 1), EXPIRY_PAST);
	}
}

static void every_role_has_its_words(void **state)
{
	(void)state;
	const char *const roles[] = {"certificate", "intermediate", "trusted_ca", "crl"};
	for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
		struct tls_expiry what = lasting(roles[i], DAY_S);
		assert_non_null(expiry_words(&what, what.ends_s));
		assert_string_not_equal(
		        expiry_words(&what, what.ends_s), expiry_words(&what, what.ends_s + 1));
	}
}

static void spans_are_short_and_exact(void **state)
{
	(void)state;
	const struct {
		int64_t seconds;
		const char *text;
	} rows[] = {{0, "0s"}, {59, "59s"}, {60, "1m0s"}, {3599, "59m59s"}, {3600, "1h0m"},
	        {DAY_S - 1, "23h59m"}, {DAY_S, "1d0h"}, {400 * DAY_S + 5 * HOUR_S, "400d5h"},
	        {-61, "-1m1s"}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char text[EXPIRY_SPAN_SIZE];
		expiry_span(rows[i].seconds, text);
		assert_string_equal(text, rows[i].text);
	}
}

// --- a throwaway PKI, whose gateway, CA and list end in thirty days

static char directory[] = "/tmp/tollgate-expiry-XXXXXX";
static struct bucket_store *store;
static struct snapshot *snapshot;
static int real_stderr = -1, caught = -1;

static int load(void **state)
{
	(void)state;
	struct config_problems problems = {0};
	int quiet = dup(STDOUT_FILENO);
	if (!mkdtemp(directory) || chdir(directory) < 0 || !freopen("/dev/null", "w", stdout))
		return -1;
	int failed = pki_write("pki");
	fflush(stdout);
	dup2(quiet, STDOUT_FILENO);
	close(quiet);
	store = bucket_store_new();
	snapshot = snapshot_load(NULL, NULL, store, &problems);
	config_problems_print(&problems, STDERR_FILENO);
	config_problems_fini(&problems);
	return failed || !snapshot ? -1 : 0;
}

static int unload(void **state)
{
	(void)state;
	char command[64];
	snapshot_unref(snapshot);
	bucket_store_free(store);
	snprintf(command, sizeof(command), "rm -r %s", directory);
	return chdir("/") || system(command);
}

static int catch_stderr(void **state)
{
	char name[] = "/tmp/tollgate-log-XXXXXX";
	(void)state;
	real_stderr = dup(STDERR_FILENO);
	caught = mkstemp(name);
	unlink(name);
	return dup2(caught, STDERR_FILENO) < 0;
}

static int release_stderr(void **state)
{
	(void)state;
	dup2(real_stderr, STDERR_FILENO);
	close(real_stderr);
	return close(caught);
}

// How many lines of the level there are since the last call.
static size_t said(const char *level)
{
	char text[16384], *line = text;
	size_t count = 0;
	ssize_t len = pread(caught, text, sizeof(text) - 1, 0);
	assert_true(len >= 0);
	text[len] = '\0';
	while ((line = strstr(line, level))) {
		line += strlen(level);
		count++;
	}
	assert_int_equal(ftruncate(caught, 0), 0);
	lseek(caught, 0, SEEK_SET);
	return count;
}

struct ends {
	int64_t first_s, last_s, near_s;
	size_t count;
};

static void find_ends(const struct tls_expiry *what, void *argument)
{
	struct ends *ends = argument;
	int64_t near_s = what->ends_s - (what->ends_s - what->begins_s) / 10;
	if (!ends->count || what->ends_s < ends->first_s)
		ends->first_s = what->ends_s;
	if (!ends->count || near_s < ends->near_s)
		ends->near_s = near_s;
	if (what->ends_s > ends->last_s)
		ends->last_s = what->ends_s;
	ends->count++;
}

static void each_is_said_once_a_day_and_again_when_past(void **state)
{
	(void)state;
	struct expiry expiry = {.snapshot = &snapshot};
	struct ends ends = {0};
	tls_context_expiries(snapshot->listeners[0].tls, find_ends, &ends);
	assert_int_equal(ends.count, 3);
	expiry_look(&expiry, ends.near_s - HOUR_S);
	assert_int_equal(said("level="), 0);
	// All that ends here ends within a few minutes.
	int64_t now_s = ends.first_s - 2 * DAY_S;
	expiry_look(&expiry, now_s);
	assert_int_equal(said("level=warn"), ends.count);
	for (int64_t later_s = 1; later_s < DAY_S; later_s += HOUR_S)
		expiry_look(&expiry, now_s + later_s);
	expiry.generation = 0;  // a reload looks again
	expiry_look(&expiry, now_s + DAY_S - 1);
	assert_int_equal(said("level="), 0);
	expiry_look(&expiry, now_s + DAY_S);
	assert_int_equal(said("level=warn"), ends.count);
	expiry_look(&expiry, ends.last_s + 1);
	assert_int_equal(said("level=error"), ends.count);
	expiry_look(&expiry, ends.last_s + 2);
	assert_int_equal(said("level="), 0);
	expiry_look(&expiry, ends.last_s + 1 + DAY_S);
	assert_int_equal(said("level=error"), ends.count);
	expiry_end(&expiry);
}

static void what_was_replaced_is_forgotten(void **state)
{
	(void)state;
	struct expiry expiry = {.snapshot = &snapshot};
	struct ends ends = {0};
	tls_context_expiries(snapshot->listeners[0].tls, find_ends, &ends);
	expiry_look(&expiry, ends.last_s + 1);
	assert_int_equal(expiry.notice_count, ends.count);
	expiry.generation = 0;
	expiry_look(&expiry, ends.near_s - 1);  // as if all were new
	assert_int_equal(expiry.notice_count, 0);
	expiry_end(&expiry);
}

#define CAUGHT(name) cmocka_unit_test_setup_teardown(name, catch_stderr, release_stderr)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(what_is_soon_depends_on_how_long_it_lives),
	        cmocka_unit_test(every_role_has_its_words),
	        cmocka_unit_test(spans_are_short_and_exact),
	        CAUGHT(each_is_said_once_a_day_and_again_when_past),
	        CAUGHT(what_was_replaced_is_forgotten),
	};
	return cmocka_run_group_tests_name("expiry", tests, load, unload);
}
