// Whom a backend's patterns let be its server: `backends[].tls.match_subject_alt_names`, compiled
// and asked.
#include "tests/policy/policy_fixture.h"

#define ROUTES                                                                                     \
	"- {match: {path: /a}, backend: a}\n- {match: {path: /b}, backend: b}\n"                   \
	"- {match: {path: /c}, backend: c}\n"

// Backend a with these patterns, b known by name, c without TLS.
static void parse(struct fixture *fixture, const char *patterns)
{
	char backends[1024];
	snprintf(backends, sizeof(backends),
	        "backends:\n"
	        "  - name: a\n"
	        "    endpoints: ['127.0.0.1:1']\n"
	        "    tls: {trusted_ca: ca, match_subject_alt_names: %s}\n"
	        "  - {name: b, endpoints: ['127.0.0.1:1'], tls: {trusted_ca: ca}}\n"
	        "  - {name: c, endpoints: ['127.0.0.1:1']}\n",
	        patterns);
	fixture_parse(fixture, NAMES_ALL, ROUTES, backends);
	fixture_fail_on_problems(fixture);
	fixture->policy = policy_compile(fixture->config, NULL, &fixture->problems);
}

static void patterns_of_servers_are_checked_where_they_stand(void **state)
{
	(void)state;
	static const struct {
		const char *patterns;
		int at;            // -1: nothing is wrong
		const char *what;  // a part of the sentence
	} rows[] = {
	        {"['spiffe://cluster.local/ns/users/*']", -1, NULL},
	        {"['spiffe://cluster.local/ns/*/sa/users', 'spiffe://other/x']", -1, NULL},
	        // Servers need not be among those whom a listener lets in.
	        {"['spiffe://elsewhere/*']", -1, NULL},
	        {"['users.internal']", 0, "begin with spiffe://"},
	        {"['spiffe://a/*', 'spiffe://b']", 1, "no path"},
	        {"['spiffe://a/*', 'spiffe://A/*', 'spiffe://c/*']", 1, "lower case"},
	        {"['spiffe://a/b*']", 0, "whole path segment"},
	        {"['*']", 0, "begin with spiffe://"},
	        {"['https://a/b']", 0, "begin with spiffe://"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct fixture fixture;
		char key[64];
		parse(&fixture, rows[i].patterns);
		assert_int_equal(fixture.policy == NULL, rows[i].at >= 0);
		assert_int_equal(fixture.problems.count, rows[i].at >= 0);
		if (rows[i].at >= 0) {
			const struct config_problem *problem = &fixture.problems.items[0];
			snprintf(key, sizeof(key), "backends[0].tls.match_subject_alt_names[%d]",
			        rows[i].at);
			if (!str_eq(problem->key, str_from(key)) ||
			        !strstr(problem->what.at, rows[i].what))
				fail_msg("%s: %.*s: %.*s", rows[i].patterns, STR_FMT(problem->key),
				        STR_FMT(problem->what));
			assert_true(problem->mark.line > 0 && problem->mark.column > 0);
		}
		fixture_free(&fixture);
	}
}

static void every_bad_pattern_is_told_of_every_backend(void **state)
{
	(void)state;
	static const char *const keys[] = {"backends[0].tls.match_subject_alt_names[0]",
	        "backends[0].tls.match_subject_alt_names[2]",
	        "backends[1].tls.match_subject_alt_names[0]"};
	struct fixture fixture;
	fixture_parse(&fixture, NAMES_ALL,
	        "- {match: {path: /a}, backend: a}\n- {match: {path: /b}, backend: b}\n",
	        "backends:\n"
	        "  - {name: a, endpoints: ['127.0.0.1:1'], tls: {trusted_ca: ca,"
	        " match_subject_alt_names: [x, spiffe://a/b, y]}}\n"
	        "  - {name: b, endpoints: ['127.0.0.1:1'], tls: {trusted_ca: ca,"
	        " match_subject_alt_names: [z]}}\n");
	fixture_fail_on_problems(&fixture);
	assert_null(fixture.policy = policy_compile(fixture.config, NULL, &fixture.problems));
	assert_int_equal(fixture.problems.count, ARRAY_LEN(keys));
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		assert_true(str_eq(fixture.problems.items[i].key, str_from(keys[i])));
	fixture_free(&fixture);
}

enum { A, B, C };

static const struct {
	size_t backend;
	enum reason chain;  // of the peer
	const char *uri;
	enum reason reason;
	const char *detail;
} verdicts[] = {
        {A, REASON_NONE, "spiffe://cluster.local/ns/users/sa/x", REASON_NONE, ""},
        {A, REASON_NONE, "spiffe://other/ns/users", REASON_NONE, ""},
        {A, REASON_NONE, "spiffe://cluster.local/ns/orders/sa/x", REASON_identity_not_allowed,
                "matches none of 2, nearest spiffe://cluster.local/ns/users/*"},
        {A, REASON_NONE, "spiffe://other/ns/users/more", REASON_identity_not_allowed,
                "matches none of 2, nearest spiffe://other/*/users"},
        {A, REASON_NONE, "spiffe://cluster.local.evil/ns/users/sa/x", REASON_identity_not_allowed,
                "matches none of 2, nearest spiffe://cluster.local/ns/users/*"},
        {A, REASON_NONE, "", REASON_identity_missing, ""},
        {A, REASON_NONE, "https://cluster.local/ns/users/x", REASON_identity_malformed,
                "it must begin with spiffe://: https://cluster.local/ns/users/x"},
        {A, REASON_NONE, "spiffe://Cluster.local/ns/users/x", REASON_identity_malformed,
                "the trust domain must be in lower case: spiffe://Cluster.local/ns/users/x"},
        // What is said of a chain that did not verify is worth nothing.
        {A, REASON_certificate_untrusted, "spiffe://cluster.local/ns/users/sa/x",
                REASON_certificate_untrusted, "said by the chain"},
        {A, REASON_certificate_expired, "", REASON_certificate_expired, "said by the chain"},
        // Without patterns nobody is let pass; who is known by name is not asked about here.
        {B, REASON_NONE, "spiffe://cluster.local/ns/users/sa/x", REASON_identity_not_allowed,
                "there is no pattern"},
        {C, REASON_NONE, "spiffe://cluster.local/ns/users/sa/x", REASON_identity_not_allowed,
                "there is no pattern"},
};

static void a_server_is_who_its_backends_patterns_say(void **state)
{
	(void)state;
	struct fixture fixture;
	struct arena arena = {0};
	parse(&fixture, "['spiffe://cluster.local/ns/users/*', 'spiffe://other/*/users']");
	fixture_fail_on_problems(&fixture);
	for (size_t i = 0; i < ARRAY_LEN(verdicts); i++) {
		struct policy_identity identity;
		const struct policy_peer peer = {.reason = verdicts[i].chain,
		        .detail = verdicts[i].chain ? STR("said by the chain") : STR(""),
		        .uri = str_from(verdicts[i].uri)};
		policy_identify_server(
		        fixture.policy, verdicts[i].backend, &peer, &arena, &identity);
		if (identity.reason != verdicts[i].reason ||
		        !str_eq(identity.detail, str_from(verdicts[i].detail)))
			fail_msg("row %zu, %s: %s, %.*s", i, verdicts[i].uri,
			        reason_name(identity.reason), STR_FMT(identity.detail));
		bool parsed = identity.reason == REASON_NONE ||
		              identity.reason == REASON_identity_not_allowed;
		assert_true(str_eq(identity.id.text, parsed ? peer.uri : STR("")));
	}
	arena_fini(&arena);
	fixture_free(&fixture);
}

// A listener's callers and a backend's servers are different people.
static void patterns_of_listeners_and_backends_are_kept_apart(void **state)
{
	(void)state;
	struct fixture fixture;
	struct arena arena = {0};
	struct policy_identity identity;
	const struct policy_peer server = {.uri = STR("spiffe://servers/users")},
	                         caller = {.uri = STR("spiffe://cluster.local/ns/web")};
	parse(&fixture, "['spiffe://servers/*']");
	fixture_fail_on_problems(&fixture);
	policy_identify_server(fixture.policy, A, &server, &arena, &identity);
	assert_int_equal(identity.reason, REASON_NONE);
	policy_identify_server(fixture.policy, A, &caller, &arena, &identity);
	assert_int_equal(identity.reason, REASON_identity_not_allowed);
	policy_identify(fixture.policy, 0, &server, &arena, &identity);
	assert_int_equal(identity.reason, REASON_identity_not_allowed);
	policy_identify(fixture.policy, 0, &caller, &arena, &identity);
	assert_int_equal(identity.reason, REASON_NONE);
	arena_fini(&arena);
	fixture_free(&fixture);
}

// A NUL in the name must not hide what follows it.
static void a_server_is_compared_with_all_its_bytes(void **state)
{
	(void)state;
	struct fixture fixture;
	struct arena arena = {0};
	struct policy_identity identity;
	const struct policy_peer peer = {.uri = STR("spiffe://servers/users\0.evil")};
	parse(&fixture, "['spiffe://servers/users']");
	fixture_fail_on_problems(&fixture);
	policy_identify_server(fixture.policy, A, &peer, &arena, &identity);
	assert_int_equal(identity.reason, REASON_identity_malformed);
	arena_fini(&arena);
	fixture_free(&fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(patterns_of_servers_are_checked_where_they_stand),
	        cmocka_unit_test(every_bad_pattern_is_told_of_every_backend),
	        cmocka_unit_test(a_server_is_who_its_backends_patterns_say),
	        cmocka_unit_test(patterns_of_listeners_and_backends_are_kept_apart),
	        cmocka_unit_test(a_server_is_compared_with_all_its_bytes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
