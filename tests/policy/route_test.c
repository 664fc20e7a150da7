#include "policy/path.h"
#include "policy/route_index.h"
#include "tests/policy/bucket_fixture.h"
#include "tests/policy/policy_fixture.h"

#define OK ", respond: {status: 200}}\n"

static struct policy_request request_of(const char *method, const char *path, const char *host)
{
	bool grpc = strcmp(method, "gRPC") == 0;
	return (struct policy_request){.grpc = grpc,
	        .method = grpc ? STR("POST") : str_from(method),
	        .path = str_from(path),
	        .host = str_from(host)};
}

// The number of the route that takes it; -1 for none.
static int routed(const struct fixture *fixture, const struct policy_request *request)
{
	struct arena arena = {0};
	struct policy_identity identity;
	struct policy_decision decision;
	struct policy_peer peer = {.uri = STR("spiffe://cluster.local/ns/web")};
	policy_identify(fixture->policy, 0, &peer, &arena, &identity);
	policy_decide(fixture->policy, 0, &identity, request, 0, &arena, &decision);
	assert_int_equal(decision.reason, decision.route ? REASON_NONE : REASON_no_route);
	if (decision.route)
		assert_ptr_equal(decision.route,
		        &fixture->config->listeners[0].routes[decision.route_index]);
	arena_fini(&arena);
	return decision.route ? (int)decision.route_index : -1;
}

static const struct {
	const char *method, *path, *host;
	int route;
} calls[] = {
        {"gRPC", "/user.UserService/Login", "x", 0},
        {"gRPC", "/user.UserService/Logout", "x", 1},
        {"gRPC", "/user.UserService/login", "x", 1},
        {"gRPC", "/user.Admin/Drop", "x", 2},
        {"gRPC", "/user.v1.Admin/Drop", "x", -1},  // another package
        {"gRPC", "/user.v1.Users/Get", "x", 7},
        {"gRPC", "/users.Admin/Drop", "x", -1},
        {"gRPC", "/user/Drop", "x", -1},
        {"gRPC", "/USER.UserService/Login", "x", -1},
        {"gRPC", "/user.UserService/", "x", -1},
        {"gRPC", "/user.UserService", "x", -1},
        {"gRPC", "/user.UserService/Login/x", "x", -1},
        {"gRPC", "/x/user.UserService/Login", "x", -1},
        {"gRPC", "//user.UserService/Login", "x", -1},
        {"gRPC", "/user.UserService/Login;v=1", "x", 0},
        {"gRPC", "/any.Thing/At", "grpc.example", 8},
        {"gRPC", "/at/any/depth", "grpc.example", 8},
        {"gRPC", "/", "grpc.example", 8},
        {"gRPC", "/healthz", "grpc.example", 6},
        {"gRPC", "/api/x", "a.example", 4},  // a gRPC call is a POST
        // Not gRPC: a content-type alone, or the method alone, is not enough.
        {"POST", "/user.UserService/Login", "x", -1},
        {"GET", "/any.Thing/At", "grpc.example", -1},
        // Paths, methods, hosts.
        {"GET", "/api/x", "x", 3},
        {"GET", "/api/", "x", 3},
        {"GET", "/api", "x", -1},
        {"GET", "/apix", "x", -1},
        {"PUT", "/api/x", "a.example", 3},
        {"get", "/api/x", "x", -1},
        {"POST", "/api/x", "a.example", 4},
        {"POST", "/api/x", "b.example", 4},
        {"POST", "/api/x", "c.example", -1},
        {"POST", "/api/x", "", -1},
        {"POST", "/api/v2/x", "x", 5},
        {"POST", "/api/v2/x", "a.example", 4},
        {"GET", "/api/v2/x", "x", 3},
        {"GET", "/healthz", "x", 6},
        {"GET", "/healthz/", "x", -1},
        {"GET", "/healthz;a", "x", 6},
        {"GET", "/HEALTHZ", "x", -1},
        {"GET", "/", "x", -1},
        {"GET", "/dir/", "x", 11},
        {"GET", "/dir", "x", -1},
        {"GET", "/dir/x", "x", -1},
        // Escapes mean what they mean to a backend.
        {"GET", "/a%20b/c", "x", 9},
        {"GET", "/v1/users:export", "x", 10},
        {"GET", "/v1/users%3Aexport", "x", 10},
};

static void the_first_route_that_matches_takes_the_call(void **state)
{
	(void)state;
	static const char routes[] =
	        "- {match: {grpc: user.UserService/Login}" OK                 // 0
	        "- {match: {grpc: user.UserService/*}" OK                     // 1
	        "- {match: {grpc: user.*/*}" OK                               // 2
	        "- {match: {path: /api/*, methods: [GET, PUT]}" OK            // 3
	        "- {match: {path: /api/*, hosts: [a.example, b.example]}" OK  // 4
	        "- {match: {path: /api/v2/x}" OK                              // 5
	        "- {match: {path: /healthz}" OK                               // 6
	        "- {match: {path: /user.v1.Users/Get}" OK                     // 7
	        "- {match: {grpc: '*', hosts: [grpc.example]}" OK             // 8
	        "- {match: {path: /a%20b/*}" OK                               // 9
	        "- {match: {path: '/v1/users:export'}" OK                     // 10
	        "- {match: {path: /dir/}" OK;                                 // 11
	struct fixture fixture;
	fixture_compile(&fixture, NULL, NAMES_ALL, routes, "");
	for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
		struct policy_request request = request_of(
		        calls[i].method, calls[i].path, calls[i].host);
		int route = routed(&fixture, &request);
		if (route != calls[i].route)
			fail_msg("%s %s on %s: %d", calls[i].method, calls[i].path, calls[i].host,
			        route);
	}
	// gRPC by content-type, but no POST.
	struct policy_request request = request_of("gRPC", "/user.UserService/Login", "x");
	request.method = STR("GET");
	assert_int_equal(routed(&fixture, &request), -1);
	// Targets that are no paths.
	request = request_of("OPTIONS", "*", "x");
	assert_int_equal(routed(&fixture, &request), -1);
	request = request_of("gRPC", "", "grpc.example");
	assert_int_equal(routed(&fixture, &request), -1);
	request = request_of("gRPC", NULL, "grpc.example");
	assert_int_equal(routed(&fixture, &request), -1);
	fixture_free(&fixture);
}

// The same rules once more, one route after the other and from the words of the contract.
static bool says(struct str list, const struct config_texts *texts)
{
	for (size_t i = 0; i < texts->count; i++)
		if (str_eq(texts->items[i].text, list))
			return true;
	return texts->count == 0;
}

static bool plain_match(const struct config_route *route, const struct policy_request *request)
{
	struct str pattern = route->pattern.text, path = request->path;
	const char *slash = memrchr(path.at, '/', path.len);
	bool star = str_ends(pattern, STR("/*"));
	if (!says(request->host, &route->hosts) || !says(request->method, &route->methods))
		return false;
	if (route->kind == MATCH_PATH)
		return star ? str_starts(path, str_of(pattern.at, pattern.len - 1))
		            : str_eq(path, pattern);
	if (!request->grpc || str_eq(pattern, STR("*")))
		return request->grpc;
	if (slash == path.at || slash == path.at + path.len - 1)
		return false;  // no service or no method
	struct str call = str_skip(path, 1), service = str_of(call.at, (size_t)(slash - call.at));
	if (str_find_byte(service, '/'))
		return false;
	if (!str_ends(pattern, STR(".*/*")))
		return star ? str_eq(service, str_of(pattern.at, pattern.len - 2))
		            : str_eq(call, pattern);
	struct str package = str_of(pattern.at, pattern.len - 4);
	return str_starts(service, package) && service.len > package.len &&
	       service.at[package.len] == '.' &&
	       !str_find_byte(str_skip(service, package.len + 1), '.');
}

static const char *pick(uint64_t *seed, const char *const *words, size_t count)
{
	return words[random_below(seed, count)];
}
#define PICK(seed, ...)                                                                            \
	pick(seed, (const char *const[]){__VA_ARGS__},                                             \
	        ARRAY_LEN(((const char *const[]){__VA_ARGS__})))

static void append_route(uint64_t *seed, struct buffer *routes)
{
	bool grpc = random_below(seed, 2);
	buffer_printf(routes, "- {match: {");
	if (grpc && random_below(seed, 6) == 0)
		buffer_printf(routes, "grpc: '*'");
	else if (grpc)
		buffer_printf(routes, "grpc: '%s%s'", PICK(seed, "", "a.", "b.", "a.b."),
		        PICK(seed, "S/M", "S/N", "T/M", "S/*", "T/*", "c.*/*"));
	else
		buffer_printf(routes, "path: '/%s%s%s'", PICK(seed, "", "a/", "b/", "a.S/"),
		        PICK(seed, "", "a/", "b/"), PICK(seed, "M", "*", "*", "a", "", "b"));
	if (!grpc && random_below(seed, 3) == 0)
		buffer_printf(routes, ", methods: [%s]", PICK(seed, "GET", "POST", "GET, POST"));
	if (random_below(seed, 2))
		buffer_printf(routes, ", hosts: [%s]", PICK(seed, "x", "y", "'x', 'y'"));
	buffer_printf(routes, "}" OK);
}

static void parse_random_routes(struct fixture *fixture, uint64_t count, uint64_t *seed)
{
	struct buffer routes = {0};
	for (; count; count--)
		append_route(seed, &routes);
	buffer_append(&routes, "", 1);
	fixture_parse(fixture, NAMES_ALL, buffer_data(&routes), "");
	fixture_fail_on_problems(fixture);
	buffer_fini(&routes);
}

static size_t number_in(const struct config_problem *problem)
{
	size_t number;
	assert_int_equal(sscanf(problem->key.at, "listeners[0].routes[%zu]", &number), 1);
	return number;
}

static struct policy_request random_call(char path[64], uint64_t *seed)
{
	snprintf(path, 64, "/%s%s%s%s", PICK(seed, "", "a.", "b.", "a.b.", "a/", "b/"),
	        PICK(seed, "S", "T", "c.S", "a", "b"), PICK(seed, "", "/", "/a/", "/b/"),
	        PICK(seed, "", "M", "N", "a", "b"));
	return request_of(PICK(seed, "GET", "POST", "PUT", "gRPC", "gRPC"), path,
	        PICK(seed, "x", "y", "z", ""));
}

// Takes the unreachable out until the rest compiles: random files are full of them.
static void compile_what_is_left(struct fixture *fixture)
{
	struct config_listener *listener = &fixture->config->listeners[0];
	while (!(fixture->policy = policy_compile(fixture->config, NULL, &fixture->problems))) {
		size_t number = number_in(&fixture->problems.items[0]);
		memmove(&listener->routes[number], &listener->routes[number + 1],
		        (--listener->route_count - number) * sizeof(*listener->routes));
		config_problems_fini(&fixture->problems);
	}
}

static int plain_route(const struct config_listener *listener, const struct policy_request *request)
{
	for (size_t i = 0; i < listener->route_count; i++)
		if (plain_match(&listener->routes[i], request))
			return (int)i;
	return -1;
}

static void the_index_agrees_with_asking_every_route_in_turn(void **state)
{
	(void)state;
	uint64_t seed = 11;
	for (int round = 0; round < 150; round++) {
		struct fixture fixture;
		parse_random_routes(&fixture, 1 + random_below(&seed, 30), &seed);
		compile_what_is_left(&fixture);
		for (int call = 0; call < 300; call++) {
			char path[64];
			struct policy_request request = random_call(path, &seed);
			int expected = plain_route(&fixture.config->listeners[0], &request);
			if (routed(&fixture, &request) != expected)
				fail_msg("%s on %s: not %d", path, request.host.at, expected);
		}
		fixture_free(&fixture);
	}
}

static void assert_never_first(const struct config_route *list, size_t number, uint64_t *seed)
{
	for (int call = 0; call < 200; call++) {
		char path[64];
		size_t first = 0;
		struct policy_request request = random_call(path, seed);
		while (first < number && !plain_match(&list[first], &request))
			first++;
		assert_false(first == number && plain_match(&list[number], &request));
	}
}

// The other way round: a route that is called unreachable is never the first to match.
static void what_is_called_unreachable_is(void **state)
{
	(void)state;
	uint64_t seed = 12;
	size_t unreachable = 0;
	for (int round = 0; round < 300; round++) {
		struct fixture fixture;
		parse_random_routes(&fixture, 6, &seed);
		fixture.policy = policy_compile(fixture.config, NULL, &fixture.problems);
		for (size_t p = 0; p < fixture.problems.count; p++)
			assert_never_first(fixture.config->listeners[0].routes,
			        number_in(&fixture.problems.items[p]), &seed);
		unreachable += fixture.problems.count;
		fixture_free(&fixture);
	}
	assert_true(unreachable > 100);
}

// 60 KiB of segments against prefixes: no deeper than the deepest of them.
static void a_path_of_many_segments_costs_no_more_than_the_deepest_prefix(void **state)
{
	(void)state;
	enum { LEN = 60 * 1024 };
	struct fixture fixture;
	fixture_compile(&fixture, NULL, NAMES_ALL,
	        "- {match: {path: /x/y/*}" OK "- {match: {path: /a/a/a/*}" OK, "");
	char *path = must_alloc(LEN + 1);
	for (size_t i = 0; i < LEN; i++)
		path[i] = i % 2 ? 'a' : '/';
	struct policy_request request = request_of("GET", path, "x");
	for (int call = 0; call < 10000; call++)
		assert_int_equal(routed(&fixture, &request), 1);
	free(path);
	fixture_free(&fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(the_first_route_that_matches_takes_the_call),
	        cmocka_unit_test(the_index_agrees_with_asking_every_route_in_turn),
	        cmocka_unit_test(what_is_called_unreachable_is),
	        cmocka_unit_test(a_path_of_many_segments_costs_no_more_than_the_deepest_prefix),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
