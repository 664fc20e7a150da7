#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/check.h"
#include "policy/path.h"

struct row {
	struct str target;
	const char *path, *matched;  // NULL: refused
};

static const struct row targets[] = {
        {STR("/"), "/", "/"},
        {STR("/a"), "/a", "/a"},
        {STR("/a/"), "/a/", "/a/"},
        {STR("/a/b?c=d"), "/a/b", "/a/b"},
        // Dot segments and repeated slashes.
        {STR("//"), "/", "/"},
        {STR("//a"), "/a", "/a"},
        {STR("/a//b///c"), "/a/b/c", "/a/b/c"},
        {STR("/a//"), "/a/", "/a/"},
        {STR("/."), "/", "/"},
        {STR("/./a"), "/a", "/a"},
        {STR("/a/."), "/a/", "/a/"},
        {STR("/a/./b"), "/a/b", "/a/b"},
        {STR("/a/.."), "/", "/"},
        {STR("/a/../"), "/", "/"},
        {STR("/a/../b"), "/b", "/b"},
        {STR("/a/b/.."), "/a/", "/a/"},
        {STR("/a/b/../c"), "/a/c", "/a/c"},
        {STR("/a/b/../../c"), "/c", "/c"},
        {STR("/a//../b"), "/b", "/b"},
        {STR("/a/..."), "/a/...", "/a/..."},
        {STR("/..a/b"), "/..a/b", "/..a/b"},
        {STR("/.a"), "/.a", "/.a"},
        {STR("/a."), "/a.", "/a."},
        {STR("/a/..b/.."), "/a/", "/a/"},
        // Climbing above the root.
        {STR("/.."), NULL, NULL},
        {STR("/../a"), NULL, NULL},
        {STR("/a/../.."), NULL, NULL},
        {STR("/a/../../b"), NULL, NULL},
        {STR("//.."), NULL, NULL},
        {STR("/./.."), NULL, NULL},
        // Escapes.
        {STR("/%61"), "/a", "/a"},
        {STR("/%7Euser/%2d%5F"), "/~user/-_", "/~user/-_"},
        {STR("/a%2eb"), "/a.b", "/a.b"},
        {STR("/%c3%a4"), "/%C3%A4", "/\xc3\xa4"},
        {STR("/a%20b"), "/a%20b", "/a b"},
        {STR("/users%3aexport"), "/users%3Aexport", "/users:export"},
        {STR("/users:export"), "/users:export", "/users:export"},
        {STR("/a%21b"), "/a%21b", "/a!b"},
        {STR("/a%3Fb"), "/a%3Fb", "/a?b"},
        {STR("/a%23b"), "/a%23b", "/a#b"},
        {STR("/a%25b"), "/a%25b", "/a%b"},
        {STR("/%252e%252e/a"), "/%252e%252e/a", "/%2e%2e/a"},
        {STR("/%252F"), "/%252F", "/%2F"},
        {STR("/%"), NULL, NULL},
        {STR("/%2"), NULL, NULL},
        {STR("/%zz"), NULL, NULL},
        {STR("/%4"), NULL, NULL},
        {STR("/%4/1"), NULL, NULL},
        {STR("/%4g"), NULL, NULL},
        {STR("/%u0041"), NULL, NULL},
        {STR("/a%2Fb"), NULL, NULL},
        {STR("/a%2fb"), NULL, NULL},
        {STR("/a%5Cb"), NULL, NULL},
        {STR("/a%5cb"), NULL, NULL},
        {STR("/a%00b"), NULL, NULL},
        {STR("/a%00"), NULL, NULL},
        {STR("/a%0d%0ab"), NULL, NULL},
        {STR("/a%09b"), NULL, NULL},
        {STR("/a%1fb"), NULL, NULL},
        {STR("/a%7Fb"), NULL, NULL},
        // UTF-8 longer than it need be; the same bytes elsewhere are Latin-1 or good UTF-8.
        {STR("/%c0%ae%c0%ae/a"), NULL, NULL},
        {STR("/a%C0%AFb"), NULL, NULL},
        {STR("/a%c1%9cb"), NULL, NULL},
        {STR("/a%e0%80%afb"), NULL, NULL},
        {STR("/a%F0%80%80%AFb"), NULL, NULL},
        {STR("/%c0%20"), "/%C0%20", "/\xc0 "},
        {STR("/%c0"), "/%C0", "/\xc0"},
        {STR("/%e0%a0%80"), "/%E0%A0%80", "/\xe0\xa0\x80"},
        {STR("/%f0%9f%98%80"), "/%F0%9F%98%80", "/\xf0\x9f\x98\x80"},
        // Escaped dot segments.
        {STR("/%2e"), NULL, NULL},
        {STR("/a/%2e/b"), NULL, NULL},
        {STR("/a/%2e%2e/b"), NULL, NULL},
        {STR("/a/%2E%2e/b"), NULL, NULL},
        {STR("/a/.%2e/b"), NULL, NULL},
        {STR("/a/%2e./b"), NULL, NULL},
        {STR("/a/b/%2e%2e"), NULL, NULL},
        {STR("/%2e%2e%2e"), "/...", "/..."},
        // Parameters.
        {STR("/a;v=1"), "/a;v=1", "/a"},
        {STR("/a;v=1/b;w"), "/a;v=1/b;w", "/a/b"},
        {STR("/;x/a"), "/;x/a", "/a"},
        {STR("/a/;x"), "/a/;x", "/a/"},
        {STR("/;"), "/;", "/"},
        {STR("/a%3Bb"), "/a%3Bb", "/a;b"},
        {STR("/a;%3Bb"), "/a;%3Bb", "/a"},
        {STR("/a;%62"), "/a;b", "/a"},
        {STR("/..;/a"), NULL, NULL},
        {STR("/a/..;/b"), NULL, NULL},
        {STR("/a/..;x=1/b"), NULL, NULL},
        {STR("/a/.;x/b"), NULL, NULL},
        {STR("/a/%2e%2e;x/b"), NULL, NULL},
        {STR("/a/..%3bx/b"), NULL, NULL},
        {STR("/a/..."
             ";x"),
                "/a/...;x", "/a/..."},
        // Bytes that never stand in a target.
        {STR(""), NULL, NULL},
        {{NULL, 0}, NULL, NULL},
        {STR("*"), NULL, NULL},
        {STR("a/b"), NULL, NULL},
        {STR("?a"), NULL, NULL},
        {STR("http://host/a"), NULL, NULL},
        {STR("\\a"), NULL, NULL},
        {STR("/a\\b"), NULL, NULL},
        {STR("/a\\..\\b"), NULL, NULL},
        {STR("/a#b"), NULL, NULL},
        {STR("/a b"), NULL, NULL},
        {STR("/a\tb"), NULL, NULL},
        {STR("/a\r\nb"), NULL, NULL},
        {STR("/a\0b"), NULL, NULL},
        {STR("/a\x7f"), NULL, NULL},
        {STR("/\xc3\xa4"), NULL, NULL},
};

static void normal_form_is_what_goes_upstream_and_matched_form_what_it_means(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
		struct arena arena = {0};
		struct path path;
		const char *why = NULL;
		bool valid = path_normalise(targets[i].target, &arena, &path, &why);
		if (valid != (targets[i].path != NULL))
			fail_msg("row %zu: %s", i, why ? why : "not refused");
		assert_int_equal(why == NULL, valid);
		if (valid && !str_eq(path.path, str_from(targets[i].path)))
			fail_msg("%s: %.*s", targets[i].target.at, STR_FMT(path.path));
		struct str matched = valid ? path_as_matched(path.path, &arena) : STR("");
		if (valid && !str_eq(matched, str_from(targets[i].matched)))
			fail_msg("%s means %.*s", targets[i].target.at, STR_FMT(matched));
		arena_fini(&arena);
	}
}

static void queries_pass_as_they_are_but_for_forbidden_bytes(void **state)
{
	(void)state;
	static const struct {
		struct str target;
		const char *query;  // NULL: refused
	} rows[] = {
	        {STR("/a"), ""},
	        {STR("/a?"), "?"},
	        {STR("/a?x=%2F%zz&y=/../\\;"), "?x=%2F%zz&y=/../\\;"},
	        {STR("/a?b?c"), "?b?c"},
	        {STR("/a?b#c"), NULL},
	        {STR("/a?b c"), NULL},
	        {STR("/a?b\nc"), NULL},
	        {STR("/a?\0"), NULL},
	        {STR("/a?\xff"), NULL},
	        {STR("/a?\x7f"), NULL},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct arena arena = {0};
		struct path path;
		const char *why;
		bool valid = path_normalise(rows[i].target, &arena, &path, &why);
		assert_int_equal(valid, rows[i].query != NULL);
		if (valid)
			assert_true(str_eq(path.query, str_from(rows[i].query)));
		arena_fini(&arena);
	}
}

// Whatever the bytes: a normalised path normalises to itself and means the same, has no segment
// that climbs, and no byte that is not printable ASCII.
static void normalising_hostile_bytes_is_final(void **state)
{
	(void)state;
	static const char *const pieces[] = {"/", "/", "..", ".", "%2e", "%2E", ";", "%3b", "%",
	        "%25", "2e", "a", "b", "%41", "//", "\\", "%c3", ":", "%2f", "*"};
	uint32_t seed = 20261123;
	for (int round = 0; round < 20000; round++) {
		struct arena arena = {0};
		struct path path, again;
		const char *why;
		char target[128] = "/";
		size_t len = 1;
		for (int piece = 0; piece < 12; piece++) {
			seed = seed * 1664525 + 1013904223;
			const char *text = pieces[(seed >> 16) % ARRAY_LEN(pieces)];
			memcpy(target + len, text, strlen(text));
			len += strlen(text);
		}
		if (path_normalise(str_of(target, len), &arena, &path, &why)) {
			assert_true(path.path.len <= len && path.path.at[0] == '/');
			assert_null(memmem(path.path.at, path.path.len, "//", 2));
			assert_null(memmem(path.path.at, path.path.len, "/../", 4));
			assert_null(memmem(path.path.at, path.path.len, "/./", 3));
			assert_false(str_ends(path.path, STR("/..")));
			assert_true(path_normalise(path.path, &arena, &again, &why));
			assert_true(str_eq(path.path, again.path));
		}
		arena_fini(&arena);
	}
}

static void a_path_of_60_kib_is_no_trouble(void **state)
{
	(void)state;
	enum { LEN = 60 * 1024 };
	static const char *const pieces[] = {"/a", "//", "/./", "/a/../", "/%41", "/;x"};
	char *target = malloc(LEN);
	for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
		struct arena arena = {0};
		struct path path;
		const char *why;
		size_t size = strlen(pieces[i]);
		for (size_t at = 0; at + size <= LEN; at += size)
			memcpy(target + at, pieces[i], size);
		assert_true(path_normalise(str_of(target, LEN / size * size), &arena, &path, &why));
		assert_true(path_as_matched(path.path, &arena).len <= LEN);
		arena_fini(&arena);
	}
	free(target);
}

static void patterns_are_exact_or_end_in_a_star(void **state)
{
	(void)state;
	static const struct {
		const char *pattern;
		const char *prefix;  // NULL: not valid
	} rows[] = {
	        {"/", ""},
	        {"/healthz", ""},
	        {"/api/v1", ""},
	        {"/api/", ""},
	        {"/api/*", "/api/"},
	        {"/*", "/"},
	        {"/a%20b/*", "/a%20b/"},
	        {"/a%2Ab", ""},
	        {"/a%3Bb", ""},
	        {"", NULL},
	        {"*", NULL},
	        {"api", NULL},
	        {"/api*", NULL},
	        {"/a/*/b", NULL},
	        {"/*/*", NULL},
	        {"/**", NULL},
	        {"/a?b", NULL},
	        {"/a?b/*", NULL},
	        {"/a#b", NULL},
	        {"/a;b", NULL},
	        {"/a//b", NULL},
	        {"//*", NULL},
	        {"/a/../b", NULL},
	        {"/../*", NULL},
	        {"/./a", NULL},
	        {"/%61", NULL},
	        {"/a%c3%a4", NULL},
	        {"/a%2Fb", NULL},
	        {"/a b", NULL},
	        {"/a\\b", NULL},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct str pattern = str_from(rows[i].pattern);
		const char *why;
		if (path_pattern_valid(pattern, &why) != (rows[i].prefix != NULL))
			fail_msg("%s: %s", rows[i].pattern, why ? why : "not refused");
		if (rows[i].prefix)
			assert_true(str_eq(path_pattern_prefix(pattern), str_from(rows[i].prefix)));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(normal_form_is_what_goes_upstream_and_matched_form_what_it_means),
	        cmocka_unit_test(queries_pass_as_they_are_but_for_forbidden_bytes),
	        cmocka_unit_test(normalising_hostile_bytes_is_final),
	        cmocka_unit_test(a_path_of_60_kib_is_no_trouble),
	        cmocka_unit_test(patterns_are_exact_or_end_in_a_star),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
