#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/check.h"
#include "gateway/health.h"

static const int64_t SECOND = 1000000000;
static const struct config_ejection five = {.failures = 5, .base_ns = 30000000000, .most = 50};

static void failures_in_a_row_are_counted_and_any_success_begins_anew(void **state)
{
	(void)state;
	struct health health = {0};
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 4; i++)
			assert_false(health_failed(&health, &five));
		health_succeeded(&health);
	}
	for (int i = 0; i < 4; i++)
		assert_false(health_failed(&health, &five));
	assert_true(health_failed(&health, &five));
	assert_true(health_failed(&health, &five));  // it could not be done without yet
}

static void without_a_block_nothing_ever_is_ejected(void **state)
{
	(void)state;
	struct health health = {0};
	for (int i = 0; i < 1000; i++)
		assert_false(health_failed(&health, &(struct config_ejection){0}));
}

static void an_ejected_one_counts_nothing_and_begins_anew(void **state)
{
	(void)state;
	struct health health = {0};
	while (!health_failed(&health, &five))
		;
	(void)health_eject(&health, &five, SECOND);
	assert_false(health_in(&health));
	assert_false(health_failed(&health, &five));
	health_return(&health, 31 * SECOND);
	assert_true(health_in(&health));
	for (int i = 0; i < 4; i++)
		assert_false(health_failed(&health, &five));
	assert_true(health_failed(&health, &five));
}

static void each_ejection_is_longer_than_the_last_up_to_ten_times(void **state)
{
	(void)state;
	struct health health = {0};
	int64_t now_ns = SECOND;
	for (int i = 1; i <= 15; i++) {
		int64_t out_ns = health_eject(&health, &five, now_ns);
		assert_int_equal(out_ns, 30 * SECOND * (i < 10 ? i : 10));
		now_ns += out_ns;
		health_return(&health, now_ns);
	}
}

static void good_times_are_remembered_too(void **state)
{
	(void)state;
	static const struct {
		int64_t good_for_s, out_s;  // after three ejections
	} rows[] = {{0, 120}, {29, 120}, {30, 90}, {89, 60}, {90, 30}, {100000, 30}};
	for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
		struct health health = {0};
		int64_t now_ns = SECOND;
		for (int i = 0; i < 3; i++) {
			now_ns += health_eject(&health, &five, now_ns);
			health_return(&health, now_ns);
		}
		now_ns += rows[row].good_for_s * SECOND;
		assert_int_equal(health_eject(&health, &five, now_ns), rows[row].out_s * SECOND);
	}
}

static void who_is_let_off_begins_anew(void **state)
{
	(void)state;
	struct health health = {0};
	int64_t now_ns = SECOND;
	for (int i = 0; i < 9; i++) {
		now_ns += health_eject(&health, &five, now_ns);
		health_return(&health, now_ns);
	}
	(void)health_eject(&health, &five, now_ns);  // for 300 s
	health_unejected(&health);
	assert_true(health_in(&health));
	assert_int_equal(health_eject(&health, &five, now_ns + SECOND), 30 * SECOND);
}

static void at_most_the_share_is_ejected_but_one_always_and_the_last_never(void **state)
{
	(void)state;
	static const struct {
		uint64_t most;
		size_t count, ejected, in;
		bool may;
	} rows[] = {
	        {50, 1, 0, 1, false},
	        {50, 2, 0, 2, true},
	        {100, 2, 1, 1, false},
	        {50, 4, 1, 3, true},
	        {50, 4, 2, 2, false},
	        {1, 10, 0, 10, true},
	        {10, 10, 1, 9, false},
	        {20, 10, 1, 9, true},
	        {100, 10, 8, 2, true},
	        {100, 10, 9, 1, false},
	        {100, 10, 3, 1, false},  // the others are out by other means
	        {100, 3, 0, 0, false},
	};
	for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
		struct config_ejection ejection = {5, SECOND, rows[row].most};
		assert_int_equal(health_may_eject(&ejection, rows[row].count, rows[row].ejected,
		                         rows[row].in),
		        rows[row].may);
	}
}

static void what_is_back_grows_to_its_weight(void **state)
{
	(void)state;
	static const struct {
		int64_t since_ms;
		uint32_t weight;  // of 300
	} rows[] = {{0, 30}, {500, 30}, {1000, 30}, {2500, 75}, {5000, 150}, {9999, 297},
	        {10000, 300}, {60000, 300}};
	struct health health = {0};
	assert_int_equal(health_weight(&health, 3, 10 * SECOND, SECOND), 300);
	(void)health_eject(&health, &five, SECOND);
	assert_int_equal(health_weight(&health, 3, 10 * SECOND, 2 * SECOND), 0);
	health_return(&health, 40 * SECOND);
	for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
		int64_t now_ns = 40 * SECOND + rows[row].since_ms * (SECOND / 1000);
		assert_int_equal(health_weight(&health, 3, 10 * SECOND, now_ns), rows[row].weight);
		assert_int_equal(
		        health_warming(&health, 10 * SECOND, now_ns), rows[row].since_ms < 10000);
	}
	assert_int_equal(health_weight(&health, 3, 0, 40 * SECOND), 300);
}

static void checks_turn_an_endpoint_after_so_many_in_a_row(void **state)
{
	(void)state;
	static const struct config_health_check config = {.unhealthy = 3, .healthy = 2};
	static const struct {
		const char *checks;  // '-' bad, '+' good
		bool in;
	} rows[] = {{"", true}, {"--", true}, {"---", false}, {"--+--", true}, {"---+", false},
	        {"---++", true}, {"---+-+", false}, {"---+-++", true}, {"-----++--", true},
	        {"---++---", false}};
	for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
		struct health health = {0};
		bool in = true;
		for (const char *check = rows[row].checks; *check; check++) {
			bool turns = health_checked(&health, &config, *check == '+', SECOND);
			in = turns ? !in : in;
			assert_int_equal(health_in(&health), in);
		}
		assert_int_equal(in, rows[row].in);
	}
}

static void ejected_and_sick_are_two_things(void **state)
{
	(void)state;
	static const struct config_health_check config = {.unhealthy = 1, .healthy = 1};
	struct health health = {0};
	(void)health_eject(&health, &five, SECOND);
	assert_true(health_checked(&health, &config, false, 2 * SECOND));
	health_return(&health, 31 * SECOND);
	assert_false(health_in(&health));
	assert_true(health_checked(&health, &config, true, 40 * SECOND));
	assert_true(health_in(&health));
	assert_true(health_warming(&health, SECOND, 40 * SECOND));
	assert_true(health_checked(&health, &config, false, 41 * SECOND));
	health_unchecked(&health);
	assert_true(health_in(&health));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(failures_in_a_row_are_counted_and_any_success_begins_anew),
	        cmocka_unit_test(without_a_block_nothing_ever_is_ejected),
	        cmocka_unit_test(an_ejected_one_counts_nothing_and_begins_anew),
	        cmocka_unit_test(each_ejection_is_longer_than_the_last_up_to_ten_times),
	        cmocka_unit_test(good_times_are_remembered_too),
	        cmocka_unit_test(who_is_let_off_begins_anew),
	        cmocka_unit_test(at_most_the_share_is_ejected_but_one_always_and_the_last_never),
	        cmocka_unit_test(checks_turn_an_endpoint_after_so_many_in_a_row),
	        cmocka_unit_test(ejected_and_sick_are_two_things),
	        cmocka_unit_test(what_is_back_grows_to_its_weight),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
