// What a call costs where the limit is a trial, or the fleet's; and limits beside each other.
#include "tests/policy/cost_gate.h"

static void a_trial_takes_the_cost_where_it_is_there_and_stops_nothing(void **state)
{
	struct gate gate;
	(void)state;
	open_gate(&gate,
	        "{rate: 1/h, burst: 100}, {rate: 1/h, burst: 12, shadow: true, " BY_HEADER "}");
	assert_true(passes(&gate, "8", 0));
	assert_int_equal(gate.decision.shadow_count, 0);
	assert_left(&gate, 99, 4);
	assert_true(passes(&gate, "7", 0));
	assert_left(&gate, 98, 4);
	assert_int_equal(gate.decision.shadow_count, 1);
	const struct policy_shadow *shadow = &gate.decision.shadows[0];
	assert_int_equal(shadow->limit_index, 1);
	assert_int_equal(shadow->wait_ns, 3 * hour_ns);
	assert_true(str_eq(shadow->rule, STR("rate_limits[1]")));
	assert_true(str_eq(shadow->detail, STR("1/h burst 12, by x-cost: this call costs 7")));
	assert_true(passes(&gate, "3", 0));
	assert_int_equal(gate.decision.shadow_count, 0);
	assert_left(&gate, 97, 1);
	close_gate(&gate);
}

static void answer(struct gate *gate, size_t claim, enum policy_answer answer, int64_t wait_ns)
{
	gate->decision.claims[claim].answer = answer;
	gate->decision.claims[claim].wait_ns = wait_ns;
	gate->decision.claims[claim].failure = "timeout";
}

static enum reason settle(struct gate *gate, int64_t now_ns)
{
	policy_settle(&gate->decision, now_ns, &gate->arena);
	return gate->decision.reason;
}

static void a_shared_limit_claims_what_the_call_costs(void **state)
{
	struct gate gate;
	(void)state;
	open_gate(&gate, "{rate: 1/h, burst: 12, store: redis, " BY_HEADER "}, "
	                 "{rate: 2/h, burst: 13, store: redis, cost: {body: 1000, max: 5}}, "
	                 "{rate: 3/h, burst: 14, store: redis}, "
	                 "{rate: 4/h, burst: 15, store: redis, shadow: true, " BY_HEADER "}");
	assert_int_equal(call(&gate, WEB, STR("7"), 2500, 0), REASON_NONE);
	assert_int_equal(gate.decision.claim_count, 4);
	static const uint64_t tokens[] = {7, 3, 1, 7};
	for (size_t i = 0; i < ARRAY_LEN(tokens); i++)
		assert_int_equal(gate.decision.claims[i].tokens, tokens[i]);
	answer(&gate, 0, POLICY_REFUSED, 5);
	assert_int_equal(settle(&gate, 0), REASON_rate_limited);
	assert_int_equal(gate.decision.retry_after_ns, 5);
	assert_true(str_eq(
	        gate.decision.detail, STR("1/h burst 12, by x-cost, in redis: this call costs 7")));
	close_gate(&gate);
}

static void a_shared_trial_that_refuses_names_the_cost(void **state)
{
	struct gate gate;
	(void)state;
	open_gate(&gate, "{rate: 4/h, burst: 15, store: redis, shadow: true, " BY_HEADER "}");
	assert_true(passes(&gate, "7", 0));
	answer(&gate, 0, POLICY_REFUSED, 0);
	assert_int_equal(settle(&gate, 0), REASON_NONE);
	assert_int_equal(gate.decision.shadow_count, 1);
	assert_true(str_eq(gate.decision.shadows[0].detail,
	        STR("4/h burst 15, by x-cost, in redis: this call costs 7")));
	close_gate(&gate);
}

static void the_bucket_that_stands_in_charges_the_same_cost(void **state)
{
	struct gate gate;
	(void)state;
	open_gate(&gate, "{rate: 2/h, burst: 24, store: redis, fleet: 2, " BY_HEADER "}");
	static const struct {
		const char *cost;
		enum reason reason;
		double left;
		int64_t wait_ns;
	} calls[] = {
	        {"8", REASON_NONE, 4, 0},
	        {"5", REASON_rate_limited, 4, INT64_C(3600) * NS_PER_S},
	        {"none", REASON_rate_limited, 4, INT64_C(4 * 3600) * NS_PER_S},
	        {"4", REASON_NONE, 0, 0},
	        {"1", REASON_rate_limited, 0, INT64_C(3600) * NS_PER_S},
	};
	for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
		assert_true(passes(&gate, calls[i].cost, 0));
		assert_int_equal(gate.decision.claim_count, 1);
		answer(&gate, 0, POLICY_FAILED, 0);
		assert_int_equal(settle(&gate, 0), calls[i].reason);
		assert_int_equal(gate.decision.retry_after_ns, calls[i].wait_ns);
		assert_true(left_of(&gate, "rate_limits[0]", 0) == calls[i].left);
	}
	close_gate(&gate);
}

// The other way round: the shared one granted, and then here are too few.
static void a_local_limit_that_cannot_pay_refuses_after_the_fleets_has_granted(void **state)
{
	struct gate gate;
	(void)state;
	open_gate(&gate,
	        "{rate: 1/h, burst: 12, store: redis}, {rate: 1/h, burst: 12, " BY_HEADER "}");
	assert_true(passes(&gate, "8", 0));
	struct policy_decision second = gate.decision;
	assert_true(passes(&gate, "5", 0));
	answer(&gate, 0, POLICY_GRANTED, 0);
	assert_int_equal(settle(&gate, 0), REASON_NONE);
	gate.decision = second;
	answer(&gate, 0, POLICY_GRANTED, 0);
	assert_int_equal(settle(&gate, 0), REASON_rate_limited);
	assert_int_equal(gate.decision.retry_after_ns, hour_ns);
	assert_left(&gate, 12, 7);
	assert_false(passes(&gate, "8", 0));  // nobody is asked in vain
	assert_int_equal(gate.decision.claim_count, 0);
	close_gate(&gate);
}

#define COARSE "{rate: 5/s, burst: 10"
#define FINE "{rate: 9/s, burst: 20, per: [identity]"

static const struct {
	const char *limits;
	bool fires;
} neighbours[] = {
        {COARSE "}, " FINE "}", false},
        {COARSE ", cost: {header: x-a, max: 5}}, " FINE ", cost: {header: x-a, max: 5}}", false},
        {COARSE ", cost: {header: X-A, max: 5}}, " FINE ", cost: {header: x-a, max: 5}}", false},
        {COARSE ", cost: {body: 1KiB, max: 5}}, " FINE ", cost: {body: 1024, max: 5}}", false},
        {COARSE ", cost: {header: x-a, max: 5}}, " FINE "}", true},
        {COARSE "}, " FINE ", cost: {header: x-a, max: 5}}", true},
        {COARSE ", cost: {header: x-a, max: 5}}, " FINE ", cost: {header: x-a, max: 6}}", true},
        {COARSE ", cost: {header: x-a, max: 5}}, " FINE ", cost: {header: x-b, max: 5}}", true},
        {COARSE ", cost: {header: x-a, max: 5}}, " FINE ", cost: {body: 1024, max: 5}}", true},
        {COARSE ", cost: {body: 1000, max: 5}}, " FINE ", cost: {body: 1024, max: 5}}", true},
};

static void a_limit_never_fires_only_behind_one_of_the_same_cost(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(neighbours); i++) {
		struct fixture fixture;
		struct bucket_store *store = bucket_store_new();
		char routes[512];
		snprintf(routes, sizeof(routes),
		        "- match: {path: /*}\n  backend: b\n  rate_limits: [%s]\n",
		        neighbours[i].limits);
		fixture_parse(&fixture, NAMES_ALL, routes, TAIL);
		fixture_fail_on_problems(&fixture);
		fixture.policy = policy_compile(fixture.config, store, &fixture.problems);
		size_t expected = neighbours[i].fires ? 0 : 1;
		if (fixture.problems.count != expected)
			fail_msg("row %zu: %zu problems", i, fixture.problems.count);
		if (expected)
			assert_non_null(memmem(fixture.problems.items[0].what.at,
			        fixture.problems.items[0].what.len, "never fires", 11));
		fixture_free(&fixture);
		bucket_store_free(store);
	}
}

static void a_reload_that_brings_or_changes_the_cost_keeps_the_fill(void **state)
{
	(void)state;
	static const char *const costs[] = {"", ", cost: {header: x-cost, max: 3}",
	        ", cost: {header: x-cost, max: 8}", ", cost: {body: 1, max: 2}", ""};
	static const double left[] = {19, 16, 8, 6, 5};
	struct gate gates[ARRAY_LEN(costs)];
	struct bucket_store *store = bucket_store_new();
	for (size_t i = 0; i < ARRAY_LEN(costs); i++) {
		char routes[256];
		gates[i] = (struct gate){.store = store};
		snprintf(routes, sizeof(routes),
		        "- match: {path: /*}\n  backend: b\n"
		        "  rate_limits: [{rate: 1/h, burst: 20%s}]\n",
		        costs[i]);
		fixture_compile(&gates[i].fixture, store, NAMES_ALL, routes, TAIL);
		assert_int_equal(call(&gates[i], WEB, STR("8"), 2, 0), REASON_NONE);
		assert_true(left_of(&gates[i], "rate_limits[0]", 0) == left[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(costs); i++) {
		arena_fini(&gates[i].arena);
		fixture_free(&gates[i].fixture);
	}
	bucket_store_free(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_trial_takes_the_cost_where_it_is_there_and_stops_nothing),
	        cmocka_unit_test(a_shared_limit_claims_what_the_call_costs),
	        cmocka_unit_test(a_shared_trial_that_refuses_names_the_cost),
	        cmocka_unit_test(the_bucket_that_stands_in_charges_the_same_cost),
	        cmocka_unit_test(
	                a_local_limit_that_cannot_pay_refuses_after_the_fleets_has_granted),
	        cmocka_unit_test(a_limit_never_fires_only_behind_one_of_the_same_cost),
	        cmocka_unit_test(a_reload_that_brings_or_changes_the_cost_keeps_the_fill),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
