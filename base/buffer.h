// A byte queue in one contiguous block: append at the end, take from the front.
// Owned by whoever embeds it; one thread. Pointers into it are good until the next append. It grows
// on demand and never shrinks by itself; whoever fills it keeps the cap (buffer_len against a
// mark), it never refuses an append.
#ifndef BASE_BUFFER_H
#define BASE_BUFFER_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"

struct buffer {
	char *block;
	size_t start, end, capacity;
};

static inline size_t buffer_len(const struct buffer *buffer)
{
	return buffer->end - buffer->start;
}

static inline char *buffer_data(const struct buffer *buffer)
{
	return buffer->block ? buffer->block + buffer->start : NULL;
}

static inline struct str buffer_str(const struct buffer *buffer)
{
	return str_of(buffer_data(buffer), buffer_len(buffer));
}

MUST_USE char *buffer_make_room(struct buffer *buffer, size_t size);

// Room for `size` more bytes at the returned place; follow with buffer_added(written). Inline, as a
// line of the audit log asks for it a hundred times.
MUST_USE static inline char *buffer_room(struct buffer *buffer, size_t size)
{
	if (buffer->block && buffer->capacity - buffer->end >= size)
		return buffer->block + buffer->end;
	return buffer_make_room(buffer, size);
}

static inline void buffer_added(struct buffer *buffer, size_t size)
{
	CHECK(buffer->capacity - buffer->end >= size);
	buffer->end += size;
}

static inline void buffer_append(struct buffer *buffer, const void *bytes, size_t size)
{
	if (size == 0)
		return;
	memcpy(buffer_room(buffer, size), bytes, size);
	buffer->end += size;
}

static inline void buffer_append_str(struct buffer *buffer, struct str s)
{
	buffer_append(buffer, s.at, s.len);
}

void buffer_append_digits(struct buffer *buffer, uint64_t value);  // decimal
void buffer_printf(struct buffer *buffer, const char *format, ...) PRINTF(2, 3);
void buffer_take(struct buffer *buffer, size_t size);  // drops `size` <= len bytes from the front
// Takes `size` <= len bytes from the front of `from` and appends them to `to`: all of them into an
// empty one by changing the blocks over, without a copy.
void buffer_move(struct buffer *to, struct buffer *from, size_t size);
void buffer_cut(struct buffer *buffer, size_t len);  // keeps the first `len` <= len bytes
void buffer_clear(struct buffer *buffer);            // empties, keeps the block
void buffer_fini(struct buffer *buffer);  // frees the block; the buffer is empty and usable again

#endif
