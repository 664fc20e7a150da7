#include "gateway/http/trace.h"

enum {
	TRACE_AT = 3,
	PARENT_AT = 36,
	FLAGS_AT = 53,
	PARENT_BYTES = 55,
	KEY_BYTES_MAX = 256,
	VALUE_BYTES_MAX = 256,
};

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// With `zero`, nothing but noughts is none either.
static bool lower_hex(struct str text, bool zero)
{
	for (size_t i = 0; i < text.len; i++) {
		if (hex_digit(text.at[i]) < 0)
			return false;
		zero &= text.at[i] == '0';
	}
	return !zero;
}

// Version 00 ends behind its flags; a later one may go on there, after a dash.
static bool version_fits(struct str text)
{
	struct str version = str_of(text.at, 2);
	if (!lower_hex(version, false) || str_eq(version, STR("ff")))
		return false;
	return text.len == PARENT_BYTES ||
	       (!str_eq(version, STR("00")) && text.at[PARENT_BYTES] == '-');
}

bool trace_parent_parse(struct str text, struct trace_parent *parent)
{
	if (text.len < PARENT_BYTES || !version_fits(text))
		return false;
	struct str trace_id = str_of(text.at + TRACE_AT, 32);
	struct str parent_id = str_of(text.at + PARENT_AT, 16);
	struct str flags = str_of(text.at + FLAGS_AT, 2);
	if (text.at[TRACE_AT - 1] != '-' || text.at[PARENT_AT - 1] != '-' ||
	        text.at[FLAGS_AT - 1] != '-')
		return false;
	if (!lower_hex(trace_id, true) || !lower_hex(parent_id, true) || !lower_hex(flags, false))
		return false;
	*parent = (struct trace_parent){.trace_id = trace_id,
	        .parent_id = parent_id,
	        .flags = (unsigned)hex_digit(flags.at[1]) & (TRACE_SAMPLED | TRACE_RANDOM)};
	return true;
}

bool trace_parent_of(const struct fields *fields, struct arena *arena, struct trace_parent *parent)
{
	return trace_parent_parse(fields_joined(fields, STR("traceparent"), arena), parent);
}

static bool key_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || memchr("_-*/@", c, 5);
}

static bool member_valid(struct str member)
{
	const char *equals = str_find_byte(member, '=');
	size_t key = equals ? (size_t)(equals - member.at) : 0;
	if (key == 0 || key > KEY_BYTES_MAX || memchr("_-*/@", member.at[0], 5))
		return false;
	for (size_t i = 0; i < key; i++)
		if (!key_byte(member.at[i]))
			return false;
	struct str value = str_skip(member, key + 1);
	if (value.len == 0 || value.len > VALUE_BYTES_MAX)
		return false;
	for (size_t i = 0; i < value.len; i++)
		if (value.at[i] < 0x20 || value.at[i] > 0x7e || value.at[i] == '=')
			return false;
	return true;
}

static struct str key_of(struct str member)
{
	return str_of(member.at, (size_t)(str_find_byte(member, '=') - member.at));
}

struct members {
	struct str items[TRACE_MEMBERS_MAX];
	size_t count;
};

static bool take_member(struct members *members, struct str member)
{
	if (members->count == TRACE_MEMBERS_MAX || !member_valid(member))
		return false;
	for (size_t i = 0; i < members->count; i++)
		if (str_eq(key_of(members->items[i]), key_of(member)))
			return false;
	members->items[members->count++] = member;
	return true;
}

static size_t bytes_of(const struct members *members)
{
	size_t bytes = members->count ? members->count - 1 : 0;
	for (size_t i = 0; i < members->count; i++)
		bytes += members->items[i].len;
	return bytes;
}

static void drop(struct members *members, size_t index)
{
	members->count--;
	memmove(&members->items[index], &members->items[index + 1],
	        (members->count - index) * sizeof(*members->items));
}

static void shorten(struct members *members)
{
	for (size_t i = members->count; i-- > 0 && bytes_of(members) > TRACE_STATE_BYTES_MAX;)
		if (members->items[i].len > TRACE_MEMBER_BYTES_MAX)
			drop(members, i);
	while (bytes_of(members) > TRACE_STATE_BYTES_MAX)
		drop(members, members->count - 1);
}

struct str trace_state_of(const struct fields *fields, struct arena *arena)
{
	struct str list = fields_joined(fields, STR("tracestate"), arena), member;
	struct members members;
	members.count = 0;
	while (str_next_element(&list, &member))
		if (!take_member(&members, member))
			return STR("");
	shorten(&members);
	if (members.count == 0)
		return STR("");
	struct str parts[2 * TRACE_MEMBERS_MAX];
	for (size_t i = 0; i < members.count; i++) {
		parts[2 * i] = members.items[i];
		parts[2 * i + 1] = STR(",");
	}
	return arena_join(arena, parts, 2 * members.count - 1);
}

bool trace_id_sampled(struct str trace_id, double ratio)
{
	uint64_t random = 0;
	for (size_t i = 32 - 14; i < 32; i++)
		random = random << 4 | (uint64_t)hex_digit(trace_id.at[i]);
	return ratio > 0 && (double)random >= (1 - ratio) * 0x1p56;
}
