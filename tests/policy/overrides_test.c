#include "tests/policy/calls_gate.h"

// Overrides of `call_limits` and `flow_limits`: other numbers for some callers. Those of
// `rate_limits` are with the tests of what a call costs.

#define BATCH "spiffe://cluster.local/batch/a"
#define OTHER "spiffe://cluster.local/batch/b"
#define BATCHES "'spiffe://cluster.local/batch/*'"

static void assert_full(struct gate *gate, const char *caller, const char *rule, const char *detail)
{
	struct policy_decision *decision = call(gate, CALLS - 1, caller);
	assert_int_equal(decision->reason, REASON_overloaded);
	assert_true(str_eq(decision->matched_rule, str_from(rule)));
	assert_true(str_eq(decision->detail, str_from(detail)));
	assert_int_equal(decision->call_limit_index, 0);
}

static void callers_of_an_override_are_counted_by_themselves(void **state)
{
	(void)state;
	struct gate gate;
	open_gate(
	        &gate, "call_limits: [{calls: 1, overrides: [{identity: " BATCHES ", calls: 2}]}]");
	assert_passes(&gate, 0, CART, 0);
	assert_full(&gate, SHOP, "call_limits[0]", "1 calls at once");
	assert_passes(&gate, 1, BATCH, 0);
	assert_passes(&gate, 2, OTHER, 0);
	assert_full(&gate, BATCH, "call_limits[0].overrides[0]",
	        "2 calls at once, for spiffe://cluster.local/batch/*");
	policy_leave(&gate.calls[1]);
	assert_full(&gate, SHOP, "call_limits[0]", "1 calls at once");
	assert_passes(&gate, 1, OTHER, 0);
	close_gate(&gate);
}

static void the_first_override_that_matches_counts(void **state)
{
	(void)state;
	struct gate gate;
	open_gate(&gate, "call_limits: [{calls: 1, per: [identity], overrides: [{identity: '" BATCH
	                 "', calls: 2}, {identity: " BATCHES ", calls: 1}]}]");
	assert_passes(&gate, 0, BATCH, 0);
	assert_passes(&gate, 1, BATCH, 0);
	assert_full(&gate, BATCH, "call_limits[0].overrides[0]",
	        "2 calls at once per identity, for " BATCH);
	assert_passes(&gate, 2, OTHER, 0);
	assert_full(&gate, OTHER, "call_limits[0].overrides[1]",
	        "1 calls at once per identity, for spiffe://cluster.local/batch/*");
	close_gate(&gate);
}

static void a_reload_knows_who_is_there_by_the_pattern(void **state)
{
	(void)state;
	struct gate gate;
	open_gate(
	        &gate, "call_limits: [{calls: 9, overrides: [{identity: " BATCHES ", calls: 1}]}]");
	assert_passes(&gate, 0, BATCH, 0);
	reload(&gate, "call_limits: [{calls: 9, overrides: [{identity: '" CART
	              "', calls: 1}, {identity: " BATCHES ", calls: 1}]}]");
	assert_full(&gate, OTHER, "call_limits[0].overrides[1]",
	        "1 calls at once, for spiffe://cluster.local/batch/*");
	assert_passes(&gate, 1, CART, 0);
	close_gate(&gate);
}

static void an_override_is_a_trial_where_its_limit_is(void **state)
{
	(void)state;
	struct gate gate;
	open_gate(&gate,
	        "call_limits: [{calls: 1, shadow: true, overrides: [{identity: " BATCHES
	        ", calls: 2}]}], flow_limits: [{messages: 1/h, burst: 1, on_excess: reject, "
	        "shadow: true, overrides: [{identity: " BATCHES ", messages: 2/h, "
	        "burst: 2}]}]");
	assert_passes(&gate, 0, BATCH, 0);
	assert_passes(&gate, 1, OTHER, 0);
	assert_passes(&gate, 2, OTHER, 1);
	assert_true(str_eq(gate.calls[2].shadows[0].rule, STR("call_limits[0].overrides[0]")));
	struct policy_passage passage = policy_pass(
	        &gate.calls[2], FLOW_REQUESTS, true, 2, INT64_MAX, 0);
	assert_int_equal(passage.exceeded, 0);
	passage = policy_pass(&gate.calls[2], FLOW_REQUESTS, true, 1, INT64_MAX, 0);
	assert_int_equal(passage.exceeded, 1);
	const struct policy_shadow *shadow = &gate.calls[2].shadows[1];
	assert_int_equal(shadow->wait_ns, hour_ns / 2);
	assert_true(str_eq(shadow->rule, STR("flow_limits[0].overrides[0]")));
	assert_true(str_eq(shadow->detail,
	        STR("2/h messages burst 2 of requests, for spiffe://cluster.local/batch/*: would "
	            "refuse")));
	close_gate(&gate);
}

static int64_t wait_of(struct gate *gate, const char *caller, bool messages, uint64_t count)
{
	assert_passes(gate, 0, caller, 0);
	return policy_pass(&gate->calls[0], FLOW_REQUESTS, messages, count, INT64_MAX, 0).wait_ns;
}

static void flows_of_an_override_have_buckets_of_their_own(void **state)
{
	(void)state;
	struct gate gate;
	open_gate(&gate,
	        "flow_limits: [{messages: 1/s, burst: 1, overrides: [{identity: '" BATCH
	        "', messages: 2/s, burst: 3}, {identity: " BATCHES ", messages: 4/s, burst: 2}]}]");
	assert_int_equal(wait_of(&gate, CART, true, 1), 0);
	assert_int_equal(wait_of(&gate, SHOP, true, 1), second_ns);
	assert_int_equal(wait_of(&gate, BATCH, true, 3), 0);
	assert_int_equal(wait_of(&gate, BATCH, true, 1), second_ns / 2);
	assert_true(str_eq(gate.calls[0].flows[0].rule, STR("flow_limits[0].overrides[0]")));
	assert_true(str_eq(gate.calls[0].flows[0].detail,
	        STR("2/s messages burst 3 of requests, for " BATCH)));
	assert_int_equal(wait_of(&gate, OTHER, true, 2), 0);
	assert_int_equal(wait_of(&gate, OTHER, true, 1), second_ns / 4);
	close_gate(&gate);
}

static void flows_of_bytes_are_paid_in_the_pieces_of_their_override(void **state)
{
	(void)state;
	struct gate gate;
	open_gate(&gate, "flow_limits: [{bytes: 1000/s, burst: 1000, per: [identity], overrides: "
	                 "[{identity: " BATCHES ", bytes: 20/s, burst: 100}]}]");
	assert_int_equal(wait_of(&gate, CART, false, 1000), 0);
	assert_int_equal(gate.calls[0].flows[0].piece, 100);
	assert_int_equal(wait_of(&gate, BATCH, false, 100), 0);
	assert_int_equal(gate.calls[0].flows[0].piece, 2);
	assert_int_equal(wait_of(&gate, BATCH, false, 2), second_ns / 10);
	assert_int_equal(wait_of(&gate, OTHER, false, 100), 0);
	close_gate(&gate);
}

static void a_reload_keeps_the_tokens_of_overrides(void **state)
{
	(void)state;
	struct gate gate;
	open_gate(&gate, "flow_limits: [{messages: 1/h, burst: 9, on_excess: reject, overrides: "
	                 "[{identity: " BATCHES ", messages: 1/h, burst: 2}]}]");
	assert_passes(&gate, 0, BATCH, 0);
	int64_t now_ns = clock_monotonic_ns();
	assert_int_equal(
	        policy_pass(&gate.calls[0], FLOW_REQUESTS, true, 2, INT64_MAX, now_ns).wait_ns, 0);
	reload(&gate, "flow_limits: [{messages: 1/h, burst: 9, on_excess: reject, overrides: "
	              "[{identity: '" CART "', messages: 1/h, burst: 1}, {identity: " BATCHES
	              ", messages: 1/h, burst: 2}]}]");
	assert_passes(&gate, 0, BATCH, 0);
	assert_true(policy_pass(&gate.calls[0], FLOW_REQUESTS, true, 1, INT64_MAX, now_ns).refused);
	close_gate(&gate);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(callers_of_an_override_are_counted_by_themselves),
	        cmocka_unit_test(the_first_override_that_matches_counts),
	        cmocka_unit_test(a_reload_knows_who_is_there_by_the_pattern),
	        cmocka_unit_test(an_override_is_a_trial_where_its_limit_is),
	        cmocka_unit_test(flows_of_an_override_have_buckets_of_their_own),
	        cmocka_unit_test(flows_of_bytes_are_paid_in_the_pieces_of_their_override),
	        cmocka_unit_test(a_reload_keeps_the_tokens_of_overrides),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
