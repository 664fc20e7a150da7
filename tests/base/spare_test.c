#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <malloc.h>
#include <pthread.h>

#include "base/spare.h"

static int open_spares(void **state)
{
	(void)state;
	spare_open();
	return 0;
}

static int close_spares(void **state)
{
	(void)state;
	spare_close();
	return 0;
}

// The builds that watch memory keep nothing, so that they see every use of what was freed.
static bool keeps(void)
{
	char *block = spare_alloc(700), *other;
	spare_free(block);
	other = spare_alloc(700);
	bool kept = other == block;
	memset(other, 1, 700);
	spare_free(other);
	return kept;
}

static void every_size_has_its_room(void **state)
{
	(void)state;
	for (int round = 0; round < 2; round++)
		for (size_t size = 0; size < SPARE_BLOCK_MAX + 1000; size += size < 1200 ? 1 : 61) {
			char *block = spare_alloc(size);
			assert_non_null(block);
			assert_int_equal((uintptr_t)block % 16, 0);
			assert_true(malloc_usable_size(block) >= size);
			memset(block, 0xAA, size);
			spare_free(block);
		}
	spare_free(NULL);
}

static void what_was_freed_comes_again(void **state)
{
	(void)state;
	static const size_t sizes[] = {1, 24, 25, 1032, 1033, 4096, 16 << 10, SPARE_BLOCK_MAX / 2};
	if (!keeps())
		return;
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		char *first = spare_alloc(sizes[i]), *second = spare_alloc(sizes[i]);
		spare_free(first);
		spare_free(second);
		assert_ptr_equal(spare_alloc(sizes[i]), second);
		assert_ptr_equal(spare_alloc(sizes[i]), first);
		free(first);  // as good
		spare_free(second);
	}
}

static void must_spare_is_zeroed_whatever_was_there(void **state)
{
	(void)state;
	for (int round = 0; round < 2; round++) {
		unsigned char *block = must_spare(500);
		for (size_t i = 0; i < 500; i++)
			assert_int_equal(block[i], 0);
		memset(block, 0xFF, 500);
		spare_free(block);
	}
}

// 64 blocks grow, shrink and change over at random; each holds its own number throughout.
static void blocks_keep_what_is_in_them(void **state)
{
	(void)state;
	enum { BLOCKS = 64, ROUNDS = 20000 };
	unsigned char *blocks[BLOCKS] = {0};
	size_t sizes[BLOCKS] = {0};
	srandom(7);
	for (int round = 0; round < ROUNDS; round++) {
		size_t i = (size_t)random() % BLOCKS, most = random() % 4 ? 300 : 50000;
		size_t size = 1 + (size_t)random() % most, kept = size < sizes[i] ? size : sizes[i];
		if (random() % 3) {
			blocks[i] = must_spare_again(blocks[i], size);
			sizes[i] = size;
		} else {
			spare_free(blocks[i]);
			blocks[i] = NULL;
			kept = sizes[i] = 0;
		}
		for (size_t k = 0; k < kept; k += 1 + kept / 64)
			assert_int_equal(blocks[i][k], i);
		if (sizes[i])
			memset(blocks[i], (int)i, sizes[i]);
	}
	for (size_t i = 0; i < BLOCKS; i++)
		spare_free(blocks[i]);
}

static size_t in_use(void)
{
	return mallinfo2().uordblks;
}

static void no_more_is_kept_than_said(void **state)
{
	(void)state;
	enum { BLOCKS = 4000, SIZE = 1000 };
	static void *blocks[BLOCKS];
	size_t before = in_use();
	for (size_t i = 0; i < BLOCKS; i++)
		blocks[i] = spare_alloc(SIZE);
	for (size_t i = 0; i < BLOCKS; i++)
		spare_free(blocks[i]);
	assert_true(in_use() <= before + SPARE_HELD_MAX + SPARE_HELD_MAX / 16);
}

// Else a burst of one size would leave no room for what comes after it.
static void sizes_no_longer_asked_for_give_way(void **state)
{
	(void)state;
	enum { BLOCKS = 4000 };
	static void *blocks[BLOCKS];
	if (!keeps())
		return;
	for (size_t i = 0; i < BLOCKS; i++)
		blocks[i] = spare_alloc(1000);
	for (size_t i = 0; i < BLOCKS; i++)
		spare_free(blocks[i]);
	int kept = 0;
	for (int i = 0; i < 200; i++) {
		void *record = spare_alloc(17000);
		size_t before = in_use();
		spare_free(record);
		kept += in_use() == before;
	}
	assert_true(kept > 100);
}

static void *free_elsewhere(void *block)
{
	spare_open();
	spare_free(block);
	spare_free(spare_alloc(100));
	spare_close();
	return NULL;
}

static void another_thread_may_free(void **state)
{
	(void)state;
	pthread_t thread;
	for (int i = 0; i < 100; i++) {
		assert_int_equal(
		        pthread_create(&thread, NULL, free_elsewhere, spare_alloc(100)), 0);
		assert_int_equal(pthread_join(thread, NULL), 0);
	}
}

static void without_spares_it_is_malloc(void **state)
{
	(void)state;
	char *block = spare_alloc(100);
	block = must_spare_again(block, 200);
	spare_free(block);
	spare_close();  // nothing to close
}

#define test(name) cmocka_unit_test_setup_teardown(name, open_spares, close_spares)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        test(every_size_has_its_room),
	        test(what_was_freed_comes_again),
	        test(must_spare_is_zeroed_whatever_was_there),
	        test(blocks_keep_what_is_in_them),
	        test(no_more_is_kept_than_said),
	        test(sizes_no_longer_asked_for_give_way),
	        test(another_thread_may_free),
	        cmocka_unit_test(without_spares_it_is_malloc),
	};
	return cmocka_run_group_tests_name("spare", tests, NULL, NULL);
}
