// The turn tells how long it was at work, and says nothing of the time it slept. What was read is
// passed on with its block or copied; who asks sees no difference.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "base/clock.h"
#include "gateway/net/turn.h"

static struct timer waiting;
static struct told {
	int64_t worked_ns[4];
	int count;
} told;

static void on_worked(struct turn *turn, int64_t worked_ns)
{
	(void)turn;
	if (told.count < 4)
		told.worked_ns[told.count++] = worked_ns;
}

static void on_nothing(struct timer *timer)
{
	(void)timer;
}

static void on_stall(struct timer *timer)
{
	(void)timer;
	for (int64_t until_ns = clock_monotonic_ns() + 30 * (int64_t)NS_PER_MS;
	        clock_monotonic_ns() < until_ns;)
		;
}

static void run_with(void (*ring)(struct timer *timer))
{
	struct turn turn;
	turn_init(&turn);
	turn.worked = on_worked;
	told = (struct told){0};
	timer_init(&waiting, ring);
	turn_set_timer(&turn, &waiting, 50 * (int64_t)NS_PER_MS);
	turn_close(&turn);
	turn_run(&turn);
	turn_fini(&turn);
}

static void a_turn_that_stalls_tells_for_how_long(void **state)
{
	(void)state;
	run_with(on_stall);
	int64_t longest_ns = 0;
	for (int i = 0; i < told.count; i++)
		longest_ns = told.worked_ns[i] > longest_ns ? told.worked_ns[i] : longest_ns;
	assert_true(longest_ns >= 30 * (int64_t)NS_PER_MS);
}

static void sleep_is_no_work(void **state)
{
	(void)state;
	int64_t began_ns = clock_monotonic_ns();
	run_with(on_nothing);
	int64_t lasted_ns = clock_monotonic_ns() - began_ns, sum_ns = 0;
	assert_true(told.count > 0);
	for (int i = 0; i < told.count; i++)
		sum_ns += told.worked_ns[i];
	assert_true(sum_ns <= lasted_ns - 40 * (int64_t)NS_PER_MS);
}

static struct str read_in(struct turn *turn, size_t count)
{
	char *room = turn_room(turn);
	for (size_t i = 0; i < count; i++)
		room[i] = (char)(i * 7 + i / 251);
	return turn_has_read(turn, count);
}

static void much_that_was_read_changes_hands(void **state)
{
	(void)state;
	const struct {
		const char *name;
		size_t count, from, to, before;  // `before` bytes wait in the target already
		bool moved;
	} rows[] = {
	        {"all of a full read", TURN_READ_SIZE, 0, TURN_READ_SIZE, 0, true},
	        {"just enough", TURN_READ_MUCH, 0, TURN_READ_MUCH, 0, true},
	        {"behind a head", TURN_READ_SIZE, 300, TURN_READ_SIZE, 0, true},
	        {"too little", TURN_READ_MUCH - 1, 0, TURN_READ_MUCH - 1, 0, false},
	        {"too little behind a head", TURN_READ_MUCH, 1, TURN_READ_MUCH, 0, false},
	        {"something follows", TURN_READ_SIZE, 0, TURN_READ_SIZE - 1, 0, false},
	        {"something waits", TURN_READ_SIZE, 0, TURN_READ_SIZE, 1, false},
	};
	struct turn turn;
	turn_init(&turn);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct buffer to = {0};
		char *expected = must_alloc(TURN_READ_SIZE + 1), *at = expected;
		print_message("%s\n", rows[i].name);
		buffer_append(&to, "waits", rows[i].before);
		at = mempcpy(at, "waits", rows[i].before);
		struct str bytes = read_in(&turn, rows[i].count);
		bytes = str_of(bytes.at + rows[i].from, rows[i].to - rows[i].from);
		at = mempcpy(at, bytes.at, bytes.len);
		turn_pass_on(&turn, bytes, &to);
		assert_int_equal(buffer_data(&to) == bytes.at, rows[i].moved);
		// The next read touches nothing of it, and it is a buffer like any other.
		memset(turn_room(&turn), 0xee, TURN_READ_SIZE);
		assert_int_equal(buffer_len(&to), at - expected);
		assert_memory_equal(buffer_data(&to), expected, at - expected);
		buffer_append(&to, expected, TURN_READ_SIZE);
		assert_memory_equal(buffer_data(&to), expected, at - expected);
		buffer_fini(&to);
		free(expected);
	}
	struct buffer to = {0};
	static char elsewhere[TURN_READ_SIZE];
	turn_pass_on(&turn, str_of(elsewhere, sizeof(elsewhere)), &to);
	assert_ptr_not_equal(buffer_data(&to), elsewhere);
	buffer_fini(&to);
	turn_fini(&turn);
}

static int flushed;

static void on_flush(struct dirty *dirty)
{
	(void)dirty;
	flushed++;
}

static void the_dirty_may_be_flushed_before_the_end(void **state)
{
	(void)state;
	struct turn turn;
	struct dirty soon = {.flush = on_flush}, last = {.flush = on_flush};
	turn_init(&turn);
	turn_mark_dirty(&turn, &soon);
	turn_mark_last(&turn, &last);
	turn_flush(&turn);
	assert_int_equal(flushed, 1);  // those of the very end wait for it
	turn_flush(&turn);
	assert_int_equal(flushed, 1);
	uv_run(&turn.loop, UV_RUN_NOWAIT);
	assert_int_equal(flushed, 2);
	turn_fini(&turn);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_turn_that_stalls_tells_for_how_long),
	        cmocka_unit_test(sleep_is_no_work),
	        cmocka_unit_test(much_that_was_read_changes_hands),
	        cmocka_unit_test(the_dirty_may_be_flushed_before_the_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
