#include "tests/policy/bucket_fixture.h"
#include "tests/policy/policy_fixture.h"

static const char routes[] = "- {match: {path: /paid}, backend: b, priority: low, rate_limits: "
                             "[{rate: 1/h, burst: 2}]}\n"
                             "- {match: {path: /free}, backend: b}\n"
                             "- {match: {path: /own}, respond: {status: 200}}\n";
static const char backends[] =
        "backends: [{name: b, endpoints: ['127.0.0.1:1'], concurrency: {limit: 5}}]\n";

static bool room;
static enum policy_crowd crowd = POLICY_CALLS;  // where there is none
static unsigned asked;

static enum policy_crowd has_room(void *caller)
{
	assert_ptr_equal(caller, &room);
	asked++;
	return room ? POLICY_UNCROWDED : crowd;
}

static struct policy_decision decide(
        const struct fixture *fixture, const char *path, struct arena *arena)
{
	struct policy_identity identity;
	struct policy_decision decision;
	struct policy_peer peer = {.uri = STR("spiffe://cluster.local/ns/web")};
	struct policy_request request = {
	        .method = STR("GET"), .path = str_from(path), .room = has_room, .caller = &room};
	policy_identify(fixture->policy, 0, &peer, arena, &identity);
	policy_decide(fixture->policy, 0, &identity, &request, 0, arena, &decision);
	return decision;
}

static void a_backend_without_room_refuses_and_takes_no_token(void **state)
{
	(void)state;
	struct fixture fixture;
	struct arena arena = {0};
	struct bucket_store *store = bucket_store_new();
	fixture_compile(&fixture, store, NAMES_ALL, routes, backends);
	room = false;
	for (int i = 0; i < 10; i++) {
		struct policy_decision decision = decide(&fixture, "/paid", &arena);
		assert_int_equal(decision.reason, REASON_overloaded);
		assert_int_equal(decision.crowd, POLICY_CALLS);
		assert_true(str_eq(decision.matched_rule, STR("concurrency")));
		assert_true(str_eq(decision.detail,
		        STR("the backend nears its concurrency limit (priority low)")));
		assert_int_equal(decision.retry_after_ns, INT64_C(1000000000));
		assert_int_equal(decision.limit_index, -1);
	}
	crowd = POLICY_QUEUED;
	struct policy_decision queued = decide(&fixture, "/paid", &arena);
	assert_int_equal(queued.reason, REASON_overloaded);
	assert_int_equal(queued.crowd, POLICY_QUEUED);
	assert_true(str_eq(queued.matched_rule, STR("circuit_breaker")));
	assert_true(str_eq(queued.detail, STR(POLICY_QUEUE_DETAIL)));
	crowd = POLICY_CALLS;
	room = true;
	for (int i = 0; i < 2; i++)
		assert_int_equal(decide(&fixture, "/paid", &arena).reason, REASON_NONE);
	// An empty bucket is told first: it stays empty whatever the backend does.
	for (int i = 0; i < 2; i++, room = false) {
		struct policy_decision decision = decide(&fixture, "/paid", &arena);
		assert_int_equal(decision.reason, REASON_rate_limited);
		assert_int_equal(decision.crowd, POLICY_UNCROWDED);
		assert_true(decision.retry_after_ns > INT64_C(1000000000));
	}
	assert_true(str_eq(decide(&fixture, "/free", &arena).detail,
	        STR("the backend is at its concurrency limit (priority normal)")));
	asked = 0;
	assert_int_equal(decide(&fixture, "/own", &arena).reason, REASON_NONE);
	assert_int_equal(asked, 0);
	arena_fini(&arena);
	fixture_free(&fixture);
	bucket_store_free(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_backend_without_room_refuses_and_takes_no_token),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
