#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buffer.h"
#include "conf/config.h"

static bool stands_before(struct config_mark a, struct config_mark b)
{
	return a.line != b.line ? a.line < b.line : a.column < b.column;
}

// `inner` is the same key as `outer` or one below it.
static bool within(struct str inner, struct str outer)
{
	return str_starts(inner, outer) &&
	       (inner.len == outer.len || inner.at[outer.len] == '.' || inner.at[outer.len] == '[');
}

static bool is_echo(const struct config_problems *problems, struct str key)
{
	if (!problems->read || !key.len)
		return false;
	for (size_t i = 0; i < problems->count; i++) {
		const struct config_problem *known = &problems->items[i];
		if (known->reading && known->key.len &&
		        (within(key, known->key) || within(known->key, key)))
			return true;
	}
	return false;
}

// Room for one more behind every problem that stands at or before `mark`.
static struct config_problem *insert(struct config_problems *problems, struct config_mark mark)
{
	if (problems->count == problems->capacity) {
		problems->capacity = problems->capacity ? problems->capacity * 2 : 16;
		problems->items = must_realloc(
		        problems->items, problems->capacity * sizeof(*problems->items));
	}
	size_t at = problems->count++;
	for (; at && stands_before(mark, problems->items[at - 1].mark); at--)
		problems->items[at] = problems->items[at - 1];
	return &problems->items[at];
}

void config_problem_add(struct config_problems *problems, struct config_mark mark, struct str key,
        const char *format, ...)
{
	if (is_echo(problems, key))
		return;
	if (problems->count >= CONFIG_PROBLEMS_MAX) {
		problems->dropped++;
		return;
	}
	struct buffer text = {0};
	va_list arguments;
	va_start(arguments, format);
	int len = vsnprintf(NULL, 0, format, arguments);
	va_end(arguments);
	CHECK(len >= 0);
	va_start(arguments, format);
	vsnprintf(buffer_room(&text, (size_t)len + 1), (size_t)len + 1, format, arguments);
	va_end(arguments);
	buffer_added(&text, (size_t)len);
	*insert(problems, mark) = (struct config_problem){
	        .mark = mark,
	        .key = arena_str(&problems->arena, key),
	        .what = arena_str(&problems->arena, buffer_str(&text)),
	        .reading = !problems->read,
	};
	buffer_fini(&text);
}

static void write_all(int descriptor, struct str text)
{
	while (text.len) {
		ssize_t written = write(descriptor, text.at, text.len);
		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return;
		text = str_skip(text, (size_t)written);
	}
}

void config_problem_write(const struct config_problems *problems, size_t index, struct buffer *out)
{
	const struct config_problem *problem = &problems->items[index];
	struct config_mark mark = problem->mark.line ? problem->mark : (struct config_mark){1, 1};
	struct str key = problem->key.len ? problem->key : STR("(file)");
	buffer_printf(out, "%.*s:%d:%d: %.*s: %.*s", STR_FMT(problems->file), mark.line,
	        mark.column, STR_FMT(key), STR_FMT(problem->what));
}

void config_problems_write(const struct config_problems *problems, struct buffer *out)
{
	for (size_t i = 0; i < problems->count; i++) {
		config_problem_write(problems, i, out);
		buffer_append_str(out, STR("\n"));
	}
	if (problems->dropped)
		buffer_printf(out, "%.*s:1:1: (file): %zu more problems, not shown\n",
		        STR_FMT(problems->file), problems->dropped);
}

void config_problems_print(const struct config_problems *problems, int descriptor)
{
	struct buffer out = {0};
	config_problems_write(problems, &out);
	write_all(descriptor, buffer_str(&out));
	buffer_fini(&out);
}

void config_problems_fini(struct config_problems *problems)
{
	free(problems->items);
	arena_fini(&problems->arena);
	*problems = (struct config_problems){0};
}
