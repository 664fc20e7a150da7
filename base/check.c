#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void check_failed(const char *file, int line, const char *condition)
{
	fprintf(stderr, "tollgate: %s:%d: broken invariant: %s\n", file, line, condition);
	abort();
}

void *check_memory(void *memory)
{
	if (!memory) {
		fputs("tollgate: out of memory\n", stderr);
		abort();
	}
	return memory;
}

void *must_alloc(size_t size)
{
	// Up to here glibc's malloc keeps at hand what was freed; its calloc does not look there.
	enum { AT_HAND = 1032 };
	if (size > AT_HAND)
		return check_memory(calloc(1, size));
	return memset(check_memory(malloc(size ? size : 1)), 0, size);
}

void *must_realloc(void *old, size_t size)
{
	return check_memory(realloc(old, size ? size : 1));
}

char *must_copy(const char *text, size_t len)
{
	char *copy = check_memory(malloc(len + 1));
	if (len)
		memcpy(copy, text, len);
	copy[len] = '\0';
	return copy;
}
