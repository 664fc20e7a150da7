#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/reserve.h"
#include "base/watched.h"

enum { PAGES = 1000 };

static size_t resident(void *block, size_t size)
{
	unsigned char pages[PAGES];
	size_t count = 0;
	assert_int_equal(mincore(block, size, pages), 0);
	for (size_t i = 0; i < PAGES; i++)
		count += pages[i] & 1;
	return count;
}

static void only_what_is_touched_is_there(void **state)
{
	(void)state;
	if (WATCHED)
		return;  // there malloc gives it, and it is wiped
	size_t page = (size_t)sysconf(_SC_PAGESIZE), size = PAGES * page;
	char *block = must_reserve(size);
	assert_int_equal(madvise(block, size, MADV_NOHUGEPAGE), 0);
	assert_int_equal(resident(block, size), 0);
	block[10 * page] = block[PAGES * page - 1] = 1;
	assert_int_equal(resident(block, size), 2);
	reserve_free(block, size);
}

static void all_is_zero_whatever_was_there_before(void **state)
{
	(void)state;
	static const size_t sizes[] = {1, 4095, 4097, 100000};
	for (int round = 0; round < 2; round++)
		for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
			unsigned char *block = must_reserve(sizes[i]);
			for (size_t at = 0; at < sizes[i]; at++) {
				assert_int_equal(block[at], 0);
				block[at] = 0xAA;
			}
			reserve_free(block, sizes[i]);
		}
	reserve_free(NULL, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(only_what_is_touched_is_there),
	        cmocka_unit_test(all_is_zero_whatever_was_there_before),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
