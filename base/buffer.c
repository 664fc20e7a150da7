#include "base/buffer.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/digits.h"
#include "base/spare.h"

// A small answer, head and body, without growing.
enum { SMALLEST_BLOCK = 512 };

static void grow(struct buffer *buffer, size_t size)
{
	size_t len = buffer_len(buffer);
	CHECK(size <= PTRDIFF_MAX / 4 && len <= PTRDIFF_MAX / 4);
	// Always doubled: a queue that is mostly full would otherwise be copied on every append.
	size_t capacity = buffer->capacity ? buffer->capacity * 2 : SMALLEST_BLOCK;
	while (capacity - len < size)
		capacity *= 2;
	if (buffer->start == 0) {
		buffer->block = must_spare_again(buffer->block, capacity);
	} else {
		char *block = must_spare_again(NULL, capacity);
		memcpy(block, buffer_data(buffer), len);
		spare_free(buffer->block);
		buffer->block = block;
	}
	buffer->capacity = capacity;
}

char *buffer_make_room(struct buffer *buffer, size_t size)
{
	size_t len = buffer_len(buffer);
	if (len && buffer->start >= len && buffer->capacity - len >= size)
		memcpy(buffer->block, buffer_data(buffer), len);
	else
		grow(buffer, size);
	buffer->start = 0;
	buffer->end = len;
	return buffer->block + buffer->end;
}

void buffer_append_digits(struct buffer *buffer, uint64_t value)
{
	buffer_added(buffer, digits_decimal(buffer_room(buffer, DIGITS_MAX), value));
}

void buffer_printf(struct buffer *buffer, const char *format, ...)
{
	va_list arguments, again;
	va_start(arguments, format);
	va_copy(again, arguments);
	int len = vsnprintf(NULL, 0, format, arguments);
	va_end(arguments);
	CHECK(len >= 0);
	vsnprintf(buffer_room(buffer, (size_t)len + 1), (size_t)len + 1, format, again);
	va_end(again);
	buffer_added(buffer, (size_t)len);
}

void buffer_take(struct buffer *buffer, size_t size)
{
	CHECK(size <= buffer_len(buffer));
	buffer->start += size;
	if (buffer->start == buffer->end)
		buffer_clear(buffer);
}

void buffer_move(struct buffer *to, struct buffer *from, size_t size)
{
	if (buffer_len(to) == 0 && size == buffer_len(from)) {
		struct buffer emptied = *to;
		*to = *from;
		*from = emptied;
		buffer_clear(from);
	} else {
		buffer_append(to, buffer_data(from), size);
		buffer_take(from, size);
	}
}

void buffer_cut(struct buffer *buffer, size_t len)
{
	CHECK(len <= buffer_len(buffer));
	buffer->end = buffer->start + len;
	if (len == 0)
		buffer_clear(buffer);
}

void buffer_clear(struct buffer *buffer)
{
	buffer->start = buffer->end = 0;
}

void buffer_fini(struct buffer *buffer)
{
	if (buffer->block)  // mostly there is none
		spare_free(buffer->block);
	*buffer = (struct buffer){0};
}
