#include "tests/policy/bucket_fixture.h"
#include "tests/policy/policy_fixture.h"

// What a call pays where some of its limits are the fleet's: claims first, tokens when the store
// has answered, all or none.

#define CART "spiffe://cluster.local/cart"
#define TAIL                                                                                       \
	"redis: {address: 127.0.0.1:6379}\n"                                                       \
	"backends: [{name: b, protocol: http1, endpoints: ['127.0.0.1:1']}]\n"

struct gate {
	struct fixture fixture;
	struct bucket_store *store;
	struct arena arena;
	struct policy_decision decision;
};

// The limits of the one route, as items of a list.
static void open_gate(struct gate *gate, const char *limits)
{
	struct buffer routes = {0};
	*gate = (struct gate){.store = bucket_store_new()};
	buffer_printf(&routes, "- match: {path: /*}\n  backend: b\n  rate_limits:\n%s", limits);
	buffer_append(&routes, "", 1);
	fixture_compile(&gate->fixture, gate->store, NAMES_ALL, buffer_data(&routes), TAIL);
	buffer_fini(&routes);
}

static void close_gate(struct gate *gate)
{
	arena_fini(&gate->arena);
	fixture_free(&gate->fixture);
	bucket_store_free(gate->store);
}

static const struct policy_decision *call(struct gate *gate, bool too_large, int64_t now_ns)
{
	const struct policy_peer peer = {.uri = STR(CART)};
	const struct policy_request request = {.method = STR("GET"),
	        .path = STR("/x"),
	        .host = STR("localhost"),
	        .source_ip = STR("192.0.2.1"),
	        .too_large = too_large};
	struct policy_identity identity;
	policy_identify(gate->fixture.policy, 0, &peer, &gate->arena, &identity);
	policy_decide(gate->fixture.policy, 0, &identity, &request, now_ns, &gate->arena,
	        &gate->decision);
	return &gate->decision;
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

struct wanted_view {
	size_t limit;
	struct bucket_view view;
};

static void keep_if_wanted(const struct bucket_view *view, void *user)
{
	struct wanted_view *wanted = user;
	char end[32];
	int len = snprintf(end, sizeof(end), "rate_limits[%zu]", wanted->limit);
	if (str_ends(view->name, str_of(end, (size_t)len)))
		wanted->view = *view;
}

static struct bucket_view limit_view(const struct gate *gate, size_t limit, int64_t now_ns)
{
	struct wanted_view wanted = {.limit = limit};
	bucket_store_each(gate->store, now_ns, keep_if_wanted, &wanted);
	assert_int_not_equal(wanted.view.name.len, 0);
	return wanted.view;
}

static void assert_counts(const struct gate *gate, size_t limit, uint64_t granted, uint64_t refused)
{
	struct bucket_view view = limit_view(gate, limit, 0);
	assert_int_equal(view.granted, granted);
	assert_int_equal(view.refused, refused);
}

static void claims_name_the_shared_limits_alone_and_tell_callers_apart(void **state)
{
	struct gate gate;
	(void)state;
	open_gate(&gate,
	        "  - {rate: 9/h, burst: 9, store: redis}\n"
	        "  - {rate: 1/h, burst: 1}\n"
	        "  - {rate: 2/h, burst: 3, per: [identity, source_ip], store: redis, lease: 2}\n");
	const struct policy_decision *decision = call(&gate, false, 0);
	assert_int_equal(decision->reason, REASON_NONE);
	assert_int_equal(decision->claim_count, 2);
	const struct policy_claim *all = &decision->claims[0], *each = &decision->claims[1];
	assert_int_equal(all->limit_index, 0);
	assert_true(str_eq(all->name, STR("edge//*/rate_limits[0]")));
	assert_int_equal(all->key.len, 0);
	assert_int_equal(all->answer, POLICY_UNANSWERED);
	assert_int_equal(each->limit_index, 2);
	assert_true(str_eq(each->name, STR("edge//*/rate_limits[2]")));
	assert_int_equal(each->config->lease, 2);
	assert_non_null(memmem(each->key.at, each->key.len, CART, strlen(CART)));
	assert_non_null(memmem(each->key.at, each->key.len, "192.0.2.1", 9));
	close_gate(&gate);
}

static void no_token_is_taken_before_the_answer(void **state)
{
	struct gate gate;
	(void)state;
	open_gate(&gate, "  - {rate: 1/h, burst: 1}\n"
	                 "  - {rate: 2/h, burst: 3, store: redis}\n");
	for (int i = 0; i < 5; i++)
		assert_int_equal(call(&gate, false, 0)->claim_count, 1);
	assert_counts(&gate, 0, 0, 0);
	assert_counts(&gate, 1, 0, 0);
	answer(&gate, 0, POLICY_GRANTED, 0);
	assert_int_equal(settle(&gate, 0), REASON_NONE);
	assert_counts(&gate, 0, 1, 0);
	assert_counts(&gate, 1, 1, 0);
	// Redis' bucket was asked, so this process's own of that name is still full.
	assert_true(limit_view(&gate, 1, 0).fill == 3);
	assert_true(limit_view(&gate, 1, 0).shared && !limit_view(&gate, 0, 0).shared);
	close_gate(&gate);
}

static void where_a_local_limit_refuses_nobody_is_asked(void **state)
{
	struct gate gate;
	(void)state;
	open_gate(&gate, "  - {rate: 2/h, burst: 3, store: redis}\n"
	                 "  - {rate: 1/h, burst: 1}\n");
	call(&gate, false, 0);
	answer(&gate, 0, POLICY_GRANTED, 0);
	assert_int_equal(settle(&gate, 0), REASON_NONE);
	const struct policy_decision *decision = call(&gate, false, 0);
	assert_int_equal(decision->reason, REASON_rate_limited);
	assert_int_equal(decision->claim_count, 0);
	assert_int_equal(decision->limit_index, 1);
	assert_int_equal(decision->retry_after_ns, hour_ns);
	assert_counts(&gate, 1, 1, 1);
	close_gate(&gate);
}

static void a_call_refused_in_any_case_asks_nobody_and_hears_of_an_empty_bucket_first(void **state)
{
	struct gate gate;
	(void)state;
	open_gate(&gate, "  - {rate: 2/h, burst: 3, store: redis}\n"
	                 "  - {rate: 1/h, burst: 1}\n");
	assert_int_equal(call(&gate, true, 0)->reason, REASON_request_too_large);
	assert_int_equal(gate.decision.claim_count, 0);
	assert_counts(&gate, 1, 0, 0);
	call(&gate, false, 0);
	answer(&gate, 0, POLICY_GRANTED, 0);
	assert_int_equal(settle(&gate, 0), REASON_NONE);
	assert_int_equal(call(&gate, true, 0)->reason, REASON_rate_limited);
	close_gate(&gate);
}

// Two calls were under way when one token was left: the second gets none, and says whose.
static void a_local_limit_that_emptied_meanwhile_refuses(void **state)
{
	struct gate gate;
	(void)state;
	open_gate(&gate, "  - {rate: 2/h, burst: 3, store: redis}\n"
	                 "  - {rate: 1/h, burst: 1}\n");
	call(&gate, false, 0);
	struct policy_decision second = gate.decision;
	call(&gate, false, 0);
	answer(&gate, 0, POLICY_GRANTED, 0);
	assert_int_equal(settle(&gate, 0), REASON_NONE);
	gate.decision = second;
	answer(&gate, 0, POLICY_GRANTED, 0);
	assert_int_equal(settle(&gate, 0), REASON_rate_limited);
	assert_int_equal(gate.decision.limit_index, 1);
	assert_int_equal(gate.decision.retry_after_ns, hour_ns);
	assert_counts(&gate, 0, 1, 0);
	assert_counts(&gate, 1, 1, 1);
	close_gate(&gate);
}

#define U POLICY_UNANSWERED
#define G POLICY_GRANTED
#define R POLICY_REFUSED
#define F POLICY_FAILED

// Limits 0 and 1 are shared, 2 is local; the first fails as the row says, the second as `deny`.
static const struct {
	const char *name, *on_failure;
	enum policy_answer answers[2];
	int64_t waits_ns[2];
	enum reason reason;
	int limit_index;
	int64_t retry_after_ns;
	unsigned granted[3], refused[3];
} verdicts[] = {
        {"both grant", "local", {G, G}, {0}, REASON_NONE, -1, 0, {1, 1, 1}, {0}},
        {"one refuses", "local", {G, R}, {0, 7}, REASON_rate_limited, 1, 7, {0}, {0, 1, 0}},
        {"both refuse: the longer wait", "local", {R, R}, {9, 7}, REASON_rate_limited, 0, 9, {0},
                {1, 0, 0}},
        {"both refuse: the longer wait is the second's", "local", {R, R}, {7, 9},
                REASON_rate_limited, 1, 9, {0}, {0, 1, 0}},
        {"a refusal says enough: the other is not answered", "local", {R, U}, {7, 0},
                REASON_rate_limited, 0, 7, {0}, {1, 0, 0}},
        {"the same the other way round", "local", {U, R}, {0, 7}, REASON_rate_limited, 1, 7, {0},
                {0, 1, 0}},
        {"a refusal beats a failure", "deny", {F, R}, {0, 7}, REASON_rate_limited, 1, 7, {0},
                {0, 1, 0}},
        {"failed, local: this process's bucket pays", "local", {F, G}, {0}, REASON_NONE, -1, 0,
                {1, 1, 1}, {0}},
        {"failed, allow: nothing pays", "allow", {F, G}, {0}, REASON_NONE, -1, 0, {0, 1, 1}, {0}},
        {"failed, deny", "deny", {F, G}, {0}, REASON_overloaded, -1, 0, {0}, {0}},
        {"failed both: one denies", "allow", {F, F}, {0}, REASON_overloaded, -1, 0, {0}, {0}},
};

static void every_answer_has_its_verdict(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(verdicts); i++) {
		struct gate gate;
		char limits[256];
		print_message("%s\n", verdicts[i].name);
		snprintf(limits, sizeof(limits),
		        "  - {rate: 3/h, burst: 5, store: redis, on_failure: %s}\n"
		        "  - {rate: 4/h, burst: 3, store: redis, on_failure: deny}\n"
		        "  - {rate: 1/h, burst: 1}\n",
		        verdicts[i].on_failure);
		open_gate(&gate, limits);
		call(&gate, false, 0);
		for (size_t claim = 0; claim < 2; claim++)
			answer(&gate, claim, verdicts[i].answers[claim],
			        verdicts[i].waits_ns[claim]);
		assert_int_equal(settle(&gate, 0), verdicts[i].reason);
		assert_int_equal(gate.decision.limit_index, verdicts[i].limit_index);
		assert_int_equal(gate.decision.retry_after_ns, verdicts[i].retry_after_ns);
		for (size_t limit = 0; limit < 3; limit++)
			assert_counts(&gate, limit, verdicts[i].granted[limit],
			        verdicts[i].refused[limit]);
		close_gate(&gate);
	}
}

static void a_denied_call_says_which_limit_and_why(void **state)
{
	struct gate gate;
	(void)state;
	open_gate(&gate, "  - {rate: 3/h, burst: 5, store: redis, on_failure: deny}\n");
	call(&gate, false, 0);
	answer(&gate, 0, POLICY_FAILED, 0);
	assert_int_equal(settle(&gate, 0), REASON_overloaded);
	assert_true(str_eq(gate.decision.matched_rule, STR("rate_limits[0]")));
	assert_true(str_eq(gate.decision.detail,
	        STR("the limit store did not answer: timeout (3/h burst 5, in redis)")));
	close_gate(&gate);
}

// While nobody can be asked each gateway keeps to its share, or a fleet would grant its number of
// bursts; and where all are refused nothing was taken from the others.
static void a_bucket_that_stands_in_has_its_share_of_rate_and_burst(void **state)
{
	struct gate gate;
	(void)state;
	open_gate(&gate, "  - {rate: 6/h, burst: 7, store: redis, fleet: 3}\n"
	                 "  - {rate: 100/h, burst: 100}\n");
	struct bucket_view view = limit_view(&gate, 0, 0);
	assert_int_equal(view.rate.burst, 2);
	assert_int_equal(view.rate.count, 6);
	assert_int_equal(view.rate.period_ns, 3 * hour_ns);
	for (int i = 0; i < 3; i++) {
		call(&gate, false, 0);
		assert_int_equal(gate.decision.claim_count, 1);  // asked, whatever is left here
		answer(&gate, 0, POLICY_FAILED, 0);
		assert_int_equal(settle(&gate, 0), i < 2 ? REASON_NONE : REASON_rate_limited);
	}
	assert_int_equal(gate.decision.limit_index, 0);
	assert_int_equal(gate.decision.retry_after_ns, hour_ns / 2);
	assert_counts(&gate, 0, 2, 1);
	assert_counts(&gate, 1, 2, 0);
	call(&gate, false, hour_ns / 2);
	answer(&gate, 0, POLICY_FAILED, 0);
	assert_int_equal(settle(&gate, hour_ns / 2), REASON_NONE);
	close_gate(&gate);
}

static void a_fleet_that_shares_nothing_divides_a_local_limit(void **state)
{
	struct gate gate;
	(void)state;
	open_gate(&gate, "  - {rate: 6/h, burst: 7, fleet: 3}\n");
	for (int i = 0; i < 2; i++)
		assert_int_equal(call(&gate, false, 0)->reason, REASON_NONE);
	assert_int_equal(gate.decision.claim_count, 0);
	assert_int_equal(call(&gate, false, 0)->reason, REASON_rate_limited);
	assert_int_equal(gate.decision.retry_after_ns, hour_ns / 2);
	assert_true(str_eq(gate.decision.detail, STR("6/h burst 7, divided by 3")));
	close_gate(&gate);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(claims_name_the_shared_limits_alone_and_tell_callers_apart),
	        cmocka_unit_test(no_token_is_taken_before_the_answer),
	        cmocka_unit_test(where_a_local_limit_refuses_nobody_is_asked),
	        cmocka_unit_test(
	                a_call_refused_in_any_case_asks_nobody_and_hears_of_an_empty_bucket_first),
	        cmocka_unit_test(a_local_limit_that_emptied_meanwhile_refuses),
	        cmocka_unit_test(every_answer_has_its_verdict),
	        cmocka_unit_test(a_denied_call_says_which_limit_and_why),
	        cmocka_unit_test(a_bucket_that_stands_in_has_its_share_of_rate_and_burst),
	        cmocka_unit_test(a_fleet_that_shares_nothing_divides_a_local_limit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
