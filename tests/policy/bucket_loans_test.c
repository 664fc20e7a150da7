#include "tests/policy/bucket_scene.h"

// Each borrows a token until a minute is borrowed; which of them are there when is marked.
struct loans {
	_Atomic unsigned char due[60 * 1000 + 1];  // by the millisecond
	_Atomic unsigned at_once;
};

static struct loans loans;

static void borrow_till_refused(struct worker *worker)
{
	struct bucket_claim claim = {worker->scene->limits[0], STR("key"), 1};
	for (;;) {
		int64_t wait_ns = bucket_borrow(&claim, INT64_MAX, NOW_S * second_ns);
		if (wait_ns < 0)
			break;
		assert_int_equal(wait_ns % NS_PER_MS, 0);
		if (wait_ns == 0)
			atomic_fetch_add(&loans.at_once, 1);
		else
			atomic_fetch_add(&loans.due[wait_ns / NS_PER_MS], 1);
		worker->granted++;
	}
	worker->refused++;
}

static void every_borrowed_token_is_due_once(void **state)
{
	(void)state;
	for (uint64_t max_keys = 0; max_keys < 2; max_keys++) {
		struct worker workers[THREADS_MAX];
		struct bucket_store *store = bucket_store_new();
		struct scene scene = {.store = store,
		        .threads = THREADS_MAX,
		        .play = borrow_till_refused,
		        .limits = {limit_of(store, "limit", 1000, 500, max_keys)}};
		memset(&loans, 0, sizeof(loans));
		assert_int_equal(play(&scene, workers), 500 + 60 * 1000);
		assert_int_equal(loans.at_once, 500);
		for (size_t ms = 1; ms < ARRAY_LEN(loans.due); ms++)
			assert_int_equal(loans.due[ms], 1);
		assert_int_equal(view_of(store, NOW_S * second_ns).refused, THREADS_MAX);
		bucket_limit_unref(scene.limits[0]);
		bucket_store_free(store);
	}
}

// Loans while burst and table change: what one owes nobody is forgiven. (A lower rate forgives what
// is beyond a minute of it, bucket_debt_test.c: with each more may be borrowed.)
static void borrow_through_reloads(struct worker *worker)
{
	struct bucket_claim claim = {worker->scene->limits[0], STR("key"), 1};
	if (worker->number == 0) {
		change_numbers(worker->scene);
		return;
	}
	for (uint64_t i = 0; i < worker->scene->calls; i++)
		worker->granted += bucket_borrow(&claim, INT64_MAX, NOW_S * second_ns) >= 0;
}

static void loans_are_counted_through_reloads(void **state)
{
	(void)state;
	for (int keyed = 0; keyed < 2; keyed++) {
		struct worker workers[THREADS_MAX];
		struct bucket_store *store = bucket_store_new();
		struct bucket_limit *limit = limit_of(store, "limit", 1, 5000, keyed ? 10 : 0);
		struct scene scene = {.store = store,
		        .threads = 4,
		        .steady = true,
		        .calls = 2500,
		        .play = borrow_through_reloads,
		        .limits = {limit, keyed ? limit : NULL}};
		uint64_t granted = play(&scene, workers);
		// The burst and a minute; carried over it is less, and never more.
		assert_true(granted <= (keyed ? 5006 : 5000) + 60);
		assert_true(granted >= 5000);
		bucket_limit_unref(limit);
		bucket_store_free(store);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(every_borrowed_token_is_due_once),
	        cmocka_unit_test(loans_are_counted_through_reloads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
