#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/check.h"
#include "policy/spiffe.h"

static void valid_ids_are_taken_apart(void **state)
{
	(void)state;
	static const struct {
		struct str text, trust_domain, path;
	} rows[] = {
	        {STR("spiffe://cluster.local/ns/web/sa/cart"), STR("cluster.local"),
	                STR("/ns/web/sa/cart")},
	        {STR("spiffe://a/b"), STR("a"), STR("/b")},
	        {STR("spiffe://a_b-c.1/X.y_z-9"), STR("a_b-c.1"), STR("/X.y_z-9")},
	        {STR("spiffe://cluster.local/..."), STR("cluster.local"), STR("/...")},
	        {STR("spiffe://cluster.local/.hidden/a..b"), STR("cluster.local"),
	                STR("/.hidden/a..b")},
	        {STR("spiffe://1.2.3.4/x"), STR("1.2.3.4"), STR("/x")},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct spiffe_id id;
		const char *why;
		assert_true(spiffe_id_parse(rows[i].text, &id, &why));
		assert_true(str_eq(id.text, rows[i].text));
		assert_true(str_eq(id.trust_domain, rows[i].trust_domain));
		assert_true(str_eq(id.path, rows[i].path));
	}
}

static void malformed_ids_are_refused_and_say_why(void **state)
{
	(void)state;
	static const struct {
		struct str text;
		const char *why;
	} rows[] = {
	        {STR(""), "begin with"},
	        {STR("spiffe:"), "begin with"},
	        {STR("spiffe:/a/b"), "begin with"},
	        {STR("SPIFFE://a/b"), "begin with"},
	        {STR("Spiffe://a/b"), "begin with"},
	        {STR("https://a/b"), "begin with"},
	        {STR(" spiffe://a/b"), "begin with"},
	        {STR("spiffe:///b"), "trust domain is empty"},
	        {STR("spiffe://"), "trust domain is empty"},
	        {STR("spiffe://cluster.local"), "no path"},
	        {STR("spiffe://cluster.local/"), "empty segment"},
	        {STR("spiffe://cluster.local/a/"), "trailing slash"},
	        {STR("spiffe://cluster.local//a"), "empty segment"},
	        {STR("spiffe://cluster.local/a//b"), "empty segment"},
	        {STR("spiffe://cluster.local/."), "dot segment"},
	        {STR("spiffe://cluster.local/a/.."), "dot segment"},
	        {STR("spiffe://cluster.local/../a"), "dot segment"},
	        {STR("spiffe://Cluster.local/a"), "lower case"},
	        {STR("spiffe://cluster.local:8443/a"), "port"},
	        {STR("spiffe://user@cluster.local/a"), "user information"},
	        {STR("spiffe://cluster%2elocal/a"), "percent"},
	        {STR("spiffe://cluster.local?x/a"), "query"},
	        {STR("spiffe://cluster.local#x/a"), "fragment"},
	        {STR("spiffe://[::1]/a"), "only a-z"},
	        {STR("spiffe://cluster local/a"), "only a-z"},
	        {STR("spiffe://cl\xc3\xbcster/a"), "only a-z"},
	        {STR("spiffe://cluster.local\0/a"), "only a-z"},
	        {STR("spiffe://*/a"), "literal"},
	        {STR("spiffe://cluster.local/a?x=1"), "query"},
	        {STR("spiffe://cluster.local/a#x"), "fragment"},
	        {STR("spiffe://cluster.local/%61"), "percent"},
	        {STR("spiffe://cluster.local/a b"), "segment may hold"},
	        {STR("spiffe://cluster.local/a\0"), "segment may hold"},
	        {STR("spiffe://cluster.local/a\0/b"), "segment may hold"},
	        {STR("spiffe://cluster.local/a\r\nb"), "segment may hold"},
	        {STR("spiffe://cluster.local/a:b"), "segment may hold"},
	        {STR("spiffe://cluster.local/a~b"), "segment may hold"},
	        {STR("spiffe://cluster.local/a;b"), "segment may hold"},
	        {STR("spiffe://cluster.local/a\\b"), "segment may hold"},
	        {STR("spiffe://cluster.local/\xc3\xa4"), "segment may hold"},
	        {STR("spiffe://cluster.local/\x7f"), "segment may hold"},
	        {STR("spiffe://cluster.local/*"), "whole path segment of a pattern"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct spiffe_id id;
		const char *why = NULL;
		assert_false(spiffe_id_parse(rows[i].text, &id, &why));
		assert_non_null(why);
		if (!strstr(why, rows[i].why))
			fail_msg("%s: %s", rows[i].text.at, why);
	}
}

// An ID with a path of one segment, so long that the whole has `len` bytes.
static struct str long_id(char *text, size_t domain_len, size_t len)
{
	memcpy(text, "spiffe://", 9);
	memset(text + 9, 'd', domain_len);
	text[9 + domain_len] = '/';
	memset(text + 10 + domain_len, 'p', len - 10 - domain_len);
	return str_of(text, len);
}

static void lengths_are_bounded_to_the_byte(void **state)
{
	(void)state;
	static const struct {
		size_t domain_len, len;
		bool valid;
	} rows[] = {
	        {13, 2047, true},
	        {13, 2048, true},
	        {13, 2049, false},
	        {13, 60000, false},
	        {255, 300, true},
	        {256, 300, false},
	        {255, 2048, true},
	};
	char *text = malloc(60000);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct spiffe_id id;
		const char *why;
		struct str whole = long_id(text, rows[i].domain_len, rows[i].len);
		assert_int_equal(spiffe_id_parse(whole, &id, &why), rows[i].valid);
	}
	free(text);
}

// Of every byte, in the trust domain and in a segment, exactly those of the grammar are taken.
static void every_byte_is_judged_by_the_grammar(void **state)
{
	(void)state;
	static const char domain_bytes[] = "abcdefghijklmnopqrstuvwxyz0123456789._-/";
	static const char path_bytes[] =
	        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/";
	for (int byte = 0; byte < 256; byte++) {
		char text[] = "spiffe://aXb/cYd";
		struct spiffe_id id;
		const char *why;
		text[10] = (char)byte;
		text[14] = 'y';
		bool in_domain = memchr(domain_bytes, byte, sizeof(domain_bytes) - 1);
		assert_int_equal(spiffe_id_parse(str_of(text, 16), &id, &why), in_domain);
		text[10] = 'x';
		text[14] = (char)byte;
		bool in_path = memchr(path_bytes, byte, sizeof(path_bytes) - 1);
		assert_int_equal(spiffe_id_parse(str_of(text, 16), &id, &why), in_path);
	}
}

static void patterns_take_whole_star_segments_alone(void **state)
{
	(void)state;
	static const struct {
		struct str text;
		bool valid;
	} rows[] = {
	        {STR("spiffe://cluster.local/*"), true},
	        {STR("spiffe://cluster.local/ns/*/sa/*"), true},
	        {STR("spiffe://cluster.local/*/*"), true},
	        {STR("spiffe://cluster.local/ns/web/sa/cart"), true},
	        {STR("spiffe://cluster.local"), false},
	        {STR("spiffe://cluster.local/"), false},
	        {STR("spiffe://*/ns/web"), false},
	        {STR("spiffe://*.local/ns/web"), false},
	        {STR("spiffe://cluster.local/ns/web*"), false},
	        {STR("spiffe://cluster.local/ns/*web"), false},
	        {STR("spiffe://cluster.local/**"), false},
	        {STR("spiffe://cluster.local/*/"), false},
	        {STR("spiffe://cluster.local/ns/.."), false},
	        {STR("spiffe://cluster.local/ns/?"), false},
	        {STR("cluster.local/*"), false},
	        {STR("*"), false},
	        {STR(""), false},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct spiffe_pattern pattern;
		const char *why = NULL;
		assert_int_equal(spiffe_pattern_parse(rows[i].text, &pattern, &why), rows[i].valid);
		assert_int_equal(why == NULL, rows[i].valid);
	}
}

static struct spiffe_pattern pattern_of(const char *path)
{
	static char texts[64][128];
	static size_t next;
	char *text = texts[next++ % ARRAY_LEN(texts)];
	struct spiffe_pattern pattern;
	const char *why;
	snprintf(text, sizeof(texts[0]), "%s%s",
	        *path == '/' ? "spiffe://cluster.local" : "spiffe://", path);
	if (!spiffe_pattern_parse(str_from(text), &pattern, &why))
		fail_msg("%s: %s", text, why);
	return pattern;
}

static bool matches(const struct spiffe_pattern *pattern, const char *id_text)
{
	struct spiffe_id id;
	const char *why;
	assert_true(spiffe_id_parse(str_from(id_text), &id, &why));
	return spiffe_pattern_match(pattern, &id);
}

static void patterns_match_segment_by_segment(void **state)
{
	(void)state;
	static const struct {
		const char *pattern, *id;
		bool matches;
	} rows[] = {
	        {"/*", "spiffe://cluster.local/a", true},
	        {"/*", "spiffe://cluster.local/a/b/c/d", true},
	        {"/*", "spiffe://cluster.local.evil/a", false},
	        {"/*", "spiffe://cluster.loca/a", false},
	        {"/*", "spiffe://xcluster.local/a", false},
	        {"/ns/web", "spiffe://cluster.local/ns/web", true},
	        {"/ns/web", "spiffe://cluster.local/ns/web2", false},
	        {"/ns/web", "spiffe://cluster.local/ns/we", false},
	        {"/ns/web", "spiffe://cluster.local/ns/web/sa", false},
	        {"/ns/web", "spiffe://cluster.local/ns", false},
	        {"/ns/web/*", "spiffe://cluster.local/ns/web/sa", true},
	        {"/ns/web/*", "spiffe://cluster.local/ns/web/sa/cart", true},
	        {"/ns/web/*", "spiffe://cluster.local/ns/web", false},
	        {"/ns/web/*", "spiffe://cluster.local/ns/web2/sa", false},
	        {"/ns/web/*", "spiffe://cluster.local/ns/webby", false},
	        {"/ns/web/*", "spiffe://cluster.local/x/ns/web/sa", false},
	        {"/ns/*/sa/cart", "spiffe://cluster.local/ns/web/sa/cart", true},
	        {"/ns/*/sa/cart", "spiffe://cluster.local/ns/web/x/sa/cart", false},
	        {"/ns/*/sa/cart", "spiffe://cluster.local/ns/sa/cart", false},
	        {"/ns/*/sa/*", "spiffe://cluster.local/ns/web/sa/cart/v1", true},
	        {"/ns/*/sa/*", "spiffe://cluster.local/ns/web/sa", false},
	        {"/*/*", "spiffe://cluster.local/a", false},
	        {"/*/*", "spiffe://cluster.local/a/b", true},
	        {"/*/*", "spiffe://cluster.local/a/b/c", true},
	        {"/*/x", "spiffe://cluster.local/a/x", true},
	        {"/*/x", "spiffe://cluster.local/a/b/x", false},
	        {"/NS/web", "spiffe://cluster.local/ns/web", false},
	        {"other.domain/*", "spiffe://cluster.local/a", false},
	        {"local/*", "spiffe://cluster.local/a", false},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct spiffe_pattern pattern = pattern_of(rows[i].pattern);
		if (matches(&pattern, rows[i].id) != rows[i].matches)
			fail_msg("%s on %s", rows[i].pattern, rows[i].id);
	}
}

// Small worlds: every pattern and every ID over two words and `*`, up to three segments.
enum { WORLD_MAX = 64, DEPTH_MAX = 4 };

static size_t world(const char *const *words, size_t word_count, size_t depth, char texts[][64])
{
	size_t count = 0, from = 0;
	snprintf(texts[count++], 64, "spiffe://d");
	for (size_t level = 0; level < depth; level++) {
		size_t until = count;
		for (; from < until; from++)
			for (size_t w = 0; w < word_count; w++)
				snprintf(texts[count++], 64, "%.40s/%s", texts[from], words[w]);
	}
	memmove(texts[0], texts[1], --count * 64);
	return count;
}

// Covering and overlapping are what matching says over all IDs one segment deeper than any pattern.
static void covering_and_overlapping_agree_with_matching(void **state)
{
	(void)state;
	static char pattern_texts[WORLD_MAX][64], id_texts[4 * WORLD_MAX][64];
	static struct spiffe_pattern patterns[WORLD_MAX];
	static bool match[WORLD_MAX][4 * WORLD_MAX];
	size_t pattern_count = world((const char *[]){"a", "b", "*"}, 3, 3, pattern_texts);
	size_t id_count = world((const char *[]){"a", "b", "c"}, 3, DEPTH_MAX, id_texts);
	for (size_t p = 0; p < pattern_count; p++) {
		const char *why;
		assert_true(spiffe_pattern_parse(str_from(pattern_texts[p]), &patterns[p], &why));
		for (size_t i = 0; i < id_count; i++)
			match[p][i] = matches(&patterns[p], id_texts[i]);
	}
	for (size_t a = 0; a < pattern_count; a++)
		for (size_t b = 0; b < pattern_count; b++) {
			bool covers = true, overlaps = false;
			for (size_t i = 0; i < id_count; i++) {
				covers = covers && (match[a][i] || !match[b][i]);
				overlaps = overlaps || (match[a][i] && match[b][i]);
			}
			if (spiffe_pattern_covers(&patterns[a], &patterns[b]) != covers)
				fail_msg("covers: %s, %s", pattern_texts[a], pattern_texts[b]);
			if (spiffe_pattern_overlaps(&patterns[a], &patterns[b]) != overlaps)
				fail_msg("overlaps: %s, %s", pattern_texts[a], pattern_texts[b]);
		}
}

static void other_trust_domains_neither_cover_nor_overlap(void **state)
{
	(void)state;
	struct spiffe_pattern here = pattern_of("/*"), there = pattern_of("elsewhere/*");
	assert_false(spiffe_pattern_covers(&here, &there));
	assert_false(spiffe_pattern_overlaps(&here, &there));
	assert_true(spiffe_pattern_covers(&here, &here));
}

static void the_nearest_pattern_shares_the_longest_beginning(void **state)
{
	(void)state;
	struct spiffe_pattern patterns[] = {
	        pattern_of("other/*"), pattern_of("/ns/db/*"), pattern_of("/ns/web/*")};
	assert_ptr_equal(spiffe_pattern_nearest(patterns, 3, STR("spiffe://cluster.local/ns/web")),
	        &patterns[2]);
	assert_ptr_equal(spiffe_pattern_nearest(patterns, 3, STR("spiffe://cluster.local/ns/x")),
	        &patterns[1]);
	assert_ptr_equal(spiffe_pattern_nearest(patterns, 3, STR("")), &patterns[0]);
	assert_null(spiffe_pattern_nearest(patterns, 0, STR("spiffe://a/b")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(valid_ids_are_taken_apart),
	        cmocka_unit_test(malformed_ids_are_refused_and_say_why),
	        cmocka_unit_test(lengths_are_bounded_to_the_byte),
	        cmocka_unit_test(every_byte_is_judged_by_the_grammar),
	        cmocka_unit_test(patterns_take_whole_star_segments_alone),
	        cmocka_unit_test(patterns_match_segment_by_segment),
	        cmocka_unit_test(covering_and_overlapping_agree_with_matching),
	        cmocka_unit_test(other_trust_domains_neither_cover_nor_overlap),
	        cmocka_unit_test(the_nearest_pattern_shares_the_longest_beginning),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
