#include "gateway/http/h2_memory.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { PAGE = 4096, LARGE = 16384 };

// The heap's memory was in use before: what lies behind the first page is given back, and comes
// again, empty, where it is written to. Where pages are larger nothing is gained, nor lost.
static void *large(size_t size)
{
	size_t whole = (size + PAGE - 1) / PAGE * PAGE;
	char *memory = aligned_alloc(PAGE, whole);
	if (memory)
		(void)madvise(memory + PAGE, whole - PAGE, MADV_DONTNEED);
	return memory;
}

static void *allocate(size_t size, void *unused)
{
	(void)unused;
	return size > LARGE ? large(size) : malloc(size);
}

static void release(void *memory, void *unused)
{
	(void)unused;
	free(memory);
}

static void *allocate_zeroed(size_t count, size_t size, void *unused)
{
	(void)unused;
	return calloc(count, size);
}

static void *resize(void *memory, size_t size, void *unused)
{
	(void)unused;
	return memory || size <= LARGE ? realloc(memory, size) : large(size);
}

nghttp2_mem h2_memory = {
        .malloc = allocate, .free = release, .calloc = allocate_zeroed, .realloc = resize};
