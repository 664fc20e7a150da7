#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/arena.h"

static void zero_bytes_are_still_a_place(void **state)
{
	(void)state;
	struct arena arena = {0};
	void *first = arena_alloc(&arena, 0), *second = arena_zalloc(&arena, 0);
	assert_non_null(first);
	assert_non_null(second);
	assert_ptr_not_equal(first, second);
	arena_fini(&arena);
}

static void pieces_are_aligned_and_do_not_overlap(void **state)
{
	(void)state;
	enum { PIECES = 2000 };
	static struct {
		unsigned char *at;
		size_t size;
	} pieces[PIECES];
	srandom(2);
	struct arena arena = {0};
	for (size_t i = 0; i < PIECES; i++) {
		pieces[i].size = (size_t)(random() % (i % 50 ? 100 : 9000));
		pieces[i].at = arena_alloc(&arena, pieces[i].size);
		assert_int_equal((uintptr_t)pieces[i].at % _Alignof(max_align_t), 0);
		if (pieces[i].size)
			memset(pieces[i].at, (int)(i & 255), pieces[i].size);
	}
	for (size_t i = 0; i < PIECES; i++)
		for (size_t k = 0; k < pieces[i].size; k++)
			assert_int_equal(pieces[i].at[k], i & 255);
	arena_fini(&arena);
}

static void zalloc_zeroes_memory_that_was_used_before(void **state)
{
	(void)state;
	struct arena arena = {0};
	memset(arena_alloc(&arena, 4000), 0xff, 4000);
	arena_fini(&arena);
	unsigned char *zeroed = arena_zalloc(&arena, 4000);
	for (size_t i = 0; i < 4000; i++)
		assert_int_equal(zeroed[i], 0);
	arena_fini(&arena);
}

static void copies_end_in_a_nul_and_keep_inner_ones(void **state)
{
	(void)state;
	struct arena arena = {0};
	struct str copy = arena_str(&arena, STR("a\0b"));
	assert_int_equal(copy.len, 3);
	assert_memory_equal(copy.at, "a\0b", 4);
	struct str empty = arena_str(&arena, str_from(NULL));
	assert_int_equal(empty.len, 0);
	assert_string_equal(empty.at, "");
	struct str lower = arena_lower(&arena, STR("Host-@[\xc4Z"));
	assert_string_equal(lower.at, "host-@[\xc4z");
	struct str printed = arena_printf(&arena, "%s %*d", "x", 6000, 7);
	assert_int_equal(printed.len, 6002);
	assert_int_equal(strlen(printed.at), 6002);
	arena_fini(&arena);
}

static void an_emptied_arena_is_usable_again(void **state)
{
	(void)state;
	struct arena arena = {0};
	arena_fini(&arena);
	assert_string_equal(arena_str(&arena, STR("one")).at, "one");
	arena_fini(&arena);
	assert_string_equal(arena_str(&arena, STR("two")).at, "two");
	arena_fini(&arena);
}

static void letters_of_every_length_and_place_become_small_ones(void **state)
{
	(void)state;
	for (size_t len = 0; len < 20; len++)
		for (size_t at = 0; at < len; at++)
			for (int byte = 0; byte < 256; byte++) {
				struct arena arena = {0};
				char text[20];
				memset(text, 'Q', sizeof(text));
				text[at] = (char)byte;
				struct str lower = arena_lower(&arena, str_of(text, len));
				bool letter = byte >= 'A' && byte <= 'Z';
				assert_int_equal(lower.len, len);
				for (size_t i = 0; i < len; i++)
					assert_int_equal(lower.at[i], i != at  ? 'q'
					                              : letter ? byte + 32
					                                       : (char)byte);
				assert_int_equal(lower.at[len], 0);
				arena_fini(&arena);
			}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(zero_bytes_are_still_a_place),
	        cmocka_unit_test(pieces_are_aligned_and_do_not_overlap),
	        cmocka_unit_test(zalloc_zeroes_memory_that_was_used_before),
	        cmocka_unit_test(copies_end_in_a_nul_and_keep_inner_ones),
	        cmocka_unit_test(an_emptied_arena_is_usable_again),
	        cmocka_unit_test(letters_of_every_length_and_place_become_small_ones),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
