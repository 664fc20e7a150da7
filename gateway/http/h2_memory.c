#include "gateway/http/h2_memory.h"

#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/spare.h"

enum { PAGE = 4096, LARGE = 16384, FRAME = 5 * PAGE };

static _Thread_local struct {
	bool open;
	char *bytes;
	size_t users;
} shared;

void h2_memory_share(void)
{
	CHECK(!shared.open);
	shared.open = true;
	shared.bytes = must_alloc(FRAME);
}

void h2_memory_part(void)
{
	CHECK(shared.open && shared.users == 0);
	free(shared.bytes);
	shared.open = false;
	shared.bytes = NULL;
}

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

static void *allocate(size_t size, void *user)
{
	bool *own_frame = user, own = *own_frame;
	if (size <= LARGE)
		return spare_alloc(size);
	*own_frame = true;  // the first is the frame buffer, made with the session
	if (own || !shared.open || size > FRAME)
		return large(size);
	shared.users++;
	return shared.bytes;
}

static void release(void *memory, void *user)
{
	(void)user;
	if (memory && memory == shared.bytes)
		shared.users--;
	else if (memory && malloc_usable_size(memory) > LARGE)
		free(memory);  // goes back whole, with its empty pages
	else
		spare_free(memory);
}

static void *allocate_zeroed(size_t count, size_t size, void *user)
{
	(void)user;
	void *memory = count && size > SIZE_MAX / count ? NULL : spare_alloc(count * size);
	return memory ? memset(memory, 0, count * size) : NULL;
}

static void *resize(void *memory, size_t size, void *user)
{
	if (!memory)
		return allocate(size, user);
	CHECK(memory != shared.bytes);  // a frame buffer keeps its size
	return spare_realloc(memory, size);
}

nghttp2_mem h2_memory(bool *own_frame)
{
	return (nghttp2_mem){.mem_user_data = own_frame,
	        .malloc = allocate,
	        .free = release,
	        .calloc = allocate_zeroed,
	        .realloc = resize};
}
