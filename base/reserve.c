#include "base/reserve.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "base/watched.h"

void *must_reserve(size_t size)
{
	if (WATCHED)
		return must_alloc(size);
	void *block = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return check_memory(block == MAP_FAILED ? NULL : block);
}

void reserve_free(void *block, size_t size)
{
	if (WATCHED)
		free(block);
	else if (block)
		CHECK(munmap(block, size) == 0);
}
