// What patch(1) takes, from the edits themselves: nothing has to be looked for.
#include <stdlib.h>

#include "base/edit.h"

enum { AROUND = 3 };

// Whole lines, and what stands in their place.
struct change {
	size_t from, to;
	struct str other;
};

struct differ {
	struct str text;
	struct change *changes;
	size_t count;
	size_t at;                // behind the last hunk
	size_t line, other_line;  // so many lines are before that
	struct buffer *out;
};

static size_t line_begin(struct str text, size_t at)
{
	const char *found = at ? memrchr(text.at, '\n', at) : NULL;
	return found ? (size_t)(found - text.at) + 1 : 0;
}

static size_t next_line(struct str text, size_t at)
{
	const char *found = str_find_byte(str_skip(text, at), '\n');
	return found ? (size_t)(found - text.at) + 1 : text.len;
}

static size_t lines_back(struct str text, size_t at, size_t count)
{
	while (at && count--)
		at = line_begin(text, at - 1);
	return at;
}

static size_t lines_on(struct str text, size_t at, size_t count)
{
	while (at < text.len && count--)
		at = next_line(text, at);
	return at;
}

static size_t count_lines(struct str text)
{
	size_t count = 0;
	for (size_t at = 0; at < text.len; at = next_line(text, at))
		count++;
	return count;
}

static struct str part(struct str text, size_t from, size_t to)
{
	return str_of(text.at + from, to - from);
}

static void write_lines(struct differ *differ, char mark, struct str lines)
{
	while (lines.len) {
		struct str line = part(lines, 0, next_line(lines, 0));
		buffer_append(differ->out, &mark, 1);
		buffer_append_str(differ->out, line);
		if (!str_ends(line, STR("\n")))
			buffer_append_str(differ->out, STR("\n\\ No newline at end of file\n"));
		lines = str_skip(lines, line.len);
	}
}

// Lines that are the same before and after are no change.
static struct change trimmed(struct str text, struct change change)
{
	while (change.from < change.to && change.other.len) {
		struct str line = part(text, change.from, next_line(text, change.from));
		if (!str_starts(change.other, line) || !str_ends(line, STR("\n")))
			break;
		change.from += line.len;
		change.other = str_skip(change.other, line.len);
	}
	while (change.from < change.to && change.other.len) {
		struct str line = part(text, line_begin(text, change.to - 1), change.to);
		if (!str_eq(line, part(change.other, line_begin(change.other, change.other.len - 1),
		                          change.other.len)))
			break;
		change.to -= line.len;
		change.other.len -= line.len;
	}
	return change;
}

// The lines that the edits from `first` on touch, as far as they touch the same; how many did.
static size_t gather(struct differ *differ, const struct edit *edits, size_t count,
        struct buffer *others, struct change *change)
{
	size_t taken = 0, at = change->from = line_begin(differ->text, edits->at);
	do {
		const struct edit *edit = &edits[taken++];
		buffer_append_str(others, part(differ->text, at, edit->at));
		buffer_append_str(others, edit->other);
		at = edit->end;
		change->to = next_line(differ->text, at);
	} while (taken < count && edits[taken].at < change->to);
	buffer_append_str(others, part(differ->text, at, change->to));
	return taken;
}

static void find_changes(struct differ *differ, const struct edits *edits, struct arena *arena)
{
	struct edit *sorted = edits_sorted(edits, edits->count);
	struct buffer others = {0};
	differ->changes = arena_alloc(arena, edits->count * sizeof(*differ->changes));
	for (size_t taken = 0; taken < edits->count;) {
		struct change *change = &differ->changes[differ->count++];
		taken += gather(differ, &sorted[taken], edits->count - taken, &others, change);
		change->other = arena_str(arena, buffer_str(&others));
		*change = trimmed(differ->text, *change);
		buffer_clear(&others);
	}
	buffer_fini(&others);
	free(sorted);
}

// Of no line the place is behind the one before.
static void write_range(struct differ *differ, char mark, size_t before, size_t count)
{
	buffer_printf(differ->out, " %c%zu,%zu", mark, count ? before + 1 : before, count);
}

static void write_changes(
        struct differ *differ, const struct change *changes, size_t count, size_t from, size_t to)
{
	for (size_t i = 0, end; i < count; i = end) {
		end = i + 1;
		while (end < count && changes[end].from == changes[end - 1].to)
			end++;
		write_lines(differ, ' ', part(differ->text, from, changes[i].from));
		from = changes[end - 1].to;
		write_lines(differ, '-', part(differ->text, changes[i].from, from));
		for (size_t j = i; j < end; j++)
			write_lines(differ, '+', changes[j].other);
	}
	write_lines(differ, ' ', part(differ->text, from, to));
}

// The changes from `changes` on that stand near each other; how many did.
static size_t write_hunk(struct differ *differ, const struct change *changes, size_t left)
{
	size_t count = 1;
	while (count < left &&
	        changes[count].from <= lines_on(differ->text, changes[count - 1].to, 2 * AROUND))
		count++;
	size_t from = lines_back(differ->text, changes[0].from, AROUND);
	size_t to = lines_on(differ->text, changes[count - 1].to, AROUND);
	size_t lines = count_lines(part(differ->text, from, to)), others = lines;
	for (size_t i = 0; i < count; i++) {
		others -= count_lines(part(differ->text, changes[i].from, changes[i].to));
		others += count_lines(changes[i].other);
	}
	size_t passed = count_lines(part(differ->text, differ->at, from));
	buffer_append_str(differ->out, STR("@@"));
	write_range(differ, '-', differ->line + passed, lines);
	write_range(differ, '+', differ->other_line + passed, others);
	buffer_append_str(differ->out, STR(" @@\n"));
	write_changes(differ, changes, count, from, to);
	differ->at = to;
	differ->line += passed + lines;
	differ->other_line += passed + others;
	return count;
}

// A tab behind a name with spaces is where patch(1) sees its end.
static void write_name(struct differ *differ, const char *mark, const char *name)
{
	buffer_printf(differ->out, "%s %s%s\n", mark, name, strchr(name, ' ') ? "\t" : "");
}

void edits_diff(const struct edits *edits, const char *name, struct buffer *out)
{
	struct arena arena = {0};
	struct differ differ = {.text = edits->text, .out = out};
	if (!edits->count)
		return;
	find_changes(&differ, edits, &arena);
	write_name(&differ, "---", name);
	write_name(&differ, "+++", name);
	for (size_t done = 0; done < differ.count;)
		done += write_hunk(&differ, &differ.changes[done], differ.count - done);
	arena_wipe(&arena);
}
