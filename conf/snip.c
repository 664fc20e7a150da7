#include "conf/snip.h"

static bool is_break(char byte)
{
	return byte == '\n' || byte == '\r';
}

static bool is_blank(char byte)
{
	return byte == ' ' || byte == '\t';
}

size_t snip_line_begin(struct str text, size_t at)
{
	while (at && !is_break(text.at[at - 1]))
		at--;
	return at;
}

size_t snip_line_end(struct str text, size_t at)
{
	while (at < text.len && !is_break(text.at[at]))
		at++;
	return at;
}

size_t snip_next_line(struct str text, size_t at)
{
	size_t end = snip_line_end(text, at);
	bool both = str_starts(str_skip(text, end), STR("\r\n"));
	return end == text.len ? end : end + (both ? 2 : 1);
}

static size_t skip_blanks(struct str text, size_t at)
{
	while (at < text.len && is_blank(text.at[at]))
		at++;
	return at;
}

static size_t skip_blanks_back(struct str text, size_t at)
{
	while (at && is_blank(text.at[at - 1]))
		at--;
	return at;
}

static bool begins_line(struct str text, size_t at)
{
	at = skip_blanks_back(text, at);
	return at == 0 || is_break(text.at[at - 1]);
}

static bool ends_line(struct str text, size_t at)
{
	at = skip_blanks(text, at);
	return at == text.len || is_break(text.at[at]);
}

static const char *find_comment(struct str text, size_t from, size_t to)
{
	return str_find_byte(str_of(text.at + from, to - from), '#');
}

// Past blanks, line breaks and comments.
static size_t next_token(struct str text, size_t at)
{
	while (at < text.len && (ends_line(text, at) || text.at[skip_blanks(text, at)] == '#'))
		at = snip_next_line(text, at);
	return skip_blanks(text, at);
}

static void cut(struct edits *edits, size_t from, size_t to)
{
	edits_add(edits, from, to, STR(""));
}

// What stands in the line from `from` to `to`, up to a comment; the line itself where that is all.
static void cut_in_line(struct edits *edits, size_t from, size_t to)
{
	struct str text = edits->text;
	const char *comment = find_comment(text, from, to);
	size_t end = comment ? (size_t)(comment - text.at) : to;
	bool first = begins_line(text, from);
	from = skip_blanks(text, from);
	if (from >= end)
		return;
	if (ends_line(text, end)) {
		from = first ? snip_line_begin(text, from) : skip_blanks_back(text, from);
		end = first ? snip_next_line(text, end) : snip_line_end(text, end);
	} else if (comment && !first) {
		end = skip_blanks_back(text, end);
	}
	cut(edits, from, end);
}

static void cut_between_comments(struct edits *edits, size_t from, size_t to)
{
	while (from < to) {
		size_t end = snip_line_end(edits->text, from);
		cut_in_line(edits, from, end < to ? end : to);
		from = snip_next_line(edits->text, from);
	}
}

static const struct tree *before(const struct tree *map, const struct tree *member)
{
	const struct tree *before = NULL;
	for (const struct tree *other = map->first; other != member; other = other->next)
		before = other;
	return before;
}

// With one of the commas around it.
static void widen_in_braces(struct str text, const struct tree *map, const struct tree *member,
        size_t *from, size_t *to)
{
	const struct tree *former = before(map, member);
	size_t comma = next_token(text, *to);
	if (comma < text.len && text.at[comma] == ',')
		*to = skip_blanks(text, comma + 1);
	else if (former)
		*from = next_token(text, former->end);
}

void snip_member(struct edits *edits, const struct tree *map, const struct tree *member)
{
	struct str text = edits->text;
	size_t from = member->key_at, to = member->end;
	const struct tree *next = member->next;
	if (text.at[map->at] == '{')
		widen_in_braces(text, map, member, &from, &to);
	else if (!begins_line(text, from) && next && !find_comment(text, from, next->key_at))
		to = next->key_at;  // which now stands behind the dash
	else
		to = skip_blanks(text, to);
	if (find_comment(text, from, to)) {
		cut_between_comments(edits, from, to);
		return;
	}
	if (begins_line(text, from) && ends_line(text, to)) {
		from = snip_line_begin(text, from);
		to = snip_next_line(text, to);
	}
	cut(edits, from, to);
}
