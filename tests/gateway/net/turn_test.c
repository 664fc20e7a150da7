// The turn tells how long it was at work, and says nothing of the time it slept.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_turn_that_stalls_tells_for_how_long),
	        cmocka_unit_test(sleep_is_no_work),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
