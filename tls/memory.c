#include "tls/memory.h"

#include <openssl/crypto.h>

#include "base/spare.h"

static void *allocate(size_t size, const char *file, int line)
{
	(void)file, (void)line;
	return size ? spare_alloc(size) : NULL;
}

static void release(void *memory, const char *file, int line)
{
	(void)file, (void)line;
	spare_free(memory);
}

static void *resize(void *memory, size_t size, const char *file, int line)
{
	(void)file, (void)line;
	if (size)
		return spare_realloc(memory, size);
	spare_free(memory);
	return NULL;
}

void tls_memory_use_spares(void)
{
	CRYPTO_malloc_fn was;
	CRYPTO_get_mem_functions(&was, NULL, NULL);
	if (was == CRYPTO_malloc)
		CHECK(CRYPTO_set_mem_functions(allocate, resize, release) == 1);
}
