#include "tests/policy/calls_gate.h"

// Trials of `call_limits` and `flow_limits`: what they would have done to calls that pass, and of
// what they take places and tokens. Those of `rate_limits` are with the tests of what a call pays.

static void assert_refused(
        struct gate *gate, size_t number, enum reason reason, const char *rule, int call_limit)
{
	const struct policy_decision *decision = call(gate, number, CART);
	assert_int_equal(decision->reason, reason);
	assert_true(str_eq(decision->matched_rule, str_from(rule)));
	assert_int_equal(decision->shadow_count, 0);
	assert_int_equal(decision->call_limit_index, call_limit);
}

static void assert_shadow(const struct policy_shadow *shadow, enum policy_limit kind,
        enum reason reason, const char *rule, const char *detail, int64_t wait_ns)
{
	assert_int_equal(shadow->kind, kind);
	assert_int_equal(shadow->reason, reason);
	assert_true(str_eq(shadow->rule, str_from(rule)));
	assert_true(str_eq(shadow->detail, str_from(detail)));
	assert_int_equal(shadow->wait_ns, wait_ns);
}

static void calls_over_a_trial_pass_and_are_not_among_those_under_way(void **state)
{
	(void)state;
	struct gate gate;
	open_gate(&gate, "call_limits: [{calls: 2, shadow: true, per: [identity]}]");
	assert_passes(&gate, 0, CART, 0);
	assert_passes(&gate, 1, CART, 0);
	assert_passes(&gate, 2, CART, 1);
	assert_shadow(gate.calls[2].shadows, POLICY_CALL_LIMIT, REASON_overloaded, "call_limits[0]",
	        "2 calls at once per identity", 0);
	assert_passes(&gate, 3, SHOP, 0);
	policy_leave(&gate.calls[0]);
	assert_passes(&gate, 0, CART, 0);
	assert_passes(&gate, 3, CART, 1);
	close_gate(&gate);
}

static void calls_that_anything_refuses_are_tried_out_on_nothing(void **state)
{
	(void)state;
	struct gate gate;
	open_gate(&gate, "call_limits: [{calls: 1, shadow: true}, {calls: 2}], "
	                 "rate_limits: [{rate: 1/h, burst: 3}]");
	assert_passes(&gate, 0, CART, 0);
	assert_passes(&gate, 1, CART, 1);
	assert_refused(&gate, 2, REASON_overloaded, "call_limits[1]", 1);
	policy_leave(&gate.calls[0]);
	assert_passes(&gate, 0, CART, 0);
	policy_leave(&gate.calls[0]);
	// Twice, since it gives back the place that it took.
	assert_refused(&gate, 2, REASON_rate_limited, "rate_limits[0]", -1);
	assert_refused(&gate, 2, REASON_rate_limited, "rate_limits[0]", -1);
	close_gate(&gate);
}

static void trials_of_all_kinds_stand_beside_each_other(void **state)
{
	(void)state;
	struct gate gate;
	open_gate(&gate, "call_limits: [{calls: 1, shadow: true}, {calls: 1, shadow: true}], "
	                 "rate_limits: [{rate: 1/h, burst: 1, shadow: true}], "
	                 "flow_limits: [{messages: 1/s, burst: 1, shadow: true}]");
	assert_passes(&gate, 0, CART, 0);
	assert_passes(&gate, 1, CART, 3);
	const struct policy_decision *decision = &gate.calls[1];
	for (int i = 0; i < 3; i++)
		(void)!policy_pass(&gate.calls[1], FLOW_REQUESTS, true, 1, INT64_MAX, 0).wait_ns;
	assert_int_equal(decision->shadow_count, 4);
	assert_int_equal(decision->shadows[1].limit_index, 1);
	assert_shadow(&decision->shadows[2], POLICY_RATE_LIMIT, REASON_rate_limited,
	        "rate_limits[0]", "1/h burst 1", hour_ns);
	assert_shadow(&decision->shadows[3], POLICY_FLOW_LIMIT, REASON_rate_limited,
	        "flow_limits[0]", "1/s messages burst 1 of requests: would pause", second_ns);
	close_gate(&gate);
}

static void an_open_verdict_keeps_its_trials_until_it_is_closed(void **state)
{
	(void)state;
	struct gate gate;
	open_gate(&gate, "call_limits: [{calls: 1, shadow: true}], "
	                 "rate_limits: [{rate: 1/h, burst: 9, store: redis}]");
	struct policy_decision *first = call(&gate, 0, CART), *second = call(&gate, 1, CART);
	first->claims[0].answer = second->claims[0].answer = POLICY_GRANTED;
	policy_settle(second, 0, &gate.arena);
	assert_int_equal(second->reason, REASON_NONE);
	assert_int_equal(second->shadow_count, 1);
	second = call(&gate, 1, CART);
	second->claims[0].answer = POLICY_REFUSED;
	second->claims[0].wait_ns = hour_ns;
	policy_settle(second, 0, &gate.arena);
	assert_int_equal(second->reason, REASON_rate_limited);
	policy_leave(second);
	assert_int_equal(second->shadow_count, 0);
	close_gate(&gate);
}

static void a_trial_that_becomes_a_limit_knows_who_is_there(void **state)
{
	(void)state;
	struct gate gate;
	open_gate(&gate, "call_limits: [{calls: 1, shadow: true}]");
	assert_passes(&gate, 0, CART, 0);
	assert_passes(&gate, 1, CART, 1);
	reload(&gate, "call_limits: [{calls: 1}]");
	assert_refused(&gate, 2, REASON_overloaded, "call_limits[0]", 0);
	policy_leave(&gate.calls[0]);
	assert_passes(&gate, 2, CART, 0);
	close_gate(&gate);
}

// Messages of requests, which pass at once.
static uint32_t exceeded(struct gate *gate, size_t number, uint64_t count, int64_t now_ns)
{
	struct policy_passage passage = policy_pass(
	        &gate->calls[number], FLOW_REQUESTS, true, count, INT64_MAX, now_ns);
	assert_int_equal(passage.wait_ns, 0);
	return passage.exceeded;
}

static void what_a_trial_would_keep_back_takes_no_tokens(void **state)
{
	(void)state;
	struct gate gate;
	open_gate(&gate, "flow_limits: [{messages: 1/s, burst: 3, shadow: true}]");
	assert_passes(&gate, 0, CART, 0);
	assert_int_equal(exceeded(&gate, 0, 2, 0), 0);
	assert_int_equal(exceeded(&gate, 0, 2, 0), 1);
	assert_int_equal(exceeded(&gate, 0, 1, 0), 0);
	for (int i = 0; i < 9; i++)
		assert_int_equal(exceeded(&gate, 0, 1, 0), 1);
	assert_int_equal(gate.calls[0].shadow_count, 1);
	assert_int_equal(exceeded(&gate, 0, 1, second_ns), 0);
	assert_int_equal(exceeded(&gate, 0, 1, second_ns), 1);
	// The other direction has nothing to do with it.
	assert_int_equal(
	        policy_pass(&gate.calls[0], FLOW_RESPONSES, true, 1, INT64_MAX, second_ns).exceeded,
	        0);
	close_gate(&gate);
}

static void a_call_that_a_trial_would_have_ended_takes_no_more(void **state)
{
	(void)state;
	struct gate gate;
	open_gate(&gate,
	        "flow_limits: [{messages: 1/h, burst: 5, on_excess: reject, shadow: true}, "
	        "{messages: 2/h, burst: 6, on_excess: reject, shadow: true}]");
	assert_passes(&gate, 0, CART, 0);
	assert_int_equal(exceeded(&gate, 0, 3, 0), 0);
	assert_int_equal(exceeded(&gate, 0, 3, 0), 1);
	assert_shadow(gate.calls[0].shadows, POLICY_FLOW_LIMIT, REASON_rate_limited,
	        "flow_limits[0]", "1/h messages burst 5 of requests: would refuse", hour_ns);
	// Each is a trial for itself: for the other the call went on.
	assert_int_equal(exceeded(&gate, 0, 1, 0), 2);
	assert_int_equal(exceeded(&gate, 0, 1, 0), 0);
	assert_int_equal(gate.calls[0].shadow_count, 2);
	assert_passes(&gate, 1, SHOP, 0);
	assert_int_equal(exceeded(&gate, 1, 2, 0), 2);
	assert_int_equal(exceeded(&gate, 1, 1, 0), 1);
	close_gate(&gate);
}

static uint32_t bytes_exceeded(struct gate *gate, uint64_t count, int64_t now_ns)
{
	struct policy_passage passage = policy_pass(
	        &gate->calls[0], FLOW_REQUESTS, false, count, INT64_MAX, now_ns);
	assert_int_equal(passage.wait_ns, 0);
	return passage.exceeded;
}

static void bytes_are_tried_out_in_the_pieces_they_would_be_paid_in(void **state)
{
	(void)state;
	struct gate gate;
	open_gate(&gate, "flow_limits: [{bytes: 1000/s, burst: 250, shadow: true}]");
	assert_passes(&gate, 0, CART, 0);
	assert_int_equal(bytes_exceeded(&gate, 100000, 0), 1);  // two of 100 found tokens
	assert_int_equal(gate.calls[0].shadows[0].wait_ns, second_ns / 20);
	assert_int_equal(bytes_exceeded(&gate, 51, 0), 1);
	assert_int_equal(bytes_exceeded(&gate, 50, 0), 0);
	assert_int_equal(bytes_exceeded(&gate, 250, second_ns), 0);
	assert_int_equal(bytes_exceeded(&gate, 1, second_ns), 1);
	close_gate(&gate);
}

static void trials_count_what_passes_the_limits_in_force(void **state)
{
	(void)state;
	struct gate gate;
	open_gate(&gate, "flow_limits: [{messages: 1/h, burst: 4, on_excess: reject}, "
	                 "{messages: 1/s, burst: 2, per: [identity]}, "
	                 "{messages: 30/m, burst: 3, shadow: true}]");
	assert_passes(&gate, 0, CART, 0);
	assert_passes(&gate, 1, SHOP, 0);
	assert_int_equal(exceeded(&gate, 0, 2, 0), 0);
	struct policy_passage passage = policy_pass(
	        &gate.calls[0], FLOW_REQUESTS, true, 1, INT64_MAX, 0);
	assert_true(passage.wait_ns == second_ns && passage.exceeded == 0);
	assert_int_equal(exceeded(&gate, 1, 1, 0), 4);
	passage = policy_pass(&gate.calls[1], FLOW_REQUESTS, true, 1, INT64_MAX, 0);
	assert_true(passage.refused && passage.exceeded == 0);
	// One that waits as long in any case is kept back by no trial.
	reload(&gate, "flow_limits: [{messages: 1/s, burst: 1}, {messages: 1/s, burst: 1, "
	              "direction: responses}, {messages: 30/m, burst: 3, shadow: true}]");
	assert_passes(&gate, 0, CART, 0);
	int64_t later_ns = clock_monotonic_ns() + hour_ns;
	assert_int_equal(exceeded(&gate, 0, 1, later_ns), 0);
	for (int i = 1; i <= 5; i++) {
		passage = policy_pass(&gate.calls[0], FLOW_REQUESTS, true, 1, INT64_MAX, later_ns);
		assert_int_equal(passage.wait_ns, i * second_ns);
		assert_int_equal(passage.exceeded, 0);
	}
	// Nor one that comes too late anyway.
	passage = policy_pass(&gate.calls[0], FLOW_REQUESTS, true, 1, second_ns, later_ns);
	assert_true(passage.too_late && passage.exceeded == 0);
	close_gate(&gate);
}

static void a_trial_of_a_flow_that_becomes_a_limit_keeps_its_tokens(void **state)
{
	(void)state;
	struct gate gate;
	open_gate(
	        &gate, "flow_limits: [{messages: 1/h, burst: 3, on_excess: reject, shadow: true}]");
	assert_passes(&gate, 0, CART, 0);
	int64_t now_ns = clock_monotonic_ns();
	assert_int_equal(exceeded(&gate, 0, 2, now_ns), 0);
	assert_int_equal(exceeded(&gate, 0, 2, now_ns), 1);
	reload(&gate, "flow_limits: [{messages: 1/h, burst: 3, on_excess: reject}]");
	assert_passes(&gate, 0, CART, 0);
	assert_int_equal(exceeded(&gate, 0, 1, now_ns), 0);
	assert_true(policy_pass(&gate.calls[0], FLOW_REQUESTS, true, 1, INT64_MAX, now_ns).refused);
	close_gate(&gate);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(calls_over_a_trial_pass_and_are_not_among_those_under_way),
	        cmocka_unit_test(calls_that_anything_refuses_are_tried_out_on_nothing),
	        cmocka_unit_test(trials_of_all_kinds_stand_beside_each_other),
	        cmocka_unit_test(an_open_verdict_keeps_its_trials_until_it_is_closed),
	        cmocka_unit_test(a_trial_that_becomes_a_limit_knows_who_is_there),
	        cmocka_unit_test(what_a_trial_would_keep_back_takes_no_tokens),
	        cmocka_unit_test(a_call_that_a_trial_would_have_ended_takes_no_more),
	        cmocka_unit_test(bytes_are_tried_out_in_the_pieces_they_would_be_paid_in),
	        cmocka_unit_test(trials_count_what_passes_the_limits_in_force),
	        cmocka_unit_test(a_trial_of_a_flow_that_becomes_a_limit_keeps_its_tokens),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
