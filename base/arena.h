// Memory for things that die together: a request's head, its rewritten fields, the words of its
// answer. Owned by whoever embeds it; one thread. Nothing is freed singly and no destructor runs.
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

#include "base/check.h"
#include "base/str.h"

struct arena_block;

struct arena {
	struct arena_block *blocks;  // newest first
	char *at, *end;
};

MUST_USE void *arena_alloc(struct arena *arena, size_t size);  // aligned for any type, not zeroed
MUST_USE void *arena_zalloc(struct arena *arena, size_t size);
struct str arena_str(struct arena *arena, struct str s);  // a copy; NUL-terminated behind its end
struct str arena_lower(struct arena *arena, struct str s);
struct str arena_join(struct arena *arena, const struct str parts[], size_t count);
struct str arena_digits(struct arena *arena, uint64_t value);  // decimal
struct str arena_printf(struct arena *arena, const char *format, ...) PRINTF(2, 3);
void arena_fini(struct arena *arena);  // frees all; the arena is empty and usable again
void arena_wipe(struct arena *arena);  // the same, for one that held secrets

#endif
