// Changes to a text: bytes that give way to others, at places of the text as it was. The text is
// borrowed; all else is owned by whoever embeds the edits (zeroed but for the text) and frees them.
// One thread.
#ifndef BASE_EDIT_H
#define BASE_EDIT_H

#include "base/arena.h"
#include "base/buffer.h"
#include "base/str.h"

struct edit {
	size_t at, end;    // the bytes that go
	struct str other;  // what comes
};

struct edits {
	struct str text;
	struct edit *items;  // as they were added; no two overlap
	size_t count, capacity;
	struct arena arena;
};

// `other` is copied.
void edits_add(struct edits *edits, size_t at, size_t end, struct str other);
// The text with the first `count` of the edits.
void edits_apply(const struct edits *edits, size_t count, struct buffer *out);
// All of them as a unified diff of a file called `name`, with three lines around.
void edits_diff(const struct edits *edits, const char *name, struct buffer *out);
void edits_fini(struct edits *edits);

// The first `count` edits in the order of the text; to be freed.
MUST_USE struct edit *edits_sorted(const struct edits *edits, size_t count);

#endif
