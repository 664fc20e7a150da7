// SPIFFE IDs and patterns: what parses is what the grammar says, by a second reader of it; `covers`
// and `overlaps` never contradict `match`.
//   ID \n PATTERN \n PATTERN
#include "policy/spiffe.h"
#include "tests/fuzz/fuzz.h"

static bool segment_good(struct str segment, bool stars)
{
	static const char bytes[] =
	        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
	if (stars && str_eq(segment, STR("*")))
		return true;
	for (size_t i = 0; i < segment.len; i++)
		if (!segment.at[i] || !strchr(bytes, segment.at[i]))
			return false;
	return segment.len && !str_eq(segment, STR(".")) && !str_eq(segment, STR(".."));
}

// The grammar once more, split differently: at every slash.
static bool grammar(struct str text, bool stars)
{
	static const char domain[] = "abcdefghijklmnopqrstuvwxyz0123456789.-_";
	struct str parts[SPIFFE_ID_MAX + 2];
	size_t count = 0, start = 0;
	if (text.len > SPIFFE_ID_MAX)
		return false;
	for (size_t i = 0; i <= text.len; i++) {
		if (i < text.len && text.at[i] != '/')
			continue;
		parts[count++] = str_of(text.at + start, i - start);
		start = i + 1;
	}
	if (count < 4 || !str_eq(parts[0], STR("spiffe:")) || parts[1].len)
		return false;
	if (parts[2].len < 1 || parts[2].len > 255)
		return false;
	for (size_t i = 0; i < parts[2].len; i++)
		if (!parts[2].at[i] || !strchr(domain, parts[2].at[i]))
			return false;
	for (size_t i = 3; i < count; i++)
		if (!segment_good(parts[i], stars))
			return false;
	return true;
}

// An ID the pattern matches: each star becomes a segment, the last one several.
static struct str example(const struct spiffe_pattern *pattern, unsigned more, struct arena *arena)
{
	struct buffer text = {0};
	for (size_t i = 0; i < pattern->text.len; i++) {
		if (pattern->text.at[i] == '*')
			buffer_append_str(&text, STR("x"));
		else
			buffer_append(&text, &pattern->text.at[i], 1);
	}
	bool open = str_ends(pattern->path, STR("/*"));
	for (unsigned i = 0; open && i < more; i++)
		buffer_append_str(&text, STR("/y"));
	struct str copy = arena_str(arena, buffer_str(&text));
	buffer_fini(&text);
	return copy;
}

static void check_pair(
        const struct spiffe_pattern *a, const struct spiffe_pattern *b, const struct spiffe_id *id)
{
	bool in_a = spiffe_pattern_match(a, id), in_b = spiffe_pattern_match(b, id);
	if (spiffe_pattern_covers(a, b)) {
		CHECK(!in_b || in_a);
		CHECK(spiffe_pattern_overlaps(a, b));  // every pattern matches something
	}
	CHECK(!(in_a && in_b) || spiffe_pattern_overlaps(a, b));
	CHECK(spiffe_pattern_overlaps(a, b) == spiffe_pattern_overlaps(b, a));
	CHECK(spiffe_pattern_covers(a, a) && spiffe_pattern_overlaps(a, a));
}

static void check_examples(const struct spiffe_pattern *a, const struct spiffe_pattern *b)
{
	struct arena arena = {0};
	const char *why;
	for (unsigned more = 0; more < 3; more++) {
		struct spiffe_id id;
		struct str text = example(a, more, &arena);
		if (text.len > SPIFFE_ID_MAX)
			break;
		CHECK(spiffe_id_parse(text, &id, &why));
		CHECK(spiffe_pattern_match(a, &id));
		check_pair(a, b, &id);
		check_pair(b, a, &id);
	}
	arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dice dice = dice_of(data, size);
	struct str texts[3] = {
	        own_copy(dice_line(&dice)), own_copy(dice_line(&dice)), own_copy(dice_line(&dice))};
	struct spiffe_pattern patterns[2];
	struct spiffe_id id;
	const char *why = NULL;
	bool good[3] = {spiffe_id_parse(texts[0], &id, &why)};
	CHECK(good[0] == grammar(texts[0], false) && (good[0] || why));
	for (int i = 1; i < 3; i++) {
		good[i] = spiffe_pattern_parse(texts[i], &patterns[i - 1], &why);
		CHECK(good[i] == grammar(texts[i], true) && (good[i] || why));
	}
	if (good[1] && good[2]) {
		check_examples(&patterns[0], &patterns[1]);
		check_examples(&patterns[1], &patterns[0]);
		CHECK(spiffe_pattern_nearest(patterns, 2, texts[0]));
	}
	if (good[0] && good[1] && good[2]) {
		check_pair(&patterns[0], &patterns[1], &id);
		check_pair(&patterns[1], &patterns[0], &id);
	}
	for (int i = 0; i < 3; i++)
		own_free(texts[i]);
	return 0;
}
