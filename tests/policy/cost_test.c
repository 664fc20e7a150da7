// What a call costs, and what becomes of it then.
#include "tests/policy/cost_gate.h"

// The most is 8.
static const struct {
	struct str said;
	unsigned cost;
} by_header[] = {
        {{NULL, 0}, 8},  // there is none
        {{"", 0}, 8},
        {{"1", 1}, 1},
        {{"5", 1}, 5},
        {{"8", 1}, 8},
        {{"9", 1}, 8},
        {{"10", 2}, 8},
        {{"0", 1}, 8},
        {{"00", 2}, 8},
        {{"-1", 2}, 8},
        {{"-0", 2}, 8},
        {{"+1", 2}, 8},
        {{"one", 3}, 8},
        {{"1.0", 3}, 8},
        {{"1e0", 3}, 8},
        {{"0x1", 3}, 8},
        {{"1;", 2}, 8},
        {{"\"1\"", 3}, 8},
        {{"1\0", 2}, 8},
        {{"\xd9\xa1", 2}, 8},  // a one in Arabic
        // Fields that are repeated are joined.
        {{"1,1", 3}, 8},
        {{"1, 1", 4}, 8},
        {{"1,", 2}, 8},
        {{" 1", 2}, 8},
        {{"1 ", 2}, 8},
        {{"1\t", 2}, 8},
        {{" ", 1}, 8},
        {{"1 1", 3}, 8},
        {{"001", 3}, 1},
        {{"00000000000000000000000000000005", 32}, 5},
        {{"00000000000000000000000000000009", 32}, 8},
        // What a counter of 64 bits would take for one.
        {{"18446744073709551617", 20}, 8},
        {{"36893488147419103233", 20}, 8},
        {{"4294967297", 10}, 8},
        {{"99999999999999999999", 20}, 8},
};

static void a_header_says_the_cost_and_whatever_else_stands_there_costs_the_most(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(by_header); i++) {
		struct gate gate;
		open_gate(&gate, "{rate: 1/h, burst: 20, " BY_HEADER "}");
		// Neither the smallest body nor the largest says anything here.
		int64_t body = i % 2 ? 0 : INT64_MAX;
		assert_int_equal(call(&gate, WEB, by_header[i].said, body, 0), REASON_NONE);
		if (left_of(&gate, "rate_limits[0]", 0) != 20 - by_header[i].cost)
			fail_msg("row %zu: of 20 are left %f", i,
			        left_of(&gate, "rate_limits[0]", 0));
		close_gate(&gate);
	}
}

static const struct {
	const char *unit;
	int64_t bytes;
	unsigned cost;
} by_body[] = {
        {"1000", -1, 8},  // unknown
        {"1000", 0, 1},
        {"1000", 1, 1},
        {"1000", 999, 1},
        {"1000", 1000, 1},
        {"1000", 1001, 2},
        {"1000", 2000, 2},
        {"1000", 2001, 3},
        {"1000", 7000, 7},
        {"1000", 7001, 8},
        {"1000", 8000, 8},
        {"1000", 8001, 8},
        {"1000", INT64_C(1) << 40, 8},
        {"1000", INT64_MAX, 8},
        {"1", 0, 1},
        {"1", 1, 1},
        {"1", 8, 8},
        {"1", 9, 8},
        {"1", INT64_MAX, 8},
        {"64KiB", 64 << 10, 1},
        {"64KiB", (64 << 10) + 1, 2},
        {"1024GiB", INT64_C(1) << 40, 1},
        {"1024GiB", (INT64_C(1) << 40) + 1, 2},
        {"1024GiB", INT64_MAX, 8},
};

static void a_body_costs_a_token_for_each_part_of_it_that_is_begun(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(by_body); i++) {
		struct gate gate;
		char limit[128];
		snprintf(limit, sizeof(limit), "{rate: 1/h, burst: 20, cost: {body: %s, max: 8}}",
		        by_body[i].unit);
		open_gate(&gate, limit);
		assert_int_equal(call(&gate, WEB, STR("2"), by_body[i].bytes, 0), REASON_NONE);
		if (left_of(&gate, "rate_limits[0]", 0) != 20 - by_body[i].cost)
			fail_msg("row %zu: of 20 are left %f", i,
			        left_of(&gate, "rate_limits[0]", 0));
		close_gate(&gate);
	}
}

static void a_limit_without_cost_takes_one_token_whatever_is_said(void **state)
{
	struct gate gate;
	(void)state;
	open_gate(&gate, "{rate: 1/h, burst: 20}");
	assert_int_equal(call(&gate, WEB, STR("5"), INT64_MAX, 0), REASON_NONE);
	assert_int_equal(call(&gate, WEB, STR("5"), -1, 0), REASON_NONE);
	assert_true(left_of(&gate, "rate_limits[0]", 0) == 18);
	close_gate(&gate);
}

// Of a burst of 12, a token an hour.
static const struct {
	const char *paid[3], *asked;
	int hours;
	const char *detail;
} refusals[] = {
        {{"8"}, "5", 1, "1/h burst 12, by x-cost: this call costs 5"},
        {{"8"}, "8", 4, "1/h burst 12, by x-cost: this call costs 8"},
        {{"8"}, "1000", 4, "1/h burst 12, by x-cost: this call costs 8"},
        {{"8"}, "", 4, "1/h burst 12, by x-cost: this call costs 8"},
        {{"8", "4"}, "1", 1, "1/h burst 12, by x-cost: this call costs 1"},
        {{"8", "4"}, "007", 7, "1/h burst 12, by x-cost: this call costs 7"},
        {{"6", "5"}, "3", 2, "1/h burst 12, by x-cost: this call costs 3"},
        {{"8", "3", "1"}, "x", 8, "1/h burst 12, by x-cost: this call costs 8"},
};

static void a_refusal_says_the_cost_and_the_wait_for_just_that(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
		struct gate gate;
		const char *asked = refusals[i].asked;
		int64_t wait_ns = refusals[i].hours * hour_ns;
		print_message("%s\n", refusals[i].detail);
		open_gate(&gate, "{rate: 1/h, burst: 12, " BY_HEADER "}");
		for (size_t paid = 0; paid < 3 && refusals[i].paid[paid]; paid++)
			assert_true(passes(&gate, refusals[i].paid[paid], 0));
		assert_false(passes(&gate, asked, 0));
		assert_true(str_eq(gate.decision.matched_rule, STR("rate_limits[0]")));
		assert_true(str_eq(gate.decision.detail, str_from(refusals[i].detail)));
		assert_int_equal(gate.decision.limit_index, 0);
		assert_int_equal(gate.decision.retry_after_ns, wait_ns);
		assert_false(passes(&gate, asked, wait_ns - 1));
		assert_int_equal(gate.decision.retry_after_ns, 1);
		assert_true(passes(&gate, asked, wait_ns));
		close_gate(&gate);
	}
}

static void a_refusal_by_body_names_the_unit(void **state)
{
	struct gate gate;
	(void)state;
	open_gate(&gate, "{rate: 1/h, burst: 9, per: [identity], cost: {body: 4KiB, max: 9}}");
	assert_int_equal(call(&gate, WEB, STR(""), 8 << 10, 0), REASON_NONE);
	assert_int_equal(call(&gate, WEB, STR(""), -1, 0), REASON_rate_limited);
	assert_true(str_eq(gate.decision.detail,
	        STR("1/h burst 9 per identity, by 4KiB of body: this call costs 9")));
	assert_int_equal(gate.decision.retry_after_ns, 2 * hour_ns);
	assert_int_equal(call(&gate, BATCH, STR(""), -1, 0), REASON_NONE);
	close_gate(&gate);
}

static void a_call_that_is_refused_leaves_its_tokens_to_cheaper_ones(void **state)
{
	struct gate gate;
	(void)state;
	open_gate(&gate, "{rate: 1/h, burst: 12, " BY_HEADER "}");
	assert_true(passes(&gate, "8", 0));
	for (int i = 0; i < 5; i++)
		assert_false(passes(&gate, "8", 0));
	assert_true(passes(&gate, "3", 0));
	assert_false(passes(&gate, "2", 0));
	assert_true(passes(&gate, "1", 0));
	assert_false(passes(&gate, "1", 0));
	close_gate(&gate);
}

static void a_caller_is_told_what_is_left_after_the_cost(void **state)
{
	struct gate gate;
	(void)state;
	open_gate(&gate, "{rate: 1/h, burst: 12, " BY_HEADER "}, {rate: 9/h, burst: 90}");
	gate.wants_quotas = true;
	assert_true(passes(&gate, "5", 0));
	assert_int_equal(gate.decision.quota_count, 2);
	const struct policy_quota *quota = &gate.decision.quotas[0];
	assert_int_equal(quota->burst, 12);
	assert_int_equal(quota->refill_ns, 12 * hour_ns);
	assert_int_equal(quota->left.tokens, 7);
	assert_int_equal(quota->left.full_in_ns, 5 * hour_ns);
	assert_int_equal(gate.decision.quotas[1].left.tokens, 89);
	// Enough for a cheaper one; until this one can pass.
	assert_false(passes(&gate, "8", 0));
	assert_int_equal(gate.decision.quota_count, 1);
	assert_int_equal(gate.decision.quotas[0].left.tokens, 7);
	assert_int_equal(gate.decision.quotas[0].left.more_in_ns, hour_ns);
	assert_int_equal(gate.decision.quotas[0].left.full_in_ns, hour_ns);
	close_gate(&gate);
}

static void overrides_charge_the_same_cost_to_their_own_buckets(void **state)
{
	struct gate gate;
	(void)state;
	open_gate(&gate, "{rate: 1/h, burst: 12, " BY_HEADER ", overrides: [{identity: " BATCH
	                 ", rate: 1/m, burst: 20}]}");
	assert_int_equal(call(&gate, BATCH, STR("8"), 0, 0), REASON_NONE);
	assert_int_equal(call(&gate, BATCH, STR(""), 0, 0), REASON_NONE);
	assert_int_equal(call(&gate, BATCH, STR("6"), 0, 0), REASON_rate_limited);
	assert_true(str_eq(gate.decision.matched_rule, STR("rate_limits[0].overrides[0]")));
	assert_true(str_eq(gate.decision.detail,
	        STR("1/m burst 20, by x-cost, for " BATCH ": this call costs 6")));
	assert_int_equal(gate.decision.retry_after_ns, 2 * minute_ns);
	assert_true(left_of(&gate, "rate_limits[0] " BATCH, 0) == 4);
	assert_true(left_of(&gate, "rate_limits[0]", 0) == 12);
	close_gate(&gate);
}

static void limits_of_other_costs_are_all_charged_or_none(void **state)
{
	struct gate gate;
	(void)state;
	open_gate(&gate, "{rate: 1/h, burst: 12, " BY_HEADER "}, {rate: 2/h, burst: 3}");
	assert_true(passes(&gate, "8", 0));
	assert_left(&gate, 4, 2);
	assert_false(passes(&gate, "8", 0));
	assert_true(str_eq(gate.decision.matched_rule, STR("rate_limits[0]")));
	assert_left(&gate, 4, 2);
	assert_true(passes(&gate, "1", 0) && passes(&gate, "1", 0));
	assert_left(&gate, 2, 0);
	assert_false(passes(&gate, "2", 0));
	assert_true(str_eq(gate.decision.matched_rule, STR("rate_limits[1]")));
	assert_true(str_eq(gate.decision.detail, STR("2/h burst 3")));
	assert_int_equal(gate.decision.retry_after_ns, hour_ns / 2);
	// Where both refuse, the longer wait counts.
	assert_false(passes(&gate, "5", 0));
	assert_true(str_eq(gate.decision.matched_rule, STR("rate_limits[0]")));
	assert_int_equal(gate.decision.retry_after_ns, 3 * hour_ns);
	assert_left(&gate, 2, 0);
	close_gate(&gate);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(
	                a_header_says_the_cost_and_whatever_else_stands_there_costs_the_most),
	        cmocka_unit_test(a_body_costs_a_token_for_each_part_of_it_that_is_begun),
	        cmocka_unit_test(a_limit_without_cost_takes_one_token_whatever_is_said),
	        cmocka_unit_test(a_refusal_says_the_cost_and_the_wait_for_just_that),
	        cmocka_unit_test(a_refusal_by_body_names_the_unit),
	        cmocka_unit_test(a_call_that_is_refused_leaves_its_tokens_to_cheaper_ones),
	        cmocka_unit_test(a_caller_is_told_what_is_left_after_the_cost),
	        cmocka_unit_test(overrides_charge_the_same_cost_to_their_own_buckets),
	        cmocka_unit_test(limits_of_other_costs_are_all_charged_or_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
