#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/wheel.h"

enum { TICK_NS = 8 * NS_PER_MS, TIMERS = 60 };

static struct wheel wheel;
static int64_t now_ns;

// The naive model: a due time or nothing for each timer; whatever is due fires at the next turn.
static struct watched {
	struct timer timer;
	int64_t model_due_ns;  // -1: not armed
	int fired;
} watched[TIMERS];

static void fire(struct timer *timer)
{
	struct watched *one = LIST_ITEM(timer, struct watched, timer);
	assert_true(one->model_due_ns >= 0);
	assert_true(one->model_due_ns <= now_ns);  // never early
	assert_false(timer_armed(timer));
	one->model_due_ns = -1;
	one->fired++;
}

static void set(struct watched *one, int64_t due_ns)
{
	timer_set(&wheel, &one->timer, due_ns);
	one->model_due_ns = due_ns;
}

static void stop(struct watched *one)
{
	timer_stop(&wheel, &one->timer);
	one->model_due_ns = -1;
}

static void begin(int64_t start_ns, void (*on_fire)(struct timer *))
{
	now_ns = start_ns;
	wheel_init(&wheel, now_ns);
	for (size_t i = 0; i < TIMERS; i++) {
		watched[i] = (struct watched){.model_due_ns = -1};
		timer_init(&watched[i].timer, on_fire);
	}
}

static void turn_at(int64_t at_ns)
{
	now_ns = at_ns;
	wheel_turn(&wheel, now_ns);
}

// Nothing later than one tick, nothing lost, and the wheel knows how many it holds.
static void assert_like_the_model(void)
{
	size_t armed = 0;
	for (size_t i = 0; i < TIMERS; i++) {
		int64_t due_ns = watched[i].model_due_ns;
		armed += due_ns >= 0;
		assert_int_equal(timer_armed(&watched[i].timer), due_ns >= 0);
		if (due_ns >= 0)
			assert_true(due_ns > now_ns - 2 * TICK_NS);
	}
	assert_int_equal(wheel.count, armed);
	int64_t wait_ns = wheel_wait(&wheel, now_ns);
	if (armed == 0) {
		assert_int_equal(wait_ns, -1);
		return;
	}
	assert_true(wait_ns >= 0);
	for (size_t i = 0; i < TIMERS; i++)
		if (watched[i].model_due_ns >= 0)
			assert_true(now_ns + wait_ns < watched[i].model_due_ns + 2 * TICK_NS);
}

static int64_t some_wait_ns(void)
{
	static const int64_t scales_ns[] = {1, TICK_NS, 100 * (int64_t)NS_PER_MS,
	        (int64_t)WHEEL_SLOTS * TICK_NS, 100 * (int64_t)NS_PER_S};
	int64_t wide = (int64_t)random() << 31 | random();
	return wide % (scales_ns[random() % 5] + 1);
}

static void random_schedules_fire_like_the_naive_model(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 40; seed++) {
		srandom(seed);
		begin(seed % 3 ? random() * (int64_t)NS_PER_MS : 0, fire);
		for (int step = 0; step < 2000; step++) {
			struct watched *one = &watched[random() % TIMERS];
			switch (random() % 4) {
			case 0:
				stop(one);
				break;
			case 1:  // into the past, too
				set(one, now_ns > TICK_NS ? now_ns - random() % TICK_NS : now_ns);
				break;
			default:
				set(one, now_ns + some_wait_ns());
			}
			if (random() % 3 == 0)  // jumps of up to a hundred seconds among them
				turn_at(now_ns + some_wait_ns());
			assert_like_the_model();
		}
	}
}

static void sleeping_as_told_fires_each_timer_within_a_tick(void **state)
{
	(void)state;
	begin(5 * (int64_t)NS_PER_S + 3, fire);
	for (int i = 0; i < TIMERS; i++)
		set(&watched[i], now_ns + (int64_t)i * i * 7 * NS_PER_MS + i);
	for (int turns = 0; wheel.count; turns++) {
		assert_true(turns < 3 * TIMERS);  // never a busy loop
		turn_at(now_ns + wheel_wait(&wheel, now_ns));
		assert_like_the_model();
	}
	for (int i = 0; i < TIMERS; i++)
		assert_int_equal(watched[i].fired, 1);
}

static void a_timer_moved_later_is_not_fired_at_its_old_time(void **state)
{
	(void)state;
	begin(0, fire);
	set(&watched[0], NS_PER_S);
	set(&watched[0], 30 * (int64_t)NS_PER_S);
	turn_at(29 * (int64_t)NS_PER_S);
	assert_int_equal(watched[0].fired, 0);
	set(&watched[0], 29 * (int64_t)NS_PER_S + 1);
	turn_at(29 * (int64_t)NS_PER_S + 3 * TICK_NS);
	assert_int_equal(watched[0].fired, 1);
}

static void never_is_a_time_like_any_other(void **state)
{
	(void)state;
	begin(INT64_C(1000000) * NS_PER_S, fire);
	set(&watched[0], INT64_MAX);
	for (int i = 0; i < 100; i++)
		turn_at(now_ns + 20 * (int64_t)NS_PER_S);
	assert_int_equal(watched[0].fired, 0);
	assert_true(timer_armed(&watched[0].timer));
	stop(&watched[0]);
	assert_int_equal(wheel.count, 0);
}

static void a_clock_that_steps_back_fires_nothing(void **state)
{
	(void)state;
	begin(100 * (int64_t)NS_PER_S, fire);
	set(&watched[0], 100 * (int64_t)NS_PER_S + NS_PER_MS);
	turn_at(90 * (int64_t)NS_PER_S);
	assert_int_equal(watched[0].fired, 0);
	turn_at(101 * (int64_t)NS_PER_S);
	assert_int_equal(watched[0].fired, 1);
}

static void rearm_from_within(struct timer *timer)
{
	struct watched *one = LIST_ITEM(timer, struct watched, timer);
	one->fired++;
	timer_set(&wheel, timer, now_ns + NS_PER_S);
}

static void stop_the_others(struct timer *timer)
{
	LIST_ITEM(timer, struct watched, timer)->fired++;
	for (size_t i = 0; i < TIMERS; i++)
		timer_stop(&wheel, &watched[i].timer);
}

static void a_firing_timer_may_set_itself_and_stop_others(void **state)
{
	(void)state;
	begin(0, rearm_from_within);
	timer_set(&wheel, &watched[0].timer, NS_PER_S);
	for (int i = 1; i <= 10; i++)
		turn_at((int64_t)i * NS_PER_S + (int64_t)i * TICK_NS);
	assert_int_equal(watched[0].fired, 10);
	assert_int_equal(wheel.count, 1);

	begin(0, stop_the_others);
	for (size_t i = 0; i < TIMERS; i++)  // all in one slot
		timer_set(&wheel, &watched[i].timer, NS_PER_S);
	turn_at(2 * (int64_t)NS_PER_S);
	int fired = 0;
	for (size_t i = 0; i < TIMERS; i++)
		fired += watched[i].fired;
	assert_int_equal(fired, 1);
	assert_int_equal(wheel.count, 0);
	assert_int_equal(wheel_wait(&wheel, now_ns), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(random_schedules_fire_like_the_naive_model),
	        cmocka_unit_test(sleeping_as_told_fires_each_timer_within_a_tick),
	        cmocka_unit_test(a_timer_moved_later_is_not_fired_at_its_old_time),
	        cmocka_unit_test(never_is_a_time_like_any_other),
	        cmocka_unit_test(a_clock_that_steps_back_fires_nothing),
	        cmocka_unit_test(a_firing_timer_may_set_itself_and_stop_others),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
