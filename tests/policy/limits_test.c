#include "tests/policy/bucket_fixture.h"
#include "tests/policy/policy_fixture.h"

// What tells callers apart: two calls share a bucket of one token, or they do not.

struct caller {
	const char *identity, *method, *path, *source_ip;
	struct str header_a, header_b;
};

static struct str header_of(const void *headers, struct str name, struct arena *arena)
{
	const struct caller *caller = headers;
	(void)arena;
	assert_true(str_eq(name, STR("x-a")) || str_eq(name, STR("x-b")));
	return str_eq(name, STR("x-a")) ? caller->header_a : caller->header_b;
}

static bool passes(const struct fixture *fixture, const struct caller *caller)
{
	struct arena arena = {0};
	bool grpc = strcmp(caller->method, "gRPC") == 0;
	struct policy_peer peer = {.uri = str_from(caller->identity)};
	struct policy_request request = {.grpc = grpc,
	        .method = grpc ? STR("POST") : str_from(caller->method),
	        .path = str_from(caller->path),
	        .host = STR("localhost"),
	        .source_ip = str_from(caller->source_ip),
	        .header = header_of,
	        .headers = caller};
	struct policy_identity identity;
	struct policy_decision decision;
	policy_identify(fixture->policy, 0, &peer, &arena, &identity);
	policy_decide(fixture->policy, 0, &identity, &request, 0, &arena, &decision);
	assert_true(decision.reason == REASON_NONE || decision.reason == REASON_rate_limited);
	arena_fini(&arena);
	return decision.reason == REASON_NONE;
}

#define A "spiffe://cluster.local/a"
#define B "spiffe://cluster.local/b"

static const struct {
	const char *match, *per, *backend;
	struct caller one, other;
	bool share;
} pairs[] = {
        {"path: /*", "[]", "http1", {A, "GET", "/", "1", {0}, {0}}, {B, "PUT", "/x", "2", {0}, {0}},
                true},
        {"path: /*", "[identity]", "http1", {A, "GET", "/", "1", {0}, {0}},
                {A, "PUT", "/x", "2", {0}, {0}}, true},
        {"path: /*", "[identity]", "http1", {A, "GET", "/", "1", {0}, {0}},
                {B, "GET", "/", "1", {0}, {0}}, false},
        {"path: /*", "[source_ip]", "http1", {A, "GET", "/", "1", {0}, {0}},
                {B, "PUT", "/x", "1", {0}, {0}}, true},
        {"path: /*", "[source_ip]", "http1", {A, "GET", "/", "1", {0}, {0}},
                {A, "GET", "/", "2", {0}, {0}}, false},
        // HTTP: the method and the route, whatever the path.
        {"path: /*", "[method]", "http1", {A, "GET", "/x", "1", {0}, {0}},
                {B, "GET", "/y", "2", {0}, {0}}, true},
        {"path: /*", "[method]", "http1", {A, "GET", "/", "1", {0}, {0}},
                {A, "POST", "/", "1", {0}, {0}}, false},
        // Invented methods do not each find a full bucket.
        {"path: /*", "[method]", "http1", {A, "FOO", "/", "1", {0}, {0}},
                {A, "BAR", "/", "1", {0}, {0}}, true},
        {"path: /*, methods: [FOO, BAR]", "[method]", "http1", {A, "FOO", "/", "1", {0}, {0}},
                {A, "BAR", "/", "1", {0}, {0}}, false},
        // gRPC: the full method.
        {"grpc: '*'", "[method]", "h2", {A, "gRPC", "/s.S/M", "1", {0}, {0}},
                {B, "gRPC", "/s.S/M", "2", {0}, {0}}, true},
        {"grpc: '*'", "[method]", "h2", {A, "gRPC", "/s.S/M", "1", {0}, {0}},
                {A, "gRPC", "/s.S/N", "1", {0}, {0}}, false},
        {"path: /*", "[method]", "h2", {A, "gRPC", "/s.S/M", "1", {0}, {0}},
                {A, "gRPC", "/s.S/N", "1", {0}, {0}}, false},
        // Another spelling is no other method.
        {"grpc: s.S/M", "[method]", "h2", {A, "gRPC", "/s.S/M", "1", {0}, {0}},
                {A, "gRPC", "/s.S/M;v=2", "1", {0}, {0}}, true},
        // A content-type does not make paths of a plain backend into methods.
        {"path: /*", "[method]", "http1", {A, "gRPC", "/x/1", "1", {0}, {0}},
                {A, "gRPC", "/x/2", "1", {0}, {0}}, true},
        {"path: /*", "[method]", "h2", {A, "gRPC", "/x/y/1", "1", {0}, {0}},
                {A, "gRPC", "/x/y/2", "1", {0}, {0}}, true},
        // Headers, absent ones too.
        {"path: /*", "['header:X-A']", "http1", {A, "GET", "/", "1", {"v", 1}, {"w", 1}},
                {B, "PUT", "/x", "2", {"v", 1}, {"z", 1}}, true},
        {"path: /*", "['header:X-A']", "http1", {A, "GET", "/", "1", {"v", 1}, {0}},
                {A, "GET", "/", "1", {"V", 1}, {0}}, false},
        {"path: /*", "['header:X-A']", "http1", {A, "GET", "/", "1", {0}, {0}},
                {A, "GET", "/", "1", {"", 0}, {0}}, true},
        // Combinations: every part counts, and none runs into the next.
        {"path: /*", "['header:x-a', 'header:x-b']", "http1",
                {A, "GET", "/", "1", {"ab", 2}, {"c", 1}},
                {A, "GET", "/", "1", {"a", 1}, {"bc", 2}}, false},
        {"path: /*", "['header:x-a', 'header:x-b']", "http1", {A, "GET", "/", "1", {"v", 1}, {0}},
                {A, "GET", "/", "1", {0}, {"v", 1}}, false},
        // What looks like the seam between two values.
        {"path: /*", "['header:x-a', 'header:x-b']", "http1",
                {A, "GET", "/", "1", {"a\3\0\0\0\0\0\0\0\0b", 11}, {"c", 1}},
                {A, "GET", "/", "1", {"a", 1}, {"b\3\0\0\0\0\0\0\0\0c", 11}}, false},
        {"path: /*", "[identity, method]", "http1", {A, "GET", "/", "1", {0}, {0}},
                {A, "GET", "/x", "2", {0}, {0}}, true},
        {"path: /*", "[identity, method]", "http1", {A, "GET", "/", "1", {0}, {0}},
                {B, "GET", "/", "1", {0}, {0}}, false},
        {"path: /*", "[identity, source_ip]", "http1", {A, "GET", "/", "1", {0}, {0}},
                {A, "GET", "/", "2", {0}, {0}}, false},
};

static void calls_share_a_bucket_or_not_as_per_says(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
		struct fixture fixture;
		struct bucket_store *store = bucket_store_new();
		char routes[256], backends[128];
		bool split = strcmp(pairs[i].per, "[]") != 0;
		snprintf(routes, sizeof(routes),
		        "- match: {%s}\n  backend: b\n  rate_limits: [{rate: 1/h, burst: 1%s%s}]\n",
		        pairs[i].match, split ? ", per: " : "", split ? pairs[i].per : "");
		snprintf(backends, sizeof(backends),
		        "backends: [{name: b, protocol: %s, endpoints: ['127.0.0.1:1']}]\n",
		        pairs[i].backend);
		fixture_compile(&fixture, store, NAMES_ALL, routes, backends);
		assert_true(passes(&fixture, &pairs[i].one));
		assert_false(passes(&fixture, &pairs[i].one));
		if (passes(&fixture, &pairs[i].other) == pairs[i].share)
			fail_msg("row %zu", i);
		fixture_free(&fixture);
		bucket_store_free(store);
	}
}

#define RESPOND "  respond: {status: 200}\n"

static void a_reload_keeps_the_buckets_of_routes_that_stay(void **state)
{
	(void)state;
	static const char before[] =
	        "- match: {path: /a}\n  rate_limits: [{rate: 1/h, burst: 3, per: "
	        "[identity]}]\n" RESPOND
	        "- match: {path: /b}\n  rate_limits: [{rate: 1/h, burst: 3}]\n" RESPOND;
	// Another order, another burst, and a key of another kind.
	static const char after[] =
	        "- match: {path: /b}\n  rate_limits: [{rate: 1/h, burst: 2}]\n" RESPOND
	        "- match: {path: /a}\n  rate_limits: [{rate: 1/h, burst: 9, per: "
	        "[identity]}]\n" RESPOND;
	static const struct caller a = {A, "GET", "/a", "1", {0}, {0}},
	                           b = {A, "GET", "/b", "1", {0}, {0}};
	struct fixture old, new;
	struct bucket_store *store = bucket_store_new();
	clock_fake(0, 0);
	fixture_compile(&old, store, NAMES_ALL, before, "");
	assert_true(passes(&old, &a) && passes(&old, &a));
	assert_true(passes(&old, &b));
	fixture_compile(&new, store, NAMES_ALL, after, "");
	assert_true(passes(&new, &a));
	assert_false(passes(&new, &a));
	assert_false(passes(&old, &a));
	assert_true(passes(&old, &b));
	assert_true(passes(&new, &b));
	assert_false(passes(&new, &b));
	fixture_free(&old);
	assert_false(passes(&new, &a));
	assert_false(passes(&new, &b));
	clock_real();
	fixture_free(&new);
	bucket_store_free(store);
}

// The same pattern on several routes, told apart by methods or hosts alone.
static void routes_of_one_pattern_have_buckets_of_their_own(void **state)
{
	(void)state;
	static const char routes[] =
	        "- match: {path: /a, methods: [GET]}\n  rate_limits: [{rate: 1/h, burst: "
	        "1}]\n" RESPOND "- match: {path: /a, methods: [PUT]}\n  rate_limits: [{rate: 1/h, "
	        "burst: 1}]\n" RESPOND "- match: {path: /a, hosts: [localhost]}\n"
	        "  rate_limits: [{rate: 1/h, burst: 1}]\n" RESPOND
	        "- match: {path: /a}\n  rate_limits: [{rate: 1/h, burst: 1}]\n" RESPOND;
	static const struct caller get = {A, "GET", "/a", "1", {0}, {0}},
	                           put = {A, "PUT", "/a", "1", {0}, {0}},
	                           post = {A, "POST", "/a", "1", {0}, {0}};
	struct fixture fixture;
	struct bucket_store *store = bucket_store_new();
	fixture_compile(&fixture, store, NAMES_ALL, routes, "");
	assert_true(passes(&fixture, &get));
	assert_true(passes(&fixture, &put));
	assert_true(passes(&fixture, &post));
	assert_false(passes(&fixture, &get));
	assert_false(passes(&fixture, &put));
	assert_false(passes(&fixture, &post));
	fixture_free(&fixture);
	bucket_store_free(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(calls_share_a_bucket_or_not_as_per_says),
	        cmocka_unit_test(a_reload_keeps_the_buckets_of_routes_that_stay),
	        cmocka_unit_test(routes_of_one_pattern_have_buckets_of_their_own),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
