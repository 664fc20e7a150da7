#include "tests/policy/compile_rows.h"

static void patterns_of_routes_are_checked_where_they_stand(void **state)
{
	(void)state;
	static const struct row rows[] = {
	        {"- {match: {grpc: user.UserService/Login}" OK, NULL, NULL},
	        {"- {match: {grpc: user.UserService/*}" OK, NULL, NULL},
	        {"- {match: {grpc: user.*/*}" OK, NULL, NULL},
	        {"- {match: {grpc: user.v1.*/*}" OK, NULL, NULL},
	        {"- {match: {grpc: '*'}" OK, NULL, NULL},
	        {"- {match: {grpc: Greeter/SayHello}" OK, NULL, NULL},
	        {"- {match: {path: /api/*}" OK, NULL, NULL},
	        {"- {match: {path: /*, hosts: [a.example, '[::1]']}" OK, NULL, NULL},
	        {"- {match: {grpc: /user.UserService/Login}" OK, "routes[0].match.grpc",
	                "leave out the slash"},
	        {"- {match: {grpc: user.UserService}" OK, "routes[0].match.grpc", "expected pkg."},
	        {"- {match: {grpc: user.UserService/}" OK, "routes[0].match.grpc", "expected pkg."},
	        {"- {match: {grpc: user.UserService/Log*}" OK, "routes[0].match.grpc",
	                "expected pkg."},
	        {"- {match: {grpc: user.UserService/a/b}" OK, "routes[0].match.grpc",
	                "expected pkg."},
	        {"- {match: {grpc: user.*/Login}" OK, "routes[0].match.grpc", "expected pkg."},
	        {"- {match: {grpc: '*/*'}" OK, "routes[0].match.grpc", "expected pkg."},
	        {"- {match: {grpc: '*/Login'}" OK, "routes[0].match.grpc", "expected pkg."},
	        {"- {match: {grpc: .*/*}" OK, "routes[0].match.grpc", "expected pkg."},
	        {"- {match: {grpc: user..X/*}" OK, "routes[0].match.grpc", "expected pkg."},
	        {"- {match: {grpc: .user/*}" OK, "routes[0].match.grpc", "expected pkg."},
	        {"- {match: {grpc: user./*}" OK, "routes[0].match.grpc", "expected pkg."},
	        {"- {match: {grpc: us*.X/*}" OK, "routes[0].match.grpc", "expected pkg."},
	        {"- {match: {grpc: 'user X/*'}" OK, "routes[0].match.grpc", "expected pkg."},
	        {"- {match: {path: api}" OK, "routes[0].match.path", "begins with '/'"},
	        {"- {match: {path: /a*}" OK, "routes[0].match.path", "only at the end"},
	        {"- {match: {path: /a/../b}" OK, "routes[0].match.path", "never matched"},
	        {"- {match: {path: /a%2fb}" OK, "routes[0].match.path", "escaped slash"},
	        {"- {match: {path: /a;b}" OK, "routes[0].match.path", "parameters"},
	        {"- {match: {path: /a, hosts: ['[0:0::1]']}" OK, "routes[0].match.hosts[0]",
	                "[::1]"},
	};
	CHECK_ROWS(NAMES_ALL, rows);
}

static void identity_patterns_are_checked_where_they_stand(void **state)
{
	(void)state;
	static const struct {
		const char *names;
		struct row row;
	} rows[] = {
	        {"['spiffe://Cluster.local/*']",
	                {"- {match: {path: /*}" OK,
	                        "tls.validation_context.match_subject_alt_names[0]", "lower case"}},
	        {"['spiffe://a/*', 'spiffe://b']",
	                {"- {match: {path: /*}" OK,
	                        "tls.validation_context.match_subject_alt_names[1]", "no path"}},
	        {"['spiffe://a/*', 'b']",
	                {"- {match: {path: /*}" ALLOW("['spiffe://b/*']"),
	                        "tls.validation_context.match_subject_alt_names[1]",
	                        "begin with spiffe://"}},
	        {"['spiffe://a/*', 'spiffe://b/x']",
	                {"- {match: {path: /*}" ALLOW("['spiffe://a/ns/*', 'spiffe://b/*']"), NULL,
	                        NULL}},
	        {"['spiffe://a/*', 'spiffe://b/x']",
	                {"- {match: {path: /*}" ALLOW("['spiffe://b/x', 'spiffe://b/x/y']"),
	                        "routes[0].allow[1]", "nobody can satisfy"}},
	        {"['spiffe://a/ns/*/sa/*']",
	                {"- {match: {path: /x}" OK
	                 "- {match: {path: /*}" ALLOW("['spiffe://a/*/web', 'spiffe://c/*']"),
	                        "routes[1].allow[0]", "nobody can satisfy", 2}},
	        {"['spiffe://a/ns/*/sa/*']",
	                {"- {match: {path: /*}" ALLOW("['spiffe://a/*/web/*']"), NULL, NULL}},
	        {"['spiffe://a/*']", {"- {match: {path: /*}" ALLOW("['spiffe://a/b*']"),
	                                     "routes[0].allow[0]", "whole path segment"}},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		check_row(rows[i].names, &rows[i].row);
}

static const struct row reachability[] = {
#define TWO(first, second) "- {match: {" first "}" OK "- {match: {" second "}" OK
        {TWO("path: /a", "path: /b"), NULL, NULL},
        {TWO("path: /a", "path: /a/*"), NULL, NULL},
        {TWO("path: /a/*", "path: /a"), NULL, NULL},
        {TWO("path: /a/*", "path: /ab"), NULL, NULL},
        {TWO("path: /a/b/*", "path: /a/*"), NULL, NULL},
        {TWO("path: /a/b", "path: /*"), NULL, NULL},
        {TWO("path: /a", "path: /a"), "routes[1]", "routes[0], '/a', takes all"},
        {TWO("path: /a/*", "path: /a/b"), "routes[1]", "never reached"},
        {TWO("path: /a/*", "path: /a/"), "routes[1]", "never reached"},
        {TWO("path: /a/*", "path: /a/*"), "routes[1]", "never reached"},
        {TWO("path: /a/*", "path: /a/b/*"), "routes[1]", "never reached"},
        {TWO("path: /*", "path: /"), "routes[1]", "never reached"},
        {TWO("path: /*", "path: /a/b/c"), "routes[1]", "never reached"},
        {TWO("path: /a%3Ab", "path: '/a:b'"), "routes[1]", "never reached"},
// Several that leave nothing together.
#define THREE(first, second, third) TWO(first, second) "- {match: {" third "}" OK
        {THREE("path: /a, methods: [GET]", "path: /*, methods: [POST]",
                 "path: /a, methods: [POST, GET]"),
                "routes[2]", "those before it up to routes[1], '/*', take all"},
        {THREE("path: /a, methods: [GET]", "path: /a, methods: [POST]",
                 "path: /a, methods: [GET, PUT]"),
                NULL, NULL},
        {THREE("path: /a, methods: [GET]", "path: /a, methods: [POST]", "path: /a"), NULL, NULL},
        {THREE("path: /a, hosts: [x]", "path: /a, hosts: [y]", "path: /a, hosts: [y, x]"),
                "routes[2]", "never reached"},
        {THREE("path: /a, hosts: [x], methods: [GET]", "path: /a, hosts: [y]",
                 "path: /a, hosts: [x, y], methods: [GET, PUT]"),
                NULL, NULL},
        {THREE("grpc: a.S/M, hosts: [x]", "path: /*, hosts: [y]", "grpc: a.S/M, hosts: [x, y]"),
                "routes[2]", "never reached"},
        // gRPC among itself.
        {TWO("grpc: a.S/M", "grpc: a.S/N"), NULL, NULL},
        {TWO("grpc: a.S/M", "grpc: a.S/*"), NULL, NULL},
        {TWO("grpc: a.S/*", "grpc: a.*/*"), NULL, NULL},
        {TWO("grpc: a.*/*", "grpc: '*'"), NULL, NULL},
        {TWO("grpc: a.*/*", "grpc: a.b.S/*"), NULL, NULL},
        {TWO("grpc: a.*/*", "grpc: ab.S/*"), NULL, NULL},
        {TWO("grpc: a.*/*", "grpc: a.b.*/*"), NULL, NULL},
        {TWO("grpc: a.S/M", "grpc: a.S/M"), "routes[1]", "never reached"},
        {TWO("grpc: a.S/*", "grpc: a.S/M"), "routes[1]", "never reached"},
        {TWO("grpc: a.*/*", "grpc: a.S/M"), "routes[1]", "never reached"},
        {TWO("grpc: a.*/*", "grpc: a.S/*"), "routes[1]", "never reached"},
        {TWO("grpc: a.b.*/*", "grpc: a.b.S/*"), "routes[1]", "never reached"},
        {TWO("grpc: '*'", "grpc: a.S/M"), "routes[1]", "never reached"},
        {TWO("grpc: '*'", "grpc: a.S/*"), "routes[1]", "never reached"},
        {TWO("grpc: '*'", "grpc: a.*/*"), "routes[1]", "never reached"},
        {TWO("grpc: '*'", "grpc: '*'"), "routes[1]", "never reached"},
        {TWO("grpc: '*'", "grpc: S/M"), "routes[1]", "never reached"},
        // A gRPC route takes no plain call; a path route takes both.
        {TWO("grpc: '*'", "path: /a.S/M"), NULL, NULL},
        {TWO("grpc: a.S/M", "path: /a.S/M"), NULL, NULL},
        {TWO("path: /a.S/M", "grpc: a.S/*"), NULL, NULL},
        {TWO("path: /a.S/*", "grpc: a.*/*"), NULL, NULL},
        {TWO("path: /a.S/M", "grpc: a.S/M"), "routes[1]", "never reached"},
        {TWO("path: /a.S/*", "grpc: a.S/M"), "routes[1]", "never reached"},
        {TWO("path: /a.S/*", "grpc: a.S/*"), "routes[1]", "never reached"},
        {TWO("path: /*", "grpc: a.S/M"), "routes[1]", "never reached"},
        {TWO("path: /*", "grpc: a.S/*"), "routes[1]", "never reached"},
        {TWO("path: /*", "grpc: a.*/*"), "routes[1]", "never reached"},
        {TWO("path: /*", "grpc: '*'"), "routes[1]", "never reached"},
        // Methods.
        {TWO("path: /a, methods: [GET]", "path: /a"), NULL, NULL},
        {TWO("path: /a, methods: [GET]", "path: /a, methods: [GET, POST]"), NULL, NULL},
        {TWO("path: /*, methods: [GET]", "grpc: '*'"), NULL, NULL},
        {TWO("path: /a", "path: /a, methods: [GET]"), "routes[1]", "never reached"},
        {TWO("path: /a, methods: [PUT, GET]", "path: /a, methods: [GET]"), "routes[1]",
                "never reached"},
        {TWO("path: /*, methods: [POST]", "grpc: '*'"), "routes[1]", "never reached"},
        // Hosts.
        {TWO("path: /a, hosts: [x]", "path: /a"), NULL, NULL},
        {TWO("path: /a, hosts: [x]", "path: /a, hosts: [y]"), NULL, NULL},
        {TWO("path: /a, hosts: [x]", "path: /a, hosts: [x, y]"), NULL, NULL},
        {TWO("path: /a, hosts: [x]", "grpc: a.S/M, hosts: [x]"), NULL, NULL},
        {TWO("path: /a", "path: /a, hosts: [x]"), "routes[1]", "never reached"},
        {TWO("path: /a, hosts: [y, x]", "path: /a, hosts: [x, y]"), "routes[1]", "never reached"},
        {TWO("grpc: '*', hosts: [x]", "grpc: a.S/M, hosts: [x]"), "routes[1]", "never reached"},
        {TWO("path: /a, hosts: [x], methods: [GET]", "path: /a, hosts: [x]"), NULL, NULL},
        // Each of several is told.
        {TWO("path: /*", "path: /a") "- {match: {path: /b}" OK, "routes[1]", "never reached", 2},
#undef TWO
};

static void routes_that_nobody_reaches_are_found(void **state)
{
	(void)state;
	CHECK_ROWS(NAMES_ALL, reachability);
}

// A hand-made config, as no file gives it: the compiler trusts nobody's ceiling but its own.
static void more_than_16_limits_on_a_route_are_refused(void **state)
{
	(void)state;
	struct fixture fixture;
	struct config_rate_limit limits[17];
	fixture_parse(&fixture, NAMES_ALL, "- {match: {path: /a}" OK, "");
	fixture_fail_on_problems(&fixture);
	for (size_t i = 0; i < ARRAY_LEN(limits); i++)
		limits[i] = (struct config_rate_limit){.rate.count = 100 + i,
		        .rate.period_ns = 1000000000,
		        .burst = 100 - i,
		        .split.max_keys = 1};
	fixture.config->listeners[0].routes[0].rate_limits = limits;
	fixture.config->listeners[0].routes[0].rate_limit_count = 16;
	fixture.policy = policy_compile(fixture.config, NULL, &fixture.problems);
	assert_non_null(fixture.policy);
	policy_free(fixture.policy);
	fixture.config->listeners[0].routes[0].rate_limit_count = 17;
	fixture.policy = policy_compile(fixture.config, NULL, &fixture.problems);
	assert_null(fixture.policy);
	assert_int_equal(fixture.problems.count, 1);
	assert_true(
	        str_eq(fixture.problems.items[0].key, STR("listeners[0].routes[0].rate_limits")));
	fixture_free(&fixture);
}

// What `check` could only read in part must neither crash nor be complained of twice.
static void a_file_read_in_part_gives_no_second_hand_problems(void **state)
{
	(void)state;
	struct fixture fixture;
	struct config_route routes[3] = {{.kind = MATCH_PATH}, {.kind = MATCH_GRPC}, {0}};
	struct config_text empty[2] = {0};
	struct config_rate_limit limit = {0};
	fixture_parse(&fixture, NAMES_ALL, "- {match: {path: /a}" OK, "");
	fixture_fail_on_problems(&fixture);
	struct config_listener *listener = &fixture.config->listeners[0];
	routes[1].allow = (struct config_texts){empty, 2};
	routes[1].hosts = (struct config_texts){empty, 2};
	routes[2].rate_limits = &limit;
	routes[2].rate_limit_count = 1;
	routes[0].backend = routes[1].backend = routes[2].backend = -1;
	listener->routes = routes;
	listener->route_count = 3;
	assert_non_null(fixture.policy = policy_compile(fixture.config, NULL, &fixture.problems));
	policy_free(fixture.policy);
	listener->route_count = 0;
	listener->tls.match_subject_alt_names.count = 0;
	assert_null(fixture.policy = policy_compile(fixture.config, NULL, &fixture.problems));
	assert_int_equal(fixture.problems.count, 1);
	assert_non_null(strstr(fixture.problems.items[0].what.at, "nobody would be let in"));
	fixture_free(&fixture);
}

static void a_refused_config_leaves_the_buckets_in_force_alone(void **state)
{
	(void)state;
	struct fixture good, bad;
	struct bucket_store *store = bucket_store_new();
	fixture_compile(&good, store, NAMES_ALL,
	        "- {match: {path: /a}" LIMITS("[{rate: 1/h, burst: 3}]"), "");
	fixture_parse(&bad, NAMES_ALL,
	        "- {match: {path: /a}" LIMITS("[{rate: 1/h, burst: 1}]") "- {match: {path: /a}" OK,
	        "");
	assert_null(policy_compile(bad.config, store, &bad.problems));
	struct bucket_limit *limit = bucket_limit_get(store, STR("edge//a/rate_limits[0]"),
	        (struct bucket_rate){1, INT64_C(3600000000000), 3}, false, 0, 0);
	size_t refused_by;
	for (int call = 0; call < 4; call++)
		assert_int_equal(bucket_take_all(&(struct bucket_claim){limit, STR("")}, 1, 0,
		                         &refused_by) == 0,
		        call < 3);
	bucket_limit_unref(limit);
	fixture_free(&good);
	fixture_free(&bad);
	bucket_store_free(store);
}

static void thousands_of_routes_compile_at_once(void **state)
{
	(void)state;
	struct fixture fixture;
	struct buffer routes = {0};
	for (int i = 0; i < 3000; i++)
		buffer_printf(
		        &routes, "- {match: {path: /api/%d/*, hosts: [h%d.example]}" OK, i, i % 7);
	buffer_append(&routes, "", 1);
	fixture_compile(&fixture, NULL, NAMES_ALL, buffer_data(&routes), "");
	fixture_free(&fixture);
	buffer_fini(&routes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(patterns_of_routes_are_checked_where_they_stand),
	        cmocka_unit_test(identity_patterns_are_checked_where_they_stand),
	        cmocka_unit_test(routes_that_nobody_reaches_are_found),
	        cmocka_unit_test(more_than_16_limits_on_a_route_are_refused),
	        cmocka_unit_test(a_file_read_in_part_gives_no_second_hand_problems),
	        cmocka_unit_test(a_refused_config_leaves_the_buckets_in_force_alone),
	        cmocka_unit_test(thousands_of_routes_compile_at_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
