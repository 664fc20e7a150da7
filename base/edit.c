#include "base/edit.h"

#include <stdlib.h>

void edits_add(struct edits *edits, size_t at, size_t end, struct str other)
{
	CHECK(at <= end && end <= edits->text.len);
	if (edits->count == edits->capacity) {
		edits->capacity = edits->capacity ? edits->capacity * 2 : 16;
		edits->items = must_realloc(edits->items, edits->capacity * sizeof(*edits->items));
	}
	edits->items[edits->count++] = (struct edit){at, end, arena_str(&edits->arena, other)};
}

static int compare(const void *a, const void *b)
{
	const struct edit *one = a, *other = b;
	if (one->at == other->at)  // what is put in stands before what goes
		return one->end < other->end ? -1 : one->end > other->end;
	return one->at < other->at ? -1 : 1;
}

struct edit *edits_sorted(const struct edits *edits, size_t count)
{
	CHECK(count <= edits->count);
	struct edit *sorted = must_alloc((count + 1) * sizeof(*sorted));
	if (count) {
		memcpy(sorted, edits->items, count * sizeof(*sorted));
		qsort(sorted, count, sizeof(*sorted), compare);
	}
	for (size_t i = 1; i < count; i++)
		CHECK(sorted[i - 1].end <= sorted[i].at);
	return sorted;
}

void edits_apply(const struct edits *edits, size_t count, struct buffer *out)
{
	struct edit *sorted = edits_sorted(edits, count);
	size_t at = 0;
	for (size_t i = 0; i < count; i++) {
		buffer_append(out, edits->text.at + at, sorted[i].at - at);
		buffer_append_str(out, sorted[i].other);
		at = sorted[i].end;
	}
	buffer_append_str(out, str_skip(edits->text, at));
	free(sorted);
}

void edits_fini(struct edits *edits)
{
	free(edits->items);
	arena_fini(&edits->arena);
	*edits = (struct edits){0};
}
