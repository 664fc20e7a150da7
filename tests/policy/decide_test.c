#include "tests/policy/bucket_fixture.h"
#include "tests/policy/policy_fixture.h"

// One gate with everything on it. Route 0 has two limits, 1 an access list, 2 both, 3 neither.
static const char routes[] =
        "- match: {grpc: user.UserService/Login}\n"
        "  rate_limits: [{rate: 1/s, burst: 2, per: [identity]}, {rate: 1/h, burst: 3}]\n"
        "  respond: {status: 200}\n"
        "- match: {grpc: user.UserService/*}\n"
        "  allow: ['spiffe://cluster.local/ns/db/*', 'spiffe://cluster.local/ns/web/sa/cart']\n"
        "  respond: {status: 200}\n"
        "- match: {path: /api/*}\n"
        "  allow: ['spiffe://cluster.local/ns/web/*']\n"
        "  rate_limits: [{rate: 1/h, burst: 1}]\n"
        "  respond: {status: 200}\n"
        "- match: {path: /open}\n"
        "  respond: {status: 200}\n";
static const char names[] = "['spiffe://cluster.local/ns/*', 'spiffe://other.local/ns/web/*']";

static struct str no_header(const void *headers, struct str name, struct arena *arena)
{
	(void)headers, (void)name, (void)arena;
	fail_msg("no header is part of a key here");
	return STR("");
}

struct asked {
	enum reason peer_reason;
	const char *uri;
	bool grpc;
	const char *method, *path;
};

struct told {
	enum reason reason;
	const char *policy_name, *matched_rule, *detail, *rpc_method;
	int route;
};

static struct policy_decision decide(const struct fixture *fixture, const struct asked *asked,
        int64_t now_ns, struct arena *arena)
{
	struct policy_peer peer = {.reason = asked->peer_reason,
	        .detail = asked->peer_reason ? STR("said by the chain") : STR(""),
	        .uri = str_from(asked->uri)};
	struct policy_request request = {.grpc = asked->grpc,
	        .method = str_from(asked->method),
	        .path = str_from(asked->path),
	        .host = STR("localhost"),
	        .source_ip = STR("127.0.0.1"),
	        .header = no_header};
	struct policy_identity identity;
	struct policy_decision decision;
	policy_identify(fixture->policy, 0, &peer, arena, &identity);
	policy_decide(fixture->policy, 0, &identity, &request, now_ns, arena, &decision);
	return decision;
}

#define WEB "spiffe://cluster.local/ns/web/sa/cart"
#define DB "spiffe://cluster.local/ns/db/sa/main"
#define LOGIN true, "POST", "/user.UserService/Login"
#define LOGOUT true, "POST", "/user.UserService/Logout"
#define GET false, "GET"

static const struct {
	struct asked asked;
	struct told told;
} verdicts[] = {
#define BAD_CHAIN(name)                                                                            \
	{                                                                                          \
		{REASON_##name, WEB, LOGIN},                                                       \
		{                                                                                  \
			REASON_##name, "edge", "validation_context", "said by the chain",          \
			        "/user.UserService/Login", -1                                      \
		}                                                                                  \
	}
        BAD_CHAIN(certificate_missing),
        BAD_CHAIN(certificate_untrusted),
        BAD_CHAIN(certificate_expired),
        BAD_CHAIN(certificate_not_yet_valid),
        BAD_CHAIN(certificate_revoked),
        BAD_CHAIN(certificate_wrong_usage),
        BAD_CHAIN(certificate_weak),
        BAD_CHAIN(certificate_invalid),
        BAD_CHAIN(identity_missing),
        BAD_CHAIN(identity_ambiguous),
        BAD_CHAIN(identity_malformed),
        {{0, "", LOGIN}, {REASON_identity_missing, "edge", "validation_context", "",
                                 "/user.UserService/Login", -1}},
        {{0, NULL, GET, "/open"},
                {REASON_identity_missing, "edge", "validation_context", "", "", -1}},
        {{0, "spiffe://Cluster.local/ns/web", GET, "/open"},
                {REASON_identity_malformed, "edge", "validation_context",
                        "the trust domain must be in lower case: "
                        "spiffe://Cluster.local/ns/web",
                        "", -1}},
        {{0, "spiffe://cluster.local", GET, "/open"},
                {REASON_identity_malformed, "edge", "validation_context",
                        "it has no path, so it names a trust domain and no workload: "
                        "spiffe://cluster.local",
                        "", -1}},
        {{0, "https://cluster.local/ns/web", GET, "/open"},
                {REASON_identity_malformed, "edge", "validation_context",
                        "it must begin with spiffe://: https://cluster.local/ns/web", "", -1}},
        {{0, "spiffe://other.local/ns/db/x", GET, "/open"},
                {REASON_identity_not_allowed, "edge", "match_subject_alt_names",
                        "matches none of 2, nearest spiffe://other.local/ns/web/*", "", -1}},
        {{0, "spiffe://cluster.local.evil/ns/web", LOGIN},
                {REASON_identity_not_allowed, "edge", "match_subject_alt_names",
                        "matches none of 2, nearest spiffe://cluster.local/ns/*",
                        "/user.UserService/Login", -1}},
        {{0, WEB, GET, "/nowhere"},
                {REASON_no_route, "edge", "routes", "none of 4 routes takes it", "", -1}},
        {{0, WEB, true, "POST", "/no.Service/Here"},
                {REASON_no_route, "edge", "routes", "none of 4 routes takes it", "/no.Service/Here",
                        -1}},
        {{0, WEB, false, "POST", "/user.UserService/Login"},
                {REASON_no_route, "edge", "routes", "none of 4 routes takes it", "", -1}},
        {{0, "spiffe://cluster.local/ns/web/sa/shop", LOGOUT},
                {REASON_route_not_allowed, "edge/user.UserService/*", "allow",
                        "matches none of 2, nearest spiffe://cluster.local/ns/web/sa/cart",
                        "/user.UserService/Logout", 1}},
        {{0, DB, GET, "/api/x"},
                {REASON_route_not_allowed, "edge//api/*", "allow",
                        "matches none of 1, nearest spiffe://cluster.local/ns/web/*", "", 2}},
        {{0, WEB, LOGIN}, {REASON_NONE, "edge/user.UserService/Login", "routes", "",
                                  "/user.UserService/Login", 0}},
        {{0, WEB, LOGIN}, {REASON_NONE, "edge/user.UserService/Login", "routes", "",
                                  "/user.UserService/Login", 0}},
        {{0, WEB, LOGIN}, {REASON_rate_limited, "edge/user.UserService/Login", "rate_limits[0]",
                                  "1/s burst 2 per identity", "/user.UserService/Login", 0}},
        {{0, DB, LOGIN}, {REASON_NONE, "edge/user.UserService/Login", "routes", "",
                                 "/user.UserService/Login", 0}},
        {{0, DB, LOGIN}, {REASON_rate_limited, "edge/user.UserService/Login", "rate_limits[1]",
                                 "1/h burst 3", "/user.UserService/Login", 0}},
        {{0, WEB, LOGOUT}, {REASON_NONE, "edge/user.UserService/*", "allow", "",
                                   "/user.UserService/Logout", 1}},
        {{0, WEB, GET, "/api/x"}, {REASON_NONE, "edge//api/*", "allow", "", "", 2}},
        {{0, WEB, GET, "/api/x"},
                {REASON_rate_limited, "edge//api/*", "rate_limits[0]", "1/h burst 1", "", 2}},
        // The access list comes before the limits.
        {{0, DB, GET, "/api/x"},
                {REASON_route_not_allowed, "edge//api/*", "allow",
                        "matches none of 1, nearest spiffe://cluster.local/ns/web/*", "", 2}},
        {{0, WEB, GET, "/open"}, {REASON_NONE, "edge//open", "routes", "", "", 3}},
};

static void every_reason_is_told_with_rule_and_detail(void **state)
{
	(void)state;
	struct fixture fixture;
	struct bucket_store *store = bucket_store_new();
	fixture_compile(&fixture, store, names, routes, "");
	for (size_t i = 0; i < ARRAY_LEN(verdicts); i++) {
		struct arena arena = {0};
		const struct told *told = &verdicts[i].told;
		struct policy_decision decision = decide(
		        &fixture, &verdicts[i].asked, second_ns, &arena);
		if (decision.reason != told->reason)
			fail_msg("row %zu: %s", i, reason_name(decision.reason));
		if (!str_eq(decision.policy_name, str_from(told->policy_name)) ||
		        !str_eq(decision.matched_rule, str_from(told->matched_rule)) ||
		        !str_eq(decision.detail, str_from(told->detail)) ||
		        !str_eq(decision.rpc_method, str_from(told->rpc_method)))
			fail_msg("row %zu: %.*s | %.*s | %.*s | %.*s", i,
			        STR_FMT(decision.policy_name), STR_FMT(decision.matched_rule),
			        STR_FMT(decision.detail), STR_FMT(decision.rpc_method));
		assert_int_equal(decision.route ? (int)decision.route_index : -1, told->route);
		bool limited = told->reason == REASON_rate_limited;
		assert_int_equal(decision.retry_after_ns > 0, limited);
		assert_int_equal(decision.limit_index >= 0, limited);
		arena_fini(&arena);
	}
	fixture_free(&fixture);
	bucket_store_free(store);
}

static void refused_calls_leave_every_token_where_it_is(void **state)
{
	(void)state;
	static const struct asked refused[] = {
	        {REASON_certificate_expired, WEB, LOGIN},
	        {REASON_identity_ambiguous, WEB, LOGIN},
	        {0, "spiffe://cluster.local/ns//web", LOGIN},
	        {0, "spiffe://third.local/ns/web/sa/cart", LOGIN},
	        {0, DB, GET, "/api/x"},
	};
	static const struct asked granted[] = {{0, WEB, LOGIN}, {0, WEB, GET, "/api/x"}};
	struct fixture fixture;
	struct arena arena = {0};
	struct bucket_store *store = bucket_store_new();
	fixture_compile(&fixture, store, names, routes, "");
	for (int round = 0; round < 20; round++)
		for (size_t i = 0; i < ARRAY_LEN(refused); i++)
			assert_int_not_equal(
			        decide(&fixture, &refused[i], 0, &arena).reason, REASON_NONE);
	assert_int_equal(decide(&fixture, &granted[0], 0, &arena).reason, REASON_NONE);
	assert_int_equal(decide(&fixture, &granted[0], 0, &arena).reason, REASON_NONE);
	assert_int_equal(decide(&fixture, &granted[1], 0, &arena).reason, REASON_NONE);
	// Refused by the first limit again and again: the second, with one token left, keeps it.
	for (int call = 0; call < 20; call++)
		assert_int_equal(
		        decide(&fixture, &granted[0], 0, &arena).reason, REASON_rate_limited);
	assert_int_equal(
	        decide(&fixture, &(struct asked){0, DB, LOGIN}, 0, &arena).reason, REASON_NONE);
	arena_fini(&arena);
	fixture_free(&fixture);
	bucket_store_free(store);
}

static void the_wait_that_is_told_is_the_true_one(void **state)
{
	(void)state;
	static const struct asked login = {0, WEB, LOGIN};
	struct fixture fixture;
	struct arena arena = {0};
	struct bucket_store *store = bucket_store_new();
	fixture_compile(&fixture, store, names, routes, "");
	assert_int_equal(decide(&fixture, &login, 0, &arena).reason, REASON_NONE);
	assert_int_equal(decide(&fixture, &login, 0, &arena).reason, REASON_NONE);
	struct policy_decision decision = decide(&fixture, &login, 300 * NS_PER_MS, &arena);
	assert_int_equal(decision.retry_after_ns, 700 * NS_PER_MS);
	assert_int_equal(decision.limit_index, 0);
	assert_int_equal(
	        decide(&fixture, &login, second_ns - 1, &arena).reason, REASON_rate_limited);
	assert_int_equal(decide(&fixture, &login, second_ns, &arena).reason, REASON_NONE);
	// Now both are empty: the hour is what it takes.
	decision = decide(&fixture, &login, second_ns, &arena);
	assert_int_equal(decision.limit_index, 1);
	assert_int_equal(decision.retry_after_ns, hour_ns - second_ns);
	arena_fini(&arena);
	fixture_free(&fixture);
	bucket_store_free(store);
}

static void operators_have_patterns_of_their_own(void **state)
{
	(void)state;
	struct config_problems problems = {0};
	struct arena arena = {0};
	struct policy_identity identity;
	struct config *config = config_parse(
	        STR("version: tollgate/v1\n"
	            "admin: {address: 127.0.0.1:9901, tls: {certificate_chain: a, private_key: b, "
	            "trusted_ca: c, match_subject_alt_names: [spiffe://ops/*]}}\n"
	            "listeners:\n"
	            "  - name: edge\n"
	            "    address: 127.0.0.1:8443\n"
	            "    tls:\n"
	            "      certificates: [{certificate_chain: a, private_key: b}]\n"
	            "      validation_context: {trusted_ca: c, match_subject_alt_names: "
	            "[spiffe://shop/*]}\n"
	            "    routes:\n"
	            "      - {match: {path: /x}, respond: {status: 200}}\n"),
	        "gate.yaml", "/etc", &problems);
	assert_non_null(config);
	struct policy *policy = policy_compile(config, NULL, &problems);
	assert_non_null(policy);
	const struct policy_peer operator= {.uri = STR("spiffe://ops/anna")},
	                         shopper = {.uri = STR("spiffe://shop/anna")},
	                         unknown = {.reason = REASON_certificate_untrusted};
	policy_identify(policy, POLICY_ADMIN, &operator, & arena, &identity);
	assert_int_equal(identity.reason, REASON_NONE);
	policy_identify(policy, POLICY_ADMIN, &shopper, &arena, &identity);
	assert_int_equal(identity.reason, REASON_identity_not_allowed);
	policy_identify(policy, POLICY_ADMIN, &unknown, &arena, &identity);
	assert_int_equal(identity.reason, REASON_certificate_untrusted);
	policy_identify(policy, 0, &operator, & arena, &identity);
	assert_int_equal(identity.reason, REASON_identity_not_allowed);
	arena_fini(&arena);
	policy_free(policy);
	config_free(config);
	config_problems_fini(&problems);
}

static void a_presented_name_is_cut_short_in_the_detail(void **state)
{
	(void)state;
	struct fixture fixture;
	struct arena arena = {0};
	fixture_compile(&fixture, NULL, NAMES_ALL, routes, "");
	char *uri = must_alloc(100001);
	memset(uri, 'x', 100000);
	memcpy(uri, "spiffe://cluster.local/", 23);
	struct policy_decision decision = decide(
	        &fixture, &(struct asked){0, uri, GET, "/open"}, 0, &arena);
	assert_int_equal(decision.reason, REASON_identity_malformed);
	assert_true(decision.detail.len < 400);
	free(uri);
	arena_fini(&arena);
	fixture_free(&fixture);
}

// A NUL in the name must not hide what follows it.
static void an_identity_is_compared_with_all_its_bytes(void **state)
{
	(void)state;
	struct fixture fixture;
	struct arena arena = {0};
	struct policy_identity identity;
	struct policy_peer peer = {.uri = STR("spiffe://cluster.local/ns/web\0.evil")};
	fixture_compile(&fixture, NULL, names, routes, "");
	policy_identify(fixture.policy, 0, &peer, &arena, &identity);
	assert_int_equal(identity.reason, REASON_identity_malformed);
	assert_int_equal(identity.id.text.len, 0);
	peer.uri = STR("spiffe://cluster.local/ns/web");
	policy_identify(fixture.policy, 0, &peer, &arena, &identity);
	assert_int_equal(identity.reason, REASON_NONE);
	assert_true(str_eq(identity.id.text, peer.uri));
	peer.uri = STR("spiffe://elsewhere/ns/web");
	policy_identify(fixture.policy, 0, &peer, &arena, &identity);
	assert_int_equal(identity.reason, REASON_identity_not_allowed);
	assert_true(str_eq(identity.id.text, peer.uri));
	arena_fini(&arena);
	fixture_free(&fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(every_reason_is_told_with_rule_and_detail),
	        cmocka_unit_test(refused_calls_leave_every_token_where_it_is),
	        cmocka_unit_test(the_wait_that_is_told_is_the_true_one),
	        cmocka_unit_test(operators_have_patterns_of_their_own),
	        cmocka_unit_test(a_presented_name_is_cut_short_in_the_detail),
	        cmocka_unit_test(an_identity_is_compared_with_all_its_bytes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
