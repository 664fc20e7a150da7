// path_normalise: idempotent, and what comes out holds nothing two servers read differently. The
// matched form too. A pattern that is valid matches itself once normalised.
//   TARGET
#include "policy/path.h"
#include "tests/fuzz/fuzz.h"

static bool is_hex_upper(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F');
}

static int hex(char c)
{
	return c <= '9' ? c - '0' : c - 'A' + 10;
}

static void check_escape(struct str path, size_t at)
{
	CHECK(at + 2 < path.len && is_hex_upper(path.at[at + 1]) && is_hex_upper(path.at[at + 2]));
	int byte = hex(path.at[at + 1]) * 16 + hex(path.at[at + 2]);
	CHECK(byte >= 0x20 && byte != 0x7f && byte != '/' && byte != '\\');
	bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
	CHECK(!letter && !(byte >= '0' && byte <= '9') && !strchr("-._~", byte));
}

static void check_normal(struct str path)
{
	CHECK(str_starts(path, STR("/")));
	for (size_t i = 0; i < path.len; i++) {
		unsigned char byte = (unsigned char)path.at[i];
		CHECK(byte > 0x20 && byte < 0x7f && !strchr("\\?#", byte));
		if (byte == '%')
			check_escape(path, i);
		if (byte != '/')
			continue;
		struct str rest = str_skip(path, i + 1);
		CHECK(!str_starts(rest, STR("/")));
		size_t dots = 0;
		while (dots < rest.len && rest.at[dots] == '.')
			dots++;
		bool ends = dots == rest.len || rest.at[dots] == '/' || rest.at[dots] == ';';
		CHECK(!((dots == 1 || dots == 2) && ends));
	}
}

static void check_matched(struct str path, struct arena *arena)
{
	struct str matched = path_as_matched(path, arena);
	CHECK(str_starts(matched, STR("/")) && matched.len <= path.len);
	CHECK(!memmem(matched.at, matched.len, "//", 2));
	for (size_t i = 0; i < matched.len; i++) {
		CHECK((unsigned char)matched.at[i] >= 0x20 && matched.at[i] != 0x7f);
		CHECK(matched.at[i] != '\\');
	}
	// Matching never climbs: a dot segment here would be one that normalising let pass.
	struct str rest = matched;
	while (rest.len) {
		rest = str_skip(rest, 1);
		const char *slash = str_find_byte(rest, '/');
		struct str segment = str_of(rest.at, slash ? (size_t)(slash - rest.at) : rest.len);
		CHECK(!str_eq(segment, STR(".")) && !str_eq(segment, STR("..")));
		rest = str_skip(rest, segment.len);
	}
	CHECK(str_find_byte(path, ';') || str_find_byte(path, '%') || str_eq(matched, path));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str target = own_copy(str_of((const char *)data, size));
	struct arena arena = {0};
	struct path path, again;
	const char *why = NULL;
	if (path_normalise(target, &arena, &path, &why)) {
		check_normal(path.path);
		CHECK(path.path.len <= target.len + 1);
		CHECK(!has_control_bytes(path.query) && !str_find_byte(path.query, ' '));
		CHECK(path.query.len == 0 || *path.query.at == '?');
		CHECK(path_normalise(path.path, &arena, &again, &why));
		CHECK(str_eq(again.path, path.path) && again.query.len == 0);
		check_matched(path.path, &arena);
	} else {
		CHECK(why);
	}
	if (path_pattern_valid(target, &why)) {
		struct str prefix = path_pattern_prefix(target),
		           exact = prefix.len ? prefix : target;
		CHECK(path_normalise(exact, &arena, &path, &why) && str_eq(path.path, exact));
	} else {
		CHECK(why);
	}
	arena_fini(&arena);
	own_free(target);
	return 0;
}
