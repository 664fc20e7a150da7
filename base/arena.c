#include "base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/digits.h"
#include "base/spare.h"

// Most arenas never need a second block, and malloc is quickest up to 1032 bytes.
enum { BLOCK_FIRST = 1024, BLOCK_MOST = 4096, ALIGNMENT = 16 };

struct arena_block {
	_Alignas(ALIGNMENT) struct arena_block *next;
	size_t capacity;
	_Alignas(ALIGNMENT) char bytes[];
};

static void *from_new_block(struct arena *arena, size_t size)
{
	size_t whole = arena->blocks ? 2 * (arena->blocks->capacity + sizeof(struct arena_block))
	                             : BLOCK_FIRST;
	size_t capacity = (whole < BLOCK_MOST ? whole : BLOCK_MOST) - sizeof(struct arena_block);
	if (size > capacity)
		capacity = size;
	struct arena_block *block = must_spare_again(NULL, sizeof(*block) + capacity);
	block->next = arena->blocks;
	block->capacity = capacity;
	arena->blocks = block;
	arena->at = block->bytes + size;
	arena->end = block->bytes + capacity;
	return block->bytes;
}

void *arena_alloc(struct arena *arena, size_t size)
{
	CHECK(size <= PTRDIFF_MAX - BLOCK_MOST);
	size = (size + !size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	if (!arena->blocks || (size_t)(arena->end - arena->at) < size)
		return from_new_block(arena, size);
	void *memory = arena->at;
	arena->at += size;
	return memory;
}

void *arena_zalloc(struct arena *arena, size_t size)
{
	return memset(arena_alloc(arena, size), 0, size);
}

struct str arena_str(struct arena *arena, struct str s)
{
	char *copy = arena_alloc(arena, s.len + 1);
	if (s.len)
		memcpy(copy, s.at, s.len);
	copy[s.len] = '\0';
	return str_of(copy, s.len);
}

// Eight letters at a step: of each byte the high bit says whether it is one from A to Z.
static void lower_eight(char *to, const char *from)
{
	const uint64_t ones = 0x0101010101010101u;
	uint64_t word;
	memcpy(&word, from, sizeof(word));
	uint64_t ascii = word & ones * 0x7f;
	uint64_t from_a = ascii + ones * (0x80 - 'A'), past_z = ascii + ones * (0x7f - 'Z');
	word |= (from_a & ~past_z & ~word & ones * 0x80) >> 2;
	memcpy(to, &word, sizeof(word));
}

struct str arena_lower(struct arena *arena, struct str s)
{
	char *copy = arena_alloc(arena, s.len + 1);
	size_t i = 0;
	for (; i + sizeof(uint64_t) <= s.len; i += sizeof(uint64_t))
		lower_eight(copy + i, s.at + i);
	if (i && i < s.len)  // the last of them, some a second time
		lower_eight(copy + s.len - sizeof(uint64_t), s.at + s.len - sizeof(uint64_t));
	for (; i < s.len && s.len < sizeof(uint64_t); i++)
		copy[i] = (char)(s.at[i] >= 'A' && s.at[i] <= 'Z' ? s.at[i] + 32 : s.at[i]);
	copy[s.len] = '\0';
	return str_of(copy, s.len);
}

struct str arena_join(struct arena *arena, const struct str parts[], size_t count)
{
	size_t len = 0;
	for (size_t i = 0; i < count; i++)
		len += parts[i].len;
	char *text = arena_alloc(arena, len + 1), *at = text;
	for (size_t i = 0; i < count; i++) {
		if (parts[i].len)
			memcpy(at, parts[i].at, parts[i].len);
		at += parts[i].len;
	}
	*at = '\0';
	return str_of(text, len);
}

struct str arena_digits(struct arena *arena, uint64_t value)
{
	char digits[DIGITS_MAX];
	return arena_str(arena, str_of(digits, digits_decimal(digits, value)));
}

struct str arena_printf(struct arena *arena, const char *format, ...)
{
	va_list arguments, again;
	va_start(arguments, format);
	va_copy(again, arguments);
	int len = vsnprintf(NULL, 0, format, arguments);
	va_end(arguments);
	CHECK(len >= 0);
	char *text = arena_alloc(arena, (size_t)len + 1);
	vsnprintf(text, (size_t)len + 1, format, again);
	va_end(again);
	return str_of(text, (size_t)len);
}

void arena_fini(struct arena *arena)
{
	for (struct arena_block *block = arena->blocks, *next; block; block = next) {
		next = block->next;
		spare_free(block);
	}
	*arena = (struct arena){0};
}

void arena_wipe(struct arena *arena)
{
	for (struct arena_block *block = arena->blocks; block; block = block->next)
		explicit_bzero(block->bytes, block->capacity);
	arena_fini(arena);
}
