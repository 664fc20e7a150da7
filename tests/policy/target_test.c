#include "policy/path.h"
#include "tests/policy/policy_fixture.h"

static void what_stands_below_a_prefix(void **state)
{
	(void)state;
	static const struct {
		const char *target, *prefix, *below;
	} rows[] = {
	        {"/api/x", "/api/", "/x"},
	        {"/api/", "/api/", "/"},
	        {"/api/x/y/", "/api/", "/x/y/"},
	        {"/%61pi/x", "/api/", "/x"},
	        {"/api;v=1/x;w=2", "/api/", "/x;w=2"},
	        {"/;a/api/x", "/api/", "/x"},
	        {"/;a/api/;b/x", "/api/", "/;b/x"},
	        {"/api/;b", "/api/", "/;b"},
	        {"/api//x", "/api/", "/x"},
	        {"/api/a%20b", "/api/", "/a%20b"},
	        {"/a/../api/./x", "/api/", "/x"},
	        {"/a%20b/c/x", "/a%20b/c/", "/x"},
	        {"/", "/", "/"},
	        {"/x", "/", "/x"},
	        {"/;a/x", "/", "/;a/x"},
	        {"/a/b/c/d", "/a/b/", "/c/d"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct arena arena = {0};
		struct path path, again;
		const char *why;
		assert_true(path_normalise(str_from(rows[i].target), &arena, &path, &why));
		struct str prefix = str_from(rows[i].prefix);
		assert_true(str_starts(
		        path_as_matched(path.path, &arena), path_as_matched(prefix, &arena)));
		struct str below = path_below(path.path, prefix);
		if (!str_eq(below, str_from(rows[i].below)))
			fail_msg("%s below %s: %.*s", rows[i].target, rows[i].prefix,
			        STR_FMT(below));
		// Whatever valid path stands before it, the whole is normalised.
		struct str whole = arena_join(&arena, (struct str[]){STR("/v%202"), below}, 2);
		assert_true(path_normalise(whole, &arena, &again, &why));
		assert_true(str_eq(again.path, whole));
		arena_fini(&arena);
	}
}

#define REDIRECT(match, target)                                                                    \
	"- {match: {" match "}, redirect: {" target "}}\n- {match: {path: /b}, backend: b}"
#define REWRITE(match, target) "- {match: {" match "}, backend: b, rewrite: {" target "}}"

static const struct {
	const char *route, *key, *what;  // without key nothing is wrong
} rows[] = {
        {REWRITE("path: /api/*", "prefix: /v2"), NULL, NULL},
        {REWRITE("path: /api/*", "prefix: /v2/"), NULL, NULL},
        {REWRITE("path: /api/*", "prefix: /"), NULL, NULL},
        {REWRITE("path: /*", "prefix: /v2, host: 'b.example:8080'"), NULL, NULL},
        {REWRITE("path: /api/*", "path: /api/x"), NULL, NULL},
        {REWRITE("path: /api", "path: /a%20b"), NULL, NULL},
        {REWRITE("grpc: a.B/*", "host: '[::1]:80'"), NULL, NULL},
        {REWRITE("path: /api/*", ""), "rewrite", "changes nothing; expected prefix, path or host"},
        {REWRITE("path: /api/*", "prefix: /a, path: /b"), "rewrite.path", "stands beside prefix"},
        {REWRITE("path: /api/*", "prefix: v2"), "rewrite.prefix", "does not begin with '/'"},
        {REWRITE("path: /api/*", "prefix: /v2/*"), "rewrite.prefix",
                "found '/v2/*', but '*' stands for nothing here"},
        {REWRITE("path: /api/*", "prefix: '/v2?x=y'"), "rewrite.prefix", "the query is the one"},
        {REWRITE("path: /api/*", "prefix: '/v2#x'"), "rewrite.prefix", "holds a fragment"},
        {REWRITE("path: /api/*", "prefix: /v/../2"), "rewrite.prefix", "leave out dot segments"},
        {REWRITE("path: /api/*", "prefix: //v2"), "rewrite.prefix", "double slashes"},
        {REWRITE("path: /api/*", "path: /v%2f2"), "rewrite.path", "an escaped slash"},
        {REWRITE("path: /api/*", "path: /%2e%2e/x"), "rewrite.path", "escaped dot segment"},
        {REWRITE("path: /api/*", "path: /../x"), "rewrite.path", "climbs above the root"},
        {REWRITE("path: /api/*", "path: /%61"), "rewrite.path", "needless escapes"},
        {REWRITE("path: /api/*", "path: '/a b'"), "rewrite.path", "a space or control byte"},
        {REWRITE("path: /api/*", "path: \"/a\\r\\nX: y\""), "rewrite.path", "expected a path"},
        {REWRITE("path: /api", "prefix: /v2"), "rewrite.prefix", "the route matches no prefix"},
        {REWRITE("grpc: a.B/*", "prefix: /v2"), "rewrite.prefix", "the route matches no prefix"},
        {REWRITE("grpc: a.B/*", "path: /c.D/E"), "rewrite.path", "another method of a gRPC call"},
        {REWRITE("path: /api/*", "prefix: /api"), "rewrite.prefix", "can have no effect"},
        {REWRITE("path: /api/*", "prefix: /api/"), "rewrite.prefix", "can have no effect"},
        {REWRITE("path: /*", "prefix: /"), "rewrite.prefix", "can have no effect"},
        {REWRITE("path: /api", "path: /api"), "rewrite.path", "can have no effect"},
        {REWRITE("path: /api", "host: 'a b'"), "rewrite.host", "which is no host"},
        {REWRITE("path: /api", "host: 'a:'"), "rewrite.host", "which is no host"},
        {REWRITE("path: /api", "host: 'a:99999'"), "rewrite.host", "which is no host"},
        {REWRITE("path: /api", "host: 'u@a'"), "rewrite.host", "which is no host"},
        {REWRITE("path: /api", "host: 'https://a'"), "rewrite.host", "which is no host"},
        {REWRITE("path: /api", "host: \"a\\r\\nX: y\""), "rewrite.host", "expected a host"},
        {REDIRECT("path: /old", "path: /new"), NULL, NULL},
        {REDIRECT("path: /old/*", "prefix: /new, status: 308"), NULL, NULL},
        {REDIRECT("path: /c/*", "host: new.example"), NULL, NULL},
        {REDIRECT("path: /old/*, hosts: [a.example]", "host: 'b.example:8443'"), NULL, NULL},
        {REDIRECT("path: /old/*", "host: new.example, path: /old/x"), NULL, NULL},
        {REDIRECT("path: /old", ""), "redirect", "leads back to where it came from"},
        {REDIRECT("path: /old", "status: 301"), "redirect", "leads back to where it came from"},
        {REDIRECT("path: /old", "path: /new, status: 304"), "redirect.status",
                "found 304, which redirects nobody; expected 301, 302, 303, 307 or 308"},
        {REDIRECT("path: /old", "path: /new, status: 200"), "redirect.status", "from 300 to 399"},
        {REDIRECT("path: /old", "path: /old"), "redirect.path", "leads back to this route"},
        {REDIRECT("path: /old/*", "path: /old/x"), "redirect.path", "leads back to this route"},
        {REDIRECT("path: /old/*", "path: '/old;v/x'"), "redirect.path", "back to this route"},
        {REDIRECT("path: /old/*", "prefix: /old"), "redirect.prefix", "leads back to this route"},
        {REDIRECT("path: /old/*", "prefix: /old/x"), "redirect.prefix", "leads back to this route"},
        {REDIRECT("path: /old/*, hosts: [a.example, b.example]", "host: B.example"),
                "redirect.host", "leads back to this route"},
        {REDIRECT("path: /old/*, hosts: [a.example]", "host: a.example, prefix: /old/x"),
                "redirect.prefix", "leads back to this route"},
        {REDIRECT("path: /old", "prefix: /new"), "redirect.prefix", "matches no prefix"},
        {REDIRECT("path: /old", "path: '/new?x'"), "redirect.path", "the query is the one"},
        {REDIRECT("path: /old", "host: 'a/b'"), "redirect.host", "which is no host"},
        {REDIRECT("grpc: a.B/*", "host: a"), "redirect", "gRPC callers follow none"},
        {"- {match: {path: /a}, respond: {}, redirect: {path: /c}}\n- {match: {path: /b}, backend: "
         "b}",
                "redirect",
                "stands beside respond; expected one of backend, backends, respond and redirect"},
        {"- {match: {path: /a}, backend: b, redirect: {path: /c}}", "redirect",
                "stands beside backend"},
        {"- {match: {path: /a}, redirect: {path: /c}, rewrite: {path: /d}}\n- {match: {path: /b}, "
         "backend: b}",
                "rewrite", "can have no effect beside redirect; expected it left out"},
        {"- {match: {path: /a}, redirect: {path: /c}, timeout: 3s}\n- {match: {path: /b}, "
         "backend: b}",
                "timeout", "can have no effect beside redirect; expected it left out"},
};

static void check_row(size_t index)
{
	struct fixture fixture;
	fixture_parse(&fixture, NAMES_ALL, rows[index].route,
	        "backends: [{name: b, endpoints: ['127.0.0.1:1']}]\n");
	if (fixture.config)
		fixture.policy = policy_compile(fixture.config, NULL, &fixture.problems);
	const struct config_problem *problem = fixture.problems.items;
	char key[128];
	snprintf(key, sizeof(key), "listeners[0].routes[0].%s", rows[index].key);
	if (fixture.problems.count != (rows[index].key != NULL) ||
	        (problem && (!str_eq(problem->key, str_from(key)) ||
	                            !strstr(problem->what.at, rows[index].what)))) {
		config_problems_print(&fixture.problems, 2);
		fail_msg("%s: expected %s: %s", rows[index].route, key,
		        rows[index].what ? rows[index].what : "nothing");
	}
	fixture_free(&fixture);
}

static void targets_are_checked_where_they_stand(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		check_row(i);
}

static void a_dump_reads_back_the_same(void **state)
{
	(void)state;
	struct fixture fixture, again;
	struct buffer first = {0}, second = {0};
	fixture_parse(&fixture, NAMES_ALL,
	        "- {match: {path: /a/*}, redirect: {prefix: /c}}\n"
	        "- {match: {path: /b}, backend: b, rewrite: {path: /d, host: 'e:1'}}",
	        "backends: [{name: b, endpoints: ['127.0.0.1:1']}]\n");
	fixture_fail_on_problems(&fixture);
	config_dump(fixture.config, &first);
	assert_non_null(memmem(buffer_data(&first), buffer_len(&first), "status: 302\n", 12));
	assert_null(memmem(buffer_data(&first), buffer_len(&first), "respond", 7));
	again = (struct fixture){0};
	again.config = config_parse(buffer_str(&first), "dump.yaml", "/etc", &again.problems);
	fixture_fail_on_problems(&again);
	config_dump(again.config, &second);
	assert_int_equal(buffer_len(&first), buffer_len(&second));
	assert_memory_equal(buffer_data(&first), buffer_data(&second), buffer_len(&first));
	buffer_fini(&first);
	buffer_fini(&second);
	fixture_free(&fixture);
	fixture_free(&again);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(what_stands_below_a_prefix),
	        cmocka_unit_test(targets_are_checked_where_they_stand),
	        cmocka_unit_test(a_dump_reads_back_the_same),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
