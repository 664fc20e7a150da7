#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/buffer.h"

static void an_empty_buffer_is_zeroed_memory(void **state)
{
	(void)state;
	struct buffer buffer = {0};
	assert_int_equal(buffer_len(&buffer), 0);
	assert_int_equal(buffer_str(&buffer).len, 0);
	buffer_append(&buffer, NULL, 0);
	buffer_append_str(&buffer, str_from(NULL));
	buffer_take(&buffer, 0);
	buffer_cut(&buffer, 0);
	assert_non_null(buffer_room(&buffer, 0));
	buffer_fini(&buffer);
	buffer_fini(&buffer);
}

static void printf_appends_without_the_terminator(void **state)
{
	(void)state;
	struct buffer buffer = {0};
	buffer_printf(&buffer, "%s", "");
	buffer_printf(&buffer, "%d:", 42);
	buffer_printf(&buffer, "%*s", 5000, "x");
	assert_int_equal(buffer_len(&buffer), 5003);
	assert_memory_equal(buffer_data(&buffer), "42:  ", 5);
	assert_int_equal(buffer_data(&buffer)[5002], 'x');
	buffer_fini(&buffer);
}

static void cut_drops_from_the_end_take_from_the_front(void **state)
{
	(void)state;
	struct buffer buffer = {0};
	buffer_append(&buffer, "abcdef", 6);
	buffer_take(&buffer, 2);
	buffer_cut(&buffer, 3);
	assert_true(str_eq(buffer_str(&buffer), STR("cde")));
	buffer_append(&buffer, "x", 1);
	assert_true(str_eq(buffer_str(&buffer), STR("cdex")));
	buffer_cut(&buffer, 0);
	assert_int_equal(buffer_len(&buffer), 0);
	buffer_fini(&buffer);
}

// A queue of bytes numbered 0,1,2...: whatever the mixture of appends and takes, what comes out is
// what went in.
static void random_appends_and_takes_keep_the_order(void **state)
{
	(void)state;
	srandom(1);
	struct buffer buffer = {0};
	unsigned char in = 0, out = 0;
	size_t len = 0;
	for (int round = 0; round < 20000; round++) {
		size_t add = (size_t)(random() % (round % 7 ? 40 : 900));
		unsigned char *room = (unsigned char *)buffer_room(&buffer, add);
		for (size_t i = 0; i < add; i++)
			room[i] = in++;
		buffer_added(&buffer, add);
		len += add;
		size_t take = (size_t)random() % (len + 1);
		for (size_t i = 0; i < take; i++)
			assert_int_equal((unsigned char)buffer_data(&buffer)[i], out++);
		buffer_take(&buffer, take);
		len -= take;
		assert_int_equal(buffer_len(&buffer), len);
	}
	buffer_fini(&buffer);
}

// Hazard: a queue that is nearly full all the time must not move all its bytes for each one added,
// nor grow for ever.
static void a_standing_queue_neither_copies_each_time_nor_grows(void **state)
{
	(void)state;
	struct buffer buffer = {0};
	memset(buffer_room(&buffer, 1000), 'x', 1000);
	buffer_added(&buffer, 1000);
	size_t moves = 0;
	for (int i = 0; i < 100000; i++) {
		buffer_take(&buffer, 1);
		size_t before = buffer.end;
		buffer_append(&buffer, "y", 1);
		moves += buffer.end != before + 1;
	}
	assert_true(moves < 200);
	assert_true(buffer.capacity <= 4096);
	buffer_fini(&buffer);
}

// What a body gives to the connection that sends it on: all, in pieces, behind what is there.
static void moving_keeps_the_order_and_copies_nothing_into_an_empty_buffer(void **state)
{
	(void)state;
	struct buffer from = {0}, to = {0};
	buffer_append_str(&from, STR("abcdef"));
	const char *block = from.block;
	buffer_move(&to, &from, 6);
	assert_ptr_equal(to.block, block);
	assert_int_equal(buffer_len(&from), 0);
	buffer_append_str(&from, STR("ghijkl"));
	buffer_move(&to, &from, 6);
	buffer_append_str(&from, STR("mnopqr"));
	buffer_take(&to, 10);
	buffer_move(&to, &from, 2);
	assert_true(str_eq(buffer_str(&to), STR("klmn")));
	assert_true(str_eq(buffer_str(&from), STR("opqr")));
	buffer_clear(&to);
	buffer_move(&to, &from, 3);
	buffer_move(&to, &from, 0);
	assert_true(str_eq(buffer_str(&to), STR("opq")));
	assert_true(str_eq(buffer_str(&from), STR("r")));
	buffer_fini(&from);
	buffer_fini(&to);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(an_empty_buffer_is_zeroed_memory),
	        cmocka_unit_test(printf_appends_without_the_terminator),
	        cmocka_unit_test(cut_drops_from_the_end_take_from_the_front),
	        cmocka_unit_test(random_appends_and_takes_keep_the_order),
	        cmocka_unit_test(moving_keeps_the_order_and_copies_nothing_into_an_empty_buffer),
	        cmocka_unit_test(a_standing_queue_neither_copies_each_time_nor_grows),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
