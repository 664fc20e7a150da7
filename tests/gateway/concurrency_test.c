#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/gateway/simulated_backend.h"

static const struct config_concurrency adaptive = {
        .mark = {1, 1}, .min = 4, .max = 1000, .tolerance_percent = 150};

static const struct shape {
	unsigned servers;
	double service_ms;
	unsigned workers;
	enum noise noise;
} shapes[] = {
        {20, 50, 1, STEADY},
        {20, 50, 1, NOISY},
        {8, 200, 1, STEADY},
        {40, 10, 1, NOISY},
        {20, 50, 4, STEADY},
        {40, 10, 4, NOISY},
        {20, 200, 1, STEADY},
        {20, 200, 4, STEADY},
};

static void begin(struct simulation *sim, const struct shape *shape)
{
	sim_init(sim, &adaptive, shape->workers);
	sim->servers = shape->servers;
	sim->service_ms = shape->service_ms;
	sim->noise = shape->noise;
}

// Callers come `load` times as fast as the backend can answer.
static void run(struct simulation *sim, double seconds, double load)
{
	sim_run(sim, seconds, load * sim_capacity(sim));
}

static double goodput(const struct simulation *sim, double seconds)
{
	return (double)sim->answers / seconds / sim_capacity(sim);
}

static double slowest_of_99(struct simulation *sim)
{
	return sim_percentile_ms(sim, 0.99) / sim->service_ms;
}

#define assert_within(value, least, most)                                                          \
	do {                                                                                       \
		double value_ = (value);                                                           \
		if (!(value_ >= (least) && value_ <= (most)))                                      \
			fail_msg("%s is %g, not from %g to %g", #value, value_, (double)(least),   \
			        (double)(most));                                                   \
	} while (0)

static void five_times_too_many_are_cut_down_to_what_the_backend_can_do(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
		// The limit that all begin with is four times what this one can do, and it is slow.
		double rush = shapes[i].servers < 16 ? 4.1 : 2.1;
		struct simulation sim;
		begin(&sim, &shapes[i]);
		run(&sim, 10, 0.5);
		assert_within((double)sim.shed / sim.offered, 0, 0.02);
		run(&sim, 25, 5);
		assert_within(goodput(&sim, 25), 0.95, 1.02);
		assert_within(slowest_of_99(&sim), 1, rush);
		run(&sim, 30, 5);
		assert_within(goodput(&sim, 30), 0.95, 1.02);
		assert_within(slowest_of_99(&sim), 1, 2.1);
		assert_within(sim_limit(&sim) / sim.servers, 1, 2.1);
		sim_fini(&sim);
	}
}

static void a_start_under_overload_finds_its_way(void **state)
{
	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct simulation sim;
		begin(&sim, &shapes[i]);
		run(&sim, 10, 5);
		assert_within(goodput(&sim, 10), 0.8, 1.02);
		run(&sim, 20, 5);
		assert_within(goodput(&sim, 20), 0.95, 1.02);
		assert_within(slowest_of_99(&sim), 1, 2.5);
		sim_fini(&sim);
	}
}

static void nobody_is_refused_while_the_backend_keeps_up(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
		struct simulation sim;
		begin(&sim, &shapes[i]);
		run(&sim, 10, 0.3);
		run(&sim, 60, 0.7);
		assert_within((double)sim.shed / sim.offered, 0, 0.002);
		sim_fini(&sim);
	}
}

static void a_backend_that_slows_is_not_starved_and_one_that_recovers_is_used(void **state)
{
	(void)state;
	struct simulation sim;
	begin(&sim, &shapes[1]);
	run(&sim, 10, 5);
	sim.service_ms *= 2;
	run(&sim, 10, 5);
	assert_within(goodput(&sim, 10), 0.6, 1.02);
	run(&sim, 20, 5);
	assert_within(goodput(&sim, 20), 0.95, 1.02);
	assert_within(slowest_of_99(&sim), 1, 2.2);
	sim.service_ms /= 2;
	run(&sim, 20, 5);
	assert_within(goodput(&sim, 20), 0.95, 1.02);
	run(&sim, 20, 5);
	assert_within(slowest_of_99(&sim), 1, 2.2);
	sim_fini(&sim);
}

static void half_of_its_servers_get_half_of_the_calls(void **state)
{
	(void)state;
	struct simulation sim;
	begin(&sim, &shapes[0]);
	run(&sim, 20, 5);
	double before = sim_limit(&sim);
	sim.servers /= 2;
	run(&sim, 20, 5);
	run(&sim, 20, 5);
	assert_within(goodput(&sim, 20), 0.95, 1.02);
	assert_within(slowest_of_99(&sim), 1, 2.2);
	assert_within(sim_limit(&sim) / before, 0.3, 0.7);
	sim_fini(&sim);
}

static void idleness_moves_nothing(void **state)
{
	(void)state;
	struct simulation sim;
	begin(&sim, &shapes[1]);
	run(&sim, 20, 5);
	sim_run(&sim, 60, 2);
	double limit = sim_limit(&sim), unloaded_ns = sim.workers[0].unloaded_ns;
	sim_run(&sim, 3600, 2);
	assert_within(sim_limit(&sim) / limit, 1, 1);
	assert_within(sim.workers[0].unloaded_ns / unloaded_ns, 0.85, 1.15);
	sim_fini(&sim);
}

// Service times as uneven as they can be without memory: the mean says little about any one.
static void noise_does_not_bring_it_down(void **state)
{
	(void)state;
	struct simulation sim;
	begin(&sim, &(struct shape){40, 10, 1, WILD});
	run(&sim, 10, 0.5);
	run(&sim, 60, 5);
	assert_within(goodput(&sim, 60), 0.95, 1.02);
	run(&sim, 60, 0.6);
	assert_within((double)sim.shed / sim.offered, 0, 0.002);
	sim_fini(&sim);
}

static void a_quick_backend_is_given_all_it_is_asked_for(void **state)
{
	(void)state;
	struct simulation sim;
	begin(&sim, &(struct shape){SERVERS_MAX, 0.4, 1, WILD});
	sim_run(&sim, 1, 200000);
	sim_run(&sim, 1, 200000);
	assert_within((double)sim.shed / sim.offered, 0, 0.001);
	assert_within(sim_limit(&sim), 64, 1000);
	sim_fini(&sim);
}

// Calls that end at once need no places: to refuse them would only hide why they fail.
static void a_backend_that_fails_every_call_at_once_can_come_back(void **state)
{
	(void)state;
	struct simulation sim;
	begin(&sim, &shapes[0]);
	run(&sim, 5, 0.5);
	sim.fails = 1;
	run(&sim, 5, 5);
	assert_within((double)sim.shed, 0, 0);
	sim.fails = 0;
	run(&sim, 3, 5);
	run(&sim, 10, 5);
	assert_within(goodput(&sim, 10), 0.95, 1.02);
	sim_fini(&sim);
}

static void let_through(struct concurrency *concurrency, unsigned calls, enum concurrency_end end,
        int64_t took_ms, int64_t *now_ms)
{
	uint64_t tickets[64];
	assert_in_range(calls, 1, 64);
	for (unsigned i = 0; i < calls; i++) {
		concurrency_enter(concurrency);
		tickets[i] = concurrency_begin(concurrency, *now_ms * NS_PER_MS);
	}
	*now_ms += took_ms;
	for (unsigned i = 0; i < calls; i++) {
		concurrency_leave(concurrency);
		concurrency_end(
		        concurrency, tickets[i], end, took_ms * NS_PER_MS, *now_ms * NS_PER_MS);
	}
}

// Calls that end alike, 30 at a time, after answers of 50 ms: what is left of the limit.
static double limit_after(enum concurrency_end end, int64_t took_ms)
{
	struct concurrency concurrency;
	int64_t now_ms = 5000;
	concurrency_init(&concurrency, &adaptive, 1, now_ms * NS_PER_MS);
	for (unsigned i = 0; i < 20; i++)
		let_through(&concurrency, 30, CONCURRENCY_ANSWERED, 50, &now_ms);
	double before = concurrency.limit;
	for (int64_t end_ms = now_ms + 400; now_ms < end_ms;)
		let_through(&concurrency, 30, end, took_ms, &now_ms);
	return concurrency.limit / before;
}

static void what_each_end_says(void **state)
{
	(void)state;
	assert_within(limit_after(CONCURRENCY_ANSWERED, 50), 1, 2);
	assert_within(limit_after(CONCURRENCY_ANSWERED, 300), 0, 0.6);
	assert_within(limit_after(CONCURRENCY_UNAVAILABLE, 1), 0, 0.6);
	assert_within(limit_after(CONCURRENCY_FRUITLESS, 300), 0, 0.6);
	assert_within(limit_after(CONCURRENCY_FRUITLESS, 20), 1, 1);
	assert_within(limit_after(CONCURRENCY_SILENT, 300), 1, 1);
}

// They never end; who goes on coming is refused, and the limit does not wait for them.
static void a_backend_that_hangs_shrinks_the_limit(void **state)
{
	(void)state;
	struct concurrency concurrency;
	int64_t now_ms = 5000;
	concurrency_init(&concurrency, &adaptive, 1, now_ms * NS_PER_MS);
	for (unsigned i = 0; i < 20; i++)
		let_through(&concurrency, 30, CONCURRENCY_ANSWERED, 50, &now_ms);
	double before = concurrency.limit;
	for (unsigned i = 0; i < 100; i++, now_ms += 10)
		if (concurrency_room(&concurrency, PRIORITY_NORMAL, now_ms * NS_PER_MS)) {
			concurrency_enter(&concurrency);
			assert_true(concurrency_begin(&concurrency, now_ms * NS_PER_MS) > 0);
		}
	assert_within(concurrency.limit / before, 0, 0.5);
}

static void the_fixed_one_never_moves(void **state)
{
	(void)state;
	const struct config_concurrency ten = {.mark = {1, 1}, .limit = 10};
	struct simulation sim;
	sim_init(&sim, &ten, 1);
	run(&sim, 30, 5);
	assert_within(sim_limit(&sim), 10, 10);
	assert_within(goodput(&sim, 30), 0.49, 0.51);
	sim_fini(&sim);
}

static void the_low_are_refused_first_and_the_high_last(void **state)
{
	(void)state;
	static const struct {
		uint64_t limit;
		unsigned low, normal, high;
	} ceilings[] = {
	        {1, 1, 1, 2}, {2, 1, 2, 3}, {4, 3, 4, 5}, {10, 7, 10, 13}, {100, 75, 100, 125}};
	for (size_t i = 0; i < ARRAY_LEN(ceilings); i++) {
		const struct config_concurrency config = {.limit = ceilings[i].limit};
		struct concurrency concurrency;
		concurrency_init(&concurrency, &config, 1, 0);
		unsigned let_in[CONFIG_PRIORITIES] = {0};
		for (enum config_priority at = PRIORITY_LOW; at <= PRIORITY_HIGH; at++) {
			while (concurrency_room(&concurrency, at, 0))
				concurrency_enter(&concurrency);
			let_in[at] = concurrency.active;
		}
		assert_int_equal(let_in[PRIORITY_LOW], ceilings[i].low);
		assert_int_equal(let_in[PRIORITY_NORMAL], ceilings[i].normal);
		assert_int_equal(let_in[PRIORITY_HIGH], ceilings[i].high);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(five_times_too_many_are_cut_down_to_what_the_backend_can_do),
	        cmocka_unit_test(a_start_under_overload_finds_its_way),
	        cmocka_unit_test(nobody_is_refused_while_the_backend_keeps_up),
	        cmocka_unit_test(a_backend_that_slows_is_not_starved_and_one_that_recovers_is_used),
	        cmocka_unit_test(half_of_its_servers_get_half_of_the_calls),
	        cmocka_unit_test(idleness_moves_nothing),
	        cmocka_unit_test(noise_does_not_bring_it_down),
	        cmocka_unit_test(a_quick_backend_is_given_all_it_is_asked_for),
	        cmocka_unit_test(a_backend_that_fails_every_call_at_once_can_come_back),
	        cmocka_unit_test(what_each_end_says),
	        cmocka_unit_test(a_backend_that_hangs_shrinks_the_limit),
	        cmocka_unit_test(the_fixed_one_never_moves),
	        cmocka_unit_test(the_low_are_refused_first_and_the_high_last),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
