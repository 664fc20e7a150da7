#include "tests/policy/bucket_fixture.h"
#include "tests/policy/policy_fixture.h"

// `flow_limits` of a route: what is told of them, in which pieces bytes are paid for, and who of
// several pays when.

#define CART "spiffe://cluster.local/cart"
#define SHOP "spiffe://cluster.local/shop"
#define TAIL "backends: [{name: b, protocol: h2, endpoints: ['127.0.0.1:1']}]\n"
#define GRPC(limits) "- {match: {grpc: 'a.B/*'}, backend: b, flow_limits: " limits "}\n"
#define SOME "{identity: 'spiffe://cluster.local/batch/*', "
#define PATH(limits) "- {match: {path: /*}, backend: b, flow_limits: " limits "}\n"

struct gate {
	struct fixture fixture;
	struct bucket_store *store;
	struct arena arena;
	struct policy_decision decision;
};

static struct str header(const void *headers, struct str name, struct arena *arena)
{
	(void)headers, (void)name, (void)arena;
	return STR("value");
}

static void call(struct gate *gate, const char *caller, int64_t now_ns)
{
	const struct policy_peer peer = {.uri = str_from(caller)};
	const struct policy_request request = {.grpc = true,
	        .method = STR("POST"),
	        .path = STR("/a.B/C"),
	        .host = STR("localhost"),
	        .source_ip = STR("192.0.2.1"),
	        .header = header};
	struct policy_identity identity;
	policy_identify(gate->fixture.policy, 0, &peer, &gate->arena, &identity);
	policy_decide(gate->fixture.policy, 0, &identity, &request, now_ns, &gate->arena,
	        &gate->decision);
	assert_int_equal(gate->decision.reason, REASON_NONE);
}

// A call of that one route.
static void open_gate(struct gate *gate, const char *route)
{
	*gate = (struct gate){.store = bucket_store_new()};
	fixture_compile(&gate->fixture, gate->store, NAMES_ALL, route, TAIL);
	call(gate, CART, 0);
}

static void close_gate(struct gate *gate)
{
	arena_fini(&gate->arena);
	fixture_free(&gate->fixture);
	bucket_store_free(gate->store);
}

static struct policy_passage pass(struct gate *gate, uint64_t messages, int64_t now_ns)
{
	return policy_pass(&gate->decision, FLOW_REQUESTS, true, messages, INT64_MAX, now_ns);
}

static void limits_are_told_and_paid_in_pieces(void **state)
{
	(void)state;
	static const struct {
		const char *route, *detail;
		uint64_t piece;
	} rows[] = {
	        {GRPC("[{messages: 100/s, burst: 200}]"), "100/s messages burst 200 of requests",
	                0},
	        {GRPC("[{messages: 1/h, burst: 1, direction: responses, on_excess: reject, "
	              "per: [identity, 'header:x']}]"),
	                "1/h messages burst 1 of responses per identity, header:x", 0},
	        {GRPC("[{bytes: 1MiB/s, burst: 2MiB}]"), "1MiB/s burst 2MiB of requests", 16384},
	        {GRPC("[{bytes: 160KiB/s, burst: 2MiB}]"), "160KiB/s burst 2MiB of requests",
	                16384},
	        // A tenth of a second of slower ones.
	        {GRPC("[{bytes: 100KiB/s, burst: 2MiB, direction: responses}]"),
	                "100KiB/s burst 2MiB of responses", 10240},
	        {GRPC("[{bytes: 1000/s, burst: 2MiB}]"), "1000/s burst 2MiB of requests", 100},
	        {GRPC("[{bytes: 19/s, burst: 5}]"), "19/s burst 5 of requests", 1},
	        {GRPC("[{bytes: 1/m, burst: 5}]"), "1/m burst 5 of requests", 1},
	        {GRPC("[{bytes: 1/h, burst: 5, on_excess: reject}]"), "1/h burst 5 of requests", 1},
	        {GRPC("[{bytes: 1023GiB/h, burst: 1GiB}]"), "1023GiB/h burst 1GiB of requests",
	                16384},
	        // Never more than the bucket holds.
	        {GRPC("[{bytes: 1GiB/s, burst: 1}]"), "1GiB/s burst 1 of requests", 1},
	        {GRPC("[{bytes: 1GiB/s, burst: 16383}]"), "1GiB/s burst 16383 of requests", 16383},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct gate gate;
		open_gate(&gate, rows[i].route);
		assert_int_equal(gate.decision.flow_count, 1);
		const struct policy_flow *flow = &gate.decision.flows[0];
		if (!str_eq(flow->detail, str_from(rows[i].detail)) ||
		        flow->piece != rows[i].piece || !str_eq(flow->rule, STR("flow_limits[0]")))
			fail_msg("%s: '%.*s' '%.*s', pieces of %llu", rows[i].route,
			        STR_FMT(flow->rule), STR_FMT(flow->detail),
			        (unsigned long long)flow->piece);
		close_gate(&gate);
	}
}

static void directions_and_kinds_are_apart(void **state)
{
	(void)state;
	struct gate gate;
	open_gate(&gate, GRPC("[{messages: 1/s, burst: 3}, {messages: 1/s, burst: 2, direction: "
	                      "responses}, {bytes: 1/s, burst: 10}]"));
	for (int i = 0; i < 3; i++)
		assert_int_equal(pass(&gate, 1, 0).wait_ns, 0);
	struct policy_passage passage = pass(&gate, 1, 0);
	assert_true(passage.wait_ns == second_ns && !passage.refused && passage.by == 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(
		        policy_pass(&gate.decision, FLOW_RESPONSES, true, 1, INT64_MAX, 0).wait_ns,
		        0);
	passage = policy_pass(&gate.decision, FLOW_RESPONSES, true, 1, INT64_MAX, 0);
	assert_true(passage.wait_ns == second_ns && passage.by == 1);
	assert_int_equal(
	        policy_pass(&gate.decision, FLOW_REQUESTS, false, 10, INT64_MAX, 0).wait_ns, 0);
	passage = policy_pass(&gate.decision, FLOW_REQUESTS, false, 4, INT64_MAX, 0);
	assert_true(passage.wait_ns == 4 * second_ns && passage.by == 2);
	assert_int_equal(
	        policy_pass(&gate.decision, FLOW_RESPONSES, false, 1000, INT64_MAX, 0).wait_ns, 0);
	close_gate(&gate);
}

// Of such a rate not even a second can be borrowed: who is past that waits for nothing.
static void what_cannot_be_counted_is_refused_and_not_kept_waiting(void **state)
{
	(void)state;
	const uint64_t burst = UINT64_C(1) << 28;
	struct gate gate;
	struct policy_passage passage;
	open_gate(&gate, GRPC("[{bytes: 999999937/s, burst: 256MiB}]"));
	for (int i = 0; i < 3; i++) {
		passage = policy_pass(&gate.decision, FLOW_REQUESTS, false, burst, INT64_MAX, 0);
		assert_false(passage.refused || passage.too_late);
	}
	passage = policy_pass(&gate.decision, FLOW_REQUESTS, false, burst, INT64_MAX, 0);
	assert_true(passage.refused && !passage.too_late && passage.wait_ns < second_ns);
	passage = policy_pass(&gate.decision, FLOW_REQUESTS, false, burst, second_ns / 2, 0);
	assert_true(!passage.refused && passage.too_late);
	close_gate(&gate);
}

static void those_that_reject_take_all_or_nothing(void **state)
{
	(void)state;
	struct gate gate;
	open_gate(&gate, GRPC("[{messages: 1/h, burst: 9, on_excess: reject}, {messages: 1/m, "
	                      "burst: 5, on_excess: reject, per: [identity]}, {messages: 2/m, "
	                      "burst: 8, per: [method]}]"));
	assert_int_equal(pass(&gate, 4, 0).wait_ns, 0);
	for (int again = 0; again < 3; again++) {
		struct policy_passage passage = pass(&gate, 4, 0);
		assert_true(passage.refused && passage.by == 1);
		assert_int_equal(passage.wait_ns, 3 * minute_ns);
	}
	// Neither the other nor the one that pauses has lost anything.
	call(&gate, SHOP, 0);
	assert_int_equal(pass(&gate, 4, 0).wait_ns, 0);
	struct policy_passage passage = pass(&gate, 1, 0);
	assert_true(!passage.refused && passage.wait_ns == minute_ns / 2 && passage.by == 2);
	// The longest of two.
	passage = pass(&gate, 2, 0);
	assert_true(passage.refused && passage.by == 0);
	assert_int_equal(passage.wait_ns, 2 * hour_ns);
	close_gate(&gate);
}

static void the_longest_pause_counts_and_none_is_longer_than_a_minute(void **state)
{
	(void)state;
	struct gate gate;
	open_gate(&gate, GRPC("[{messages: 10/s, burst: 1}, {messages: 2/s, burst: 3}]"));
	assert_int_equal(pass(&gate, 1, 0).wait_ns, 0);
	struct policy_passage passage = pass(&gate, 1, 0);
	assert_true(passage.wait_ns == second_ns / 10 && passage.by == 0);
	passage = pass(&gate, 1, 0);
	assert_true(passage.wait_ns == second_ns / 5 && passage.by == 0);
	passage = pass(&gate, 1, 0);
	assert_true(passage.wait_ns == second_ns / 2 && passage.by == 1);
	for (int more = 0; more < 119; more++)
		passage = pass(&gate, 1, 0);
	assert_true(passage.wait_ns == minute_ns && !passage.refused);
	passage = pass(&gate, 1, 0);
	assert_true(
	        passage.wait_ns == minute_ns + second_ns / 2 && passage.refused && passage.by == 1);
	close_gate(&gate);
}

static void assert_about(int64_t wait_ns, int64_t expected_ns)
{
	assert_true(wait_ns < expected_ns + minute_ns && wait_ns > expected_ns - minute_ns);
}

static void buckets_outlive_a_reload(void **state)
{
	(void)state;
	struct gate gate;
	int64_t now_ns = clock_monotonic_ns();  // which a reload looks at, too
	open_gate(&gate, GRPC("[{messages: 1/h, burst: 3, on_excess: reject}]"));
	assert_int_equal(pass(&gate, 2, now_ns).wait_ns, 0);
	struct fixture next;
	fixture_compile(&next, gate.store, NAMES_ALL,
	        GRPC("[{messages: 2/h, burst: 30, on_excess: reject}]"), TAIL);
	// By the former snapshot, under the new numbers.
	assert_about(pass(&gate, 2, now_ns).wait_ns, hour_ns / 2);
	fixture_free(&gate.fixture);
	gate.fixture = next;
	call(&gate, CART, now_ns);
	assert_about(pass(&gate, 3, now_ns).wait_ns, hour_ns);
	assert_int_equal(pass(&gate, 1, now_ns).wait_ns, 0);
	close_gate(&gate);
}

static const struct {
	const char *route, *key, *what;
} effects[] = {
        {GRPC("[{messages: 5/s, burst: 5}, {messages: 4/s, burst: 6}]"), NULL, NULL},
        {GRPC("[{messages: 5/s, burst: 5}, {messages: 5/s, burst: 5, direction: "
              "responses}]"),
                NULL, NULL},
        {GRPC("[{messages: 5/s, burst: 5}, {bytes: 5/s, burst: 5}]"), NULL, NULL},
        {GRPC("[{messages: 9/s, burst: 9}, {messages: 5/s, burst: 5, per: [identity]}]"), NULL,
                NULL},
        {GRPC("[{messages: 5/s, burst: 5, per: [identity]}, {messages: 5/s, burst: 5, "
              "per: [method]}]"),
                NULL, NULL},
        {GRPC("[{messages: 5/s, burst: 5}, {messages: 5/s, burst: 6}]"), "flow_limits[1]",
                "flow_limits[0] of this route lets no more pass"},
        {GRPC("[{messages: 301/m, burst: 5}, {messages: 5/s, burst: 5}]"), "flow_limits[0]",
                "flow_limits[1] of this route lets no more pass"},
        {GRPC("[{messages: 5/s, burst: 5}, {messages: 5/s, burst: 5, per: [identity]}]"),
                "flow_limits[1]", "flow_limits[0] of this route lets no more pass"},
        {GRPC("[{messages: 5/s, burst: 5, on_excess: reject}, {messages: 6/s, burst: 9}]"),
                "flow_limits[1]", "flow_limits[0] of this route lets no more pass"},
        {PATH("[{bytes: 1KiB/s, burst: 5}, {bytes: 60KiB/m, burst: 5}]"), "flow_limits[1]",
                "flow_limits[0] of this route lets no more pass"},
        // What waits has paid already: this one bounds how many wait.
        {GRPC("[{messages: 5/s, burst: 5}, {messages: 9/s, burst: 9, on_excess: reject}]"), NULL,
                NULL},
        // A trial keeps nothing back, and is none beside a limit that lets no more pass.
        {GRPC("[{messages: 5/s, burst: 5, shadow: true}, {messages: 9/s, burst: 9}]"), NULL, NULL},
        {GRPC("[{messages: 5/s, burst: 5, shadow: true}, {messages: 5/s, burst: 5}]"),
                "flow_limits[0]", "flow_limits[1] of this route lets no more pass"},
        {GRPC("[{messages: 5/s, burst: 5}, {messages: 9/s, burst: 9, on_excess: reject, "
              "shadow: true}]"),
                NULL, NULL},
        // What others say of it does not count where it has overrides, nor what it says.
        {GRPC("[{messages: 5/s, burst: 5, overrides: [" SOME "messages: 9/s, burst: 9}]}, "
              "{messages: 6/s, burst: 6}]"),
                NULL, NULL},
        {GRPC("[{messages: 5/s, burst: 5}, {messages: 6/s, burst: 6, overrides: [" SOME
              "messages: 4/s, burst: 4}]}]"),
                NULL, NULL},
        {GRPC("[{messages: 5/s, burst: 5, overrides: [" SOME "messages: 9/s, burst: 9}, " SOME
              "messages: 4/s, burst: 9}]}]"),
                "flow_limits[0].overrides[1]", "is never used: overrides[0] takes"},
        {PATH("[{bytes: 5/s, burst: 5, overrides: [{identity: 'spiffe://else.where/*', "
              "bytes: 9/s, burst: 9}]}]"),
                "flow_limits[0].overrides[0]", "which nobody can satisfy"},
        {PATH("[{bytes: 5/s, burst: 5, overrides: [" SOME "bytes: 1/s, burst: 600MiB}]}]"),
                "flow_limits[0].overrides[0]", "cannot be counted"},
        {PATH("[{bytes: 1/s, burst: 600MiB}]"), "flow_limits[0]", "cannot be counted"},
        {PATH("[{bytes: 1/s, burst: 512MiB}]"), NULL, NULL},
        {PATH("[{bytes: 999999937/s, burst: 500MiB}]"), NULL, NULL},
        {PATH("[{bytes: 1000000007/s, burst: 5}]"), "flow_limits[0]", "cannot be counted"},
};

static void limits_that_can_never_fire_are_told(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(effects); i++) {
		struct fixture fixture;
		fixture_parse(&fixture, NAMES_ALL, effects[i].route, TAIL);
		fixture_fail_on_problems(&fixture);
		fixture.policy = policy_compile(fixture.config, NULL, &fixture.problems);
		const struct config_problem *problem = fixture.problems.items;
		bool right = fixture.problems.count == (effects[i].key != NULL);
		if (right && effects[i].key)
			right = str_ends(problem->key, str_from(effects[i].key)) &&
			        memmem(problem->what.at, problem->what.len, effects[i].what,
			                strlen(effects[i].what));
		if (!right) {
			config_problems_print(&fixture.problems, 2);
			fail_msg("%s", effects[i].route);
		}
		fixture_free(&fixture);
	}
}

// The sentence is true: of two limits that say so, the other is never the one that makes wait.
static void a_limit_that_rejects_bounds_those_who_wait_for_another(void **state)
{
	(void)state;
	struct gate gate;
	gate = (struct gate){.store = bucket_store_new()};
	fixture_parse(&gate.fixture, NAMES_ALL,
	        GRPC("[{messages: 5/s, burst: 5}, {messages: 9/s, burst: 9, on_excess: reject}]"),
	        TAIL);
	gate.fixture.policy = policy_compile(
	        gate.fixture.config, gate.store, &gate.fixture.problems);
	fixture_fail_on_problems(&gate.fixture);
	call(&gate, CART, 0);
	for (int64_t n = 1; n <= 9; n++)
		assert_false(pass(&gate, 1, 0).refused);
	struct policy_passage passage = pass(&gate, 1, 0);
	assert_true(passage.refused && passage.by == 1);
	close_gate(&gate);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(limits_are_told_and_paid_in_pieces),
	        cmocka_unit_test(directions_and_kinds_are_apart),
	        cmocka_unit_test(what_cannot_be_counted_is_refused_and_not_kept_waiting),
	        cmocka_unit_test(those_that_reject_take_all_or_nothing),
	        cmocka_unit_test(the_longest_pause_counts_and_none_is_longer_than_a_minute),
	        cmocka_unit_test(buckets_outlive_a_reload),
	        cmocka_unit_test(limits_that_can_never_fire_are_told),
	        cmocka_unit_test(a_limit_that_rejects_bounds_those_who_wait_for_another),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
