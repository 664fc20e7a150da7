#include "tests/policy/bucket_scene.h"

static void call(struct worker *worker, struct bucket_claim *claims, size_t count, int64_t now_ns)
{
	size_t refused_by;
	if (bucket_take_all(claims, count, now_ns, &refused_by) == 0)
		worker->granted++;
	else
		worker->refused++;
}

// Clocks of threads differ: each is a little behind the others.
static void call_at_skewed_times(struct worker *worker)
{
	struct bucket_claim claim = {worker->scene->limits[0], STR("key")};
	int64_t now_ns = NOW_S * second_ns - worker->number * 100;
	for (uint64_t i = 0; i < worker->scene->calls; i++)
		call(worker, &claim, 1, now_ns);
}

static void a_burst_is_granted_to_the_token_over_any_threads(void **state)
{
	(void)state;
	for (unsigned threads = 2; threads <= THREADS_MAX; threads *= 2)
		for (uint64_t max_keys = 0; max_keys < 2; max_keys++) {
			struct worker workers[THREADS_MAX];
			struct bucket_store *store = bucket_store_new();
			struct scene scene = {.store = store,
			        .threads = threads,
			        .calls = 2000,
			        .play = call_at_skewed_times,
			        .limits = {limit_of(store, "limit", 1, 1000, max_keys)}};
			assert_int_equal(play(&scene, workers), 1000);
			struct bucket_view view = view_of(store, NOW_S * second_ns);
			assert_int_equal(view.granted, 1000);
			assert_int_equal(view.refused, threads * 2000 - 1000);
			bucket_limit_unref(scene.limits[0]);
			bucket_store_free(store);
		}
}

// A shared clock that every call moves on, beginning with an empty bucket: since somebody always
// calls before it is full again, what is granted is the burst and the refill to the token.
static void call_while_time_passes(struct worker *worker)
{
	struct bucket_claim claim = {worker->scene->limits[0], STR("key")};
	for (uint64_t i = 0; i < worker->scene->calls; i++)
		call(worker, &claim, 1, atomic_fetch_add(worker->scene->clock_ns, 100));
}

static void burst_and_refill_are_granted_to_the_token(void **state)
{
	(void)state;
	for (uint64_t max_keys = 0; max_keys < 2; max_keys++) {
		struct worker workers[THREADS_MAX];
		struct bucket_store *store = bucket_store_new();
		_Atomic int64_t clock_ns = NOW_S * second_ns;
		// 3 million a second: a token in 333.3 ns, and calls every 100.
		struct scene scene = {.store = store,
		        .threads = 4,
		        .calls = 5000,
		        .play = call_while_time_passes,
		        .clock_ns = &clock_ns,
		        .limits = {limit_of(store, "limit", 3000000, 500, max_keys)}};
		uint64_t granted = drain(scene.limits[0], STR("key"), NOW_S * second_ns);
		granted += play(&scene, workers);
		uint64_t passed_ns = 100 * (4 * 5000 - 1);
		granted += drain(
		        scene.limits[0], STR("key"), NOW_S * second_ns + (int64_t)passed_ns);
		assert_int_equal(granted, 500 + passed_ns * 3 / 1000);
		bucket_limit_unref(scene.limits[0]);
		bucket_store_free(store);
	}
}

// Any number of tokens up to the burst at once.
static void take_any_number_while_time_passes(struct worker *worker)
{
	uint64_t seed = worker->number;
	struct bucket_claim claim = {worker->scene->limits[0], STR("key")};
	for (uint64_t i = 0; i < worker->scene->calls; i++) {
		uint64_t before = worker->granted;
		claim.tokens = 1 + random_below(&seed, 500);
		call(worker, &claim, 1, atomic_fetch_add(worker->scene->clock_ns, 100));
		worker->tokens[0] += (worker->granted - before) * claim.tokens;
	}
}

static void calls_of_many_tokens_get_burst_and_refill_to_the_token(void **state)
{
	(void)state;
	for (uint64_t max_keys = 0; max_keys < 2; max_keys++) {
		struct worker workers[THREADS_MAX];
		struct bucket_store *store = bucket_store_new();
		_Atomic int64_t clock_ns = NOW_S * second_ns;
		struct scene scene = {.store = store,
		        .threads = 4,
		        .calls = 20000,
		        .play = take_any_number_while_time_passes,
		        .clock_ns = &clock_ns,
		        .limits = {limit_of(store, "limit", 3000000, 500, max_keys)}};
		uint64_t taken = drain(scene.limits[0], STR("key"), NOW_S * second_ns);
		assert_true(play(&scene, workers) > 50);
		for (unsigned i = 0; i < scene.threads; i++)
			taken += workers[i].tokens[0];
		uint64_t passed_ns = 100 * (4 * 20000 - 1);
		assert_true(taken <= 500 + passed_ns * 3 / 1000);
		taken += drain(scene.limits[0], STR("key"), NOW_S * second_ns + (int64_t)passed_ns);
		assert_int_equal(taken, 500 + passed_ns * 3 / 1000);
		bucket_limit_unref(scene.limits[0]);
		bucket_store_free(store);
	}
}

// Both limits at once, in either order, of each another number.
static void take_any_numbers_of_two(struct worker *worker)
{
	const struct scene *scene = worker->scene;
	uint64_t seed = worker->number;
	for (uint64_t i = 0; i < scene->calls; i++) {
		size_t first = random_below(&seed, 2), count = 1 + random_below(&seed, 2);
		uint64_t before = worker->granted;
		struct bucket_claim claims[] = {
		        {scene->limits[first], STR("key"), 1 + random_below(&seed, 9)},
		        {scene->limits[!first], STR("key"), 1 + random_below(&seed, 9)}};
		call(worker, claims, count, NOW_S * second_ns);
		for (size_t c = 0; worker->granted > before && c < count; c++)
			worker->tokens[c ? !first : first] += claims[c].tokens;
	}
}

static void calls_of_many_tokens_of_two_limits_lose_and_gain_none(void **state)
{
	(void)state;
	for (int kinds = 0; kinds < 4; kinds++) {
		struct worker workers[THREADS_MAX];
		struct bucket_store *store = bucket_store_new();
		struct scene scene = {.store = store,
		        .threads = 4,
		        .calls = 2000,
		        .play = take_any_numbers_of_two,
		        .limits = {limit_of(store, "first", 1, 3000, kinds & 1),
		                limit_of(store, "second", 1, 5000, kinds & 2)}};
		assert_true(play(&scene, workers) > 300);
		for (size_t limit = 0; limit < 2; limit++) {
			uint64_t taken = 0;
			for (unsigned i = 0; i < scene.threads; i++)
				taken += workers[i].tokens[limit];
			taken += drain(scene.limits[limit], STR("key"), NOW_S * second_ns);
			assert_int_equal(taken, limit ? 5000 : 3000);
			bucket_limit_unref(scene.limits[limit]);
		}
		bucket_store_free(store);
	}
}

// Even threads claim both limits, in either order; odd threads the first alone. The first has just
// enough for all: were a token ever gone for a moment to a call that is then refused by the second,
// an odd thread would be refused.
static void claim_several(struct worker *worker)
{
	const struct scene *scene = worker->scene;
	struct bucket_claim claims[] = {
	        {scene->limits[0], STR("key")}, {scene->limits[1], STR("key")}};
	struct bucket_claim reversed[] = {claims[1], claims[0]};
	for (uint64_t i = 0; i < scene->calls; i++) {
		if (worker->number % 2)
			call(worker, claims, 1, NOW_S * second_ns);
		else
			call(worker, i % 2 ? claims : reversed, 2, NOW_S * second_ns);
	}
}

static void refused_calls_hold_no_token_even_for_a_moment(void **state)
{
	(void)state;
	enum { THREADS = 4, CALLS = 3000, SECOND_BURST = 100 };
	for (int kinds = 0; kinds < 4; kinds++) {
		struct worker workers[THREADS_MAX];
		struct bucket_store *store = bucket_store_new();
		uint64_t enough = SECOND_BURST + THREADS / 2 * CALLS;
		struct scene scene = {.store = store,
		        .threads = THREADS,
		        .calls = CALLS,
		        .play = claim_several,
		        .limits = {limit_of(store, "first", 1, enough, kinds & 1),
		                limit_of(store, "second", 1, SECOND_BURST, kinds & 2)}};
		assert_int_equal(play(&scene, workers), enough);
		for (unsigned i = 1; i < THREADS; i += 2)
			assert_int_equal(workers[i].refused, 0);
		assert_int_equal(drain(scene.limits[0], STR("key"), NOW_S * second_ns), 0);
		assert_int_equal(drain(scene.limits[1], STR("key"), NOW_S * second_ns), 0);
		bucket_limit_unref(scene.limits[0]);
		bucket_limit_unref(scene.limits[1]);
		bucket_store_free(store);
	}
}

static void claim_random_keys(struct worker *worker)
{
	const struct scene *scene = worker->scene;
	uint64_t seed = worker->number;
	for (uint64_t i = 0; i < scene->calls; i++) {
		char one[32], two[32];
		struct bucket_claim claims[] = {
		        {scene->limits[0], key_of(one, random_below(&seed, 4000))},
		        {scene->limits[1], key_of(two, random_below(&seed, 40))},
		        {scene->limits[2], STR("")}};
		call(worker, claims, 1 + random_below(&seed, 3), NOW_S * second_ns);
	}
}

// Tables too small for the keys, shards and overflow buckets claimed at once, in many orders:
// nobody waits for ever, and no table grants more than its buckets hold.
static void many_keys_on_full_tables_neither_hang_nor_gain(void **state)
{
	(void)state;
	struct worker workers[THREADS_MAX];
	struct bucket_store *store = bucket_store_new();
	struct scene scene = {.store = store,
	        .threads = 4,
	        .calls = 8000,
	        .play = claim_random_keys,
	        .limits = {limit_of(store, "large", 1, 3, 2500),
	                limit_of(store, "small", 1, 50, 20),
	                limit_of(store, "single", 1, 4000, 0)}};
	assert_true(play(&scene, workers) <= (2500 + 1) * 3);
	struct bucket_view view = view_of(store, NOW_S * second_ns);
	assert_true(view.granted > 0);
	for (size_t i = 0; i < 3; i++)
		bucket_limit_unref(scene.limits[i]);
	bucket_store_free(store);
}

// Keys come and go while time passes: buckets are forgotten in other threads' shards.
static void call_many_keys_while_time_passes(struct worker *worker)
{
	const struct scene *scene = worker->scene;
	uint64_t seed = worker->number;
	for (uint64_t i = 0; i < scene->calls; i++) {
		char text[32];
		struct bucket_claim claim = {
		        scene->limits[0], key_of(text, random_below(&seed, 6000))};
		call(worker, &claim, 1, atomic_fetch_add(scene->clock_ns, 1000));
	}
}

static void buckets_are_forgotten_across_shards_within_the_bound(void **state)
{
	(void)state;
	enum { KEYS = 2500, BURST = 2, PER_SECOND = 100, CALLS = 10000, THREADS = 4 };
	struct worker workers[THREADS_MAX];
	struct bucket_store *store = bucket_store_new();
	_Atomic int64_t clock_ns = NOW_S * second_ns;
	struct scene scene = {.store = store,
	        .threads = THREADS,
	        .calls = CALLS,
	        .play = call_many_keys_while_time_passes,
	        .clock_ns = &clock_ns,
	        .limits = {limit_of(store, "limit", PER_SECOND, BURST, KEYS)}};
	uint64_t granted = play(&scene, workers);
	struct bucket_view view = view_of(store, atomic_load(&clock_ns));
	double passed_s = THREADS * CALLS * 1e-6;
	assert_true((double)granted <= (KEYS + 1) * (BURST + PER_SECOND * passed_s));
	assert_int_equal(view.granted, granted);
	assert_true(view.keys_used <= KEYS);
	bucket_limit_unref(scene.limits[0]);
	bucket_store_free(store);
}

// Workers let go of the former limit one by one while the numbers change again and again.
static void call_through_reloads(struct worker *worker)
{
	const struct scene *scene = worker->scene;
	if (worker->number == 0) {
		change_numbers(scene);
		return;
	}
	char text[32];
	struct bucket_claim claim = {scene->limits[0], key_of(text, worker->number % 2)};
	for (uint64_t i = 0; i < scene->calls; i++)
		call(worker, &claim, 1, NOW_S * second_ns);
}

static void reloads_under_load_give_no_token_twice(void **state)
{
	(void)state;
	for (int keyed = 0; keyed < 2; keyed++) {
		struct worker workers[THREADS_MAX];
		struct bucket_store *store = bucket_store_new();
		uint64_t keys = keyed ? 2 : 1;
		struct bucket_limit *limit = limit_of(store, "limit", 1, 5000, keyed ? 10 : 0);
		struct scene scene = {.store = store,
		        .threads = 4,
		        .calls = 6000,
		        .play = call_through_reloads,
		        .limits = {limit, keyed ? limit : NULL}};
		uint64_t granted = play(&scene, workers);
		for (uint64_t key = 0; key < keys; key++)
			while (allow_key(limit, key, NOW_S * second_ns))
				granted++;
		// A key that comes first after a change begins with that burst, at most 5006. At
		// each change a fraction of a token is rounded off, never up.
		assert_true(granted <= keys * (keyed ? 5006 : 5000));
		assert_true(granted >= keys * 5000 - 1);
		bucket_limit_unref(limit);
		bucket_store_free(store);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_burst_is_granted_to_the_token_over_any_threads),
	        cmocka_unit_test(burst_and_refill_are_granted_to_the_token),
	        cmocka_unit_test(calls_of_many_tokens_get_burst_and_refill_to_the_token),
	        cmocka_unit_test(calls_of_many_tokens_of_two_limits_lose_and_gain_none),
	        cmocka_unit_test(refused_calls_hold_no_token_even_for_a_moment),
	        cmocka_unit_test(many_keys_on_full_tables_neither_hang_nor_gain),
	        cmocka_unit_test(buckets_are_forgotten_across_shards_within_the_bound),
	        cmocka_unit_test(reloads_under_load_give_no_token_twice),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
