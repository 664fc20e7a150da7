#include <pthread.h>

#include "tests/policy/bucket_fixture.h"

#include "policy/tally.h"

static void no_more_than_the_ceiling_are_in(void **state)
{
	(void)state;
	struct bucket_store *store = bucket_store_new();
	struct tally *tally = tally_get(store, STR("calls"), 10);
	struct tally_place one = {0}, two = {0}, three = {0}, other = {0};
	assert_int_equal(tally_enter(tally, STR("a"), 2, &one), 1);
	assert_int_equal(tally_enter(tally, STR("a"), 2, &two), 2);
	assert_int_equal(tally_enter(tally, STR("a"), 2, &three), 0);
	assert_null(three.tally);
	assert_int_equal(tally_enter(tally, STR("b"), 2, &other), 1);
	tally_leave(&one);
	tally_leave(&one);  // once is enough
	assert_int_equal(tally_enter(tally, STR("a"), 2, &three), 2);
	assert_int_equal(tally_keys(tally), 2);
	tally_leave(&two);
	tally_leave(&three);
	assert_int_equal(tally_keys(tally), 1);
	tally_leave(&other);
	assert_int_equal(tally_keys(tally), 0);
	tally_unref(tally);
	bucket_store_free(store);
}

static void a_reload_finds_who_is_in_and_who_is_in_keeps_the_tally(void **state)
{
	(void)state;
	struct bucket_store *store = bucket_store_new();
	struct tally *before = tally_get(store, STR("calls"), 10);
	struct tally_place place = {0}, more = {0};
	assert_int_equal(tally_enter(before, STR("a"), 1, &place), 1);
	struct tally *after = tally_get(store, STR("calls"), 10);
	assert_ptr_equal(before, after);
	tally_unref(before);
	assert_int_equal(tally_enter(after, STR("a"), 1, &more), 0);
	struct tally *other = tally_get(store, STR("calls"), 11);
	assert_ptr_not_equal(other, after);
	tally_unref(other);
	tally_unref(after);
	tally_leave(&place);  // the last to hold it
	bucket_store_free(store);
}

// Whoever comes under many names shares one count once the places are taken.
static void newcomers_share_one_count_when_there_is_no_place(void **state)
{
	(void)state;
	enum { KEYS = 100, COMING = 5000 };
	struct bucket_store *store = bucket_store_new();
	struct tally *tally = tally_get(store, STR("calls"), KEYS);
	struct tally_place *places = calloc(COMING, sizeof(*places));
	size_t in = 0;
	char text[32];
	for (uint64_t i = 0; i < COMING; i++)
		in += tally_enter(tally, key_of(text, i), 3, &places[i]) > 0;
	uint64_t keys = tally_keys(tally);
	assert_true(keys >= KEYS);
	assert_true(in <= keys + 3);
	for (size_t i = 0; i < COMING; i++)
		tally_leave(&places[i]);
	assert_int_equal(tally_keys(tally), 0);
	for (uint64_t i = 0; i < 3; i++)
		assert_int_equal(tally_enter(tally, STR("one"), 3, &places[i]), i + 1);
	for (uint64_t i = 0; i < 3; i++)
		tally_leave(&places[i]);
	free(places);
	tally_unref(tally);
	bucket_store_free(store);
}

// Against a plain array, through a random life of 200,000 steps.
static void it_counts_as_a_plain_array_does(void **state)
{
	(void)state;
	enum { KEYS = 64, PLACES = 256, MOST = 5, STEPS = 200000 };
	struct bucket_store *store = bucket_store_new();
	struct tally *tally = tally_get(store, STR("calls"), 1000);
	struct tally_place places[PLACES] = {0};
	uint64_t key_at[PLACES], counts[KEYS] = {0}, random = 7;
	char text[32];
	for (size_t step = 0; step < STEPS; step++) {
		size_t at = random_below(&random, PLACES);
		if (places[at].tally) {
			tally_leave(&places[at]);
			counts[key_at[at]]--;
			continue;
		}
		key_at[at] = random_below(&random, KEYS);
		uint64_t want = counts[key_at[at]] < MOST ? counts[key_at[at]] + 1 : 0;
		assert_int_equal(
		        tally_enter(tally, key_of(text, key_at[at]), MOST, &places[at]), want);
		counts[key_at[at]] += want > 0;
	}
	size_t keys = 0;
	for (size_t i = 0; i < KEYS; i++)
		keys += counts[i] > 0;
	assert_int_equal(tally_keys(tally), keys);
	for (size_t i = 0; i < PLACES; i++)
		tally_leave(&places[i]);
	tally_unref(tally);
	bucket_store_free(store);
}

struct scene {
	struct bucket_store *store;
	struct tally *tally;
	_Atomic int64_t in[4];
	_Atomic uint64_t excess, entered;
};

static void *come_and_go(void *argument)
{
	struct scene *scene = argument;
	uint64_t random = (uint64_t)(uintptr_t)&random;
	char text[32];
	for (size_t i = 0; i < 50000; i++) {
		size_t key = random_below(&random, 4);
		struct tally_place place = {0};
		if (i % 1000 == 0)  // a reload comes by
			tally_unref(tally_get(scene->store, STR("calls"), 8));
		if (!tally_enter(scene->tally, key_of(text, key), 2, &place))
			continue;
		scene->excess += ++scene->in[key] > 2;
		scene->entered++;
		scene->in[key]--;
		tally_leave(&place);
	}
	return NULL;
}

static void the_ceiling_holds_for_all_threads_together(void **state)
{
	(void)state;
	struct scene scene = {.store = bucket_store_new()};
	pthread_t threads[8];
	scene.tally = tally_get(scene.store, STR("calls"), 8);
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, &scene), 0);
	for (size_t i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(scene.excess, 0);
	assert_true(scene.entered > 0);
	assert_int_equal(tally_keys(scene.tally), 0);
	tally_unref(scene.tally);
	bucket_store_free(scene.store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(no_more_than_the_ceiling_are_in),
	        cmocka_unit_test(a_reload_finds_who_is_in_and_who_is_in_keeps_the_tally),
	        cmocka_unit_test(newcomers_share_one_count_when_there_is_no_place),
	        cmocka_unit_test(it_counts_as_a_plain_array_does),
	        cmocka_unit_test(the_ceiling_holds_for_all_threads_together),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
