#include "tests/policy/bucket_fixture.h"

static const int64_t start_ns = INT64_C(1000) * NS_PER_S;

static struct bucket_limit *get(struct bucket_store *store, const char *name, uint64_t count,
        int64_t period_ns, uint64_t burst, uint64_t max_keys, int64_t now_ns)
{
	struct bucket_rate rate = {count, period_ns, burst};
	return bucket_limit_get(store, str_from(name), rate, max_keys > 0, max_keys, now_ns);
}

static void the_same_limit_again_is_the_same_object(void **state)
{
	(void)state;
	struct bucket_store *store = bucket_store_new();
	struct bucket_limit *a = get(store, "edge/a/rate_limits[0]", 1, hour_ns, 3, 0, start_ns);
	struct bucket_limit *b = get(store, "edge/b/rate_limits[0]", 1, hour_ns, 3, 0, start_ns);
	assert_ptr_not_equal(a, b);
	assert_int_equal(drain(a, STR(""), start_ns), 3);
	struct bucket_limit *again = get(
	        store, "edge/a/rate_limits[0]", 1, hour_ns, 3, 0, start_ns);
	assert_ptr_equal(a, again);
	assert_int_equal(drain(again, STR(""), start_ns), 0);
	assert_int_equal(drain(b, STR(""), start_ns), 3);
	bucket_limit_unref(a);
	assert_int_equal(drain(again, STR(""), start_ns), 0);
	bucket_limit_unref(again);
	bucket_limit_unref(b);
	// Nobody holds it any more: nothing is kept of it.
	a = get(store, "edge/a/rate_limits[0]", 1, hour_ns, 3, 0, start_ns);
	assert_int_equal(drain(a, STR(""), start_ns), 3);
	bucket_limit_unref(a);
	bucket_limit_unref(NULL);
	bucket_store_free(store);
	bucket_store_free(NULL);
}

static void changed_numbers_carry_tokens_over_and_never_refill(void **state)
{
	(void)state;
	static const struct {
		struct bucket_rate old, new;
		uint64_t taken;
		int64_t idle_ns;  // under the old numbers
		uint64_t left;    // whole tokens under the new
	} rows[] = {
	        // Nothing taken: full, up to the old burst.
	        {{1, NS_PER_S, 10}, {1, NS_PER_S, 20}, 0, 0, 10},
	        {{1, NS_PER_S, 10}, {1, NS_PER_S, 4}, 0, 0, 4},
	        {{1, NS_PER_S, 10}, {100, NS_PER_S, 10}, 0, 0, 10},
	        // Some taken.
	        {{1, NS_PER_S, 10}, {1, NS_PER_S, 20}, 4, 0, 6},
	        {{1, NS_PER_S, 10}, {1, NS_PER_S, 4}, 4, 0, 4},
	        {{1, NS_PER_S, 10}, {1, NS_PER_S, 4}, 8, 0, 2},
	        {{1, NS_PER_S, 10}, {7, INT64_C(3600) * NS_PER_S, 10}, 4, 0, 6},
	        {{7, INT64_C(3600) * NS_PER_S, 10}, {3, NS_PER_S, 1000}, 4, 0, 6},
	        {{3, NS_PER_S, 10}, {7919, NS_PER_S, 1000}, 9, 0, 1},
	        // All taken: a faster rate does not credit the past.
	        {{1, NS_PER_S, 10}, {1000000, NS_PER_S, 1000000}, 10, 0, 0},
	        {{1, NS_PER_S, 10}, {1000000, NS_PER_S, 1000000}, 10, INT64_C(3) * NS_PER_S, 3},
	        {{1, NS_PER_S, 10}, {1000000, NS_PER_S, 1000000}, 10, 2999999999, 2},
	        {{1, INT64_C(3600) * NS_PER_S, 10}, {100, NS_PER_S, 10}, 10,
	                INT64_C(3600) * NS_PER_S, 1},
	        // Idle for so long that it was full, and that the clock wrapped.
	        {{999983, NS_PER_S, 10}, {1, NS_PER_S, 20}, 10, INT64_C(400) * 24 * 3600 * NS_PER_S,
	                10},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (uint64_t max_keys = 0; max_keys < 2; max_keys++) {
			struct str key = max_keys ? STR("caller") : STR("");
			int64_t now_ns = start_ns;
			struct bucket_store *store = bucket_store_new();
			struct bucket_limit *old = bucket_limit_get(
			        store, STR("limit"), rows[i].old, max_keys > 0, max_keys, now_ns);
			for (uint64_t taken = 0; taken < rows[i].taken; taken++)
				assert_int_equal(take(old, key, now_ns), 0);
			now_ns += rows[i].idle_ns;
			struct bucket_limit *new = bucket_limit_get(
			        store, STR("limit"), rows[i].new, max_keys > 0, max_keys, now_ns);
			// A key that owed nothing has no bucket, and finds the new burst.
			uint64_t left = rows[i].left;
			if (max_keys && (rows[i].taken == 0 || i == ARRAY_LEN(rows) - 1))
				left = rows[i].new.burst;
			uint64_t found = drain(new, key, now_ns);
			if (found != left)
				fail_msg("row %zu, %s: %llu tokens", i,
				        max_keys ? "keyed" : "single", (unsigned long long)found);
			bucket_limit_unref(old);
			bucket_limit_unref(new);
			bucket_store_free(store);
		}
}

// Two workers, one still on the snapshot from before the reload: one bucket all the same.
static void who_still_holds_the_former_limit_pays_into_the_new(void **state)
{
	(void)state;
	for (uint64_t max_keys = 0; max_keys < 2; max_keys++) {
		struct str key = max_keys ? STR("caller") : STR("");
		struct bucket_store *store = bucket_store_new();
		struct bucket_limit *old = get(store, "limit", 1, hour_ns, 5, max_keys, start_ns);
		assert_int_equal(take(old, key, start_ns), 0);
		struct bucket_limit *new = get(store, "limit", 1, hour_ns, 4, max_keys, start_ns);
		struct bucket_limit *newer = get(store, "limit", 2, hour_ns, 3, max_keys, start_ns);
		assert_int_equal(take(old, key, start_ns), 0);
		assert_int_equal(take(new, key, start_ns), 0);
		bucket_limit_unref(new);
		assert_int_equal(take(newer, key, start_ns), 0);
		assert_int_equal(take(old, key, start_ns), hour_ns / 2);
		size_t refused_by;
		struct bucket_claim mixed[] = {{old, key}, {newer, key}};
		assert_int_equal(bucket_take_all(mixed, 2, start_ns, &refused_by), hour_ns / 2);
		assert_int_equal(bucket_take_all(mixed, 2, start_ns + hour_ns, &refused_by), 0);
		struct bucket_view view = view_of(store, start_ns);
		assert_int_equal(view.granted, 6);
		bucket_limit_unref(old);
		bucket_limit_unref(newer);
		bucket_store_free(store);
	}
}

static void a_smaller_table_leaves_the_rest_owing_in_the_overflow(void **state)
{
	(void)state;
	struct bucket_store *store = bucket_store_new();
	struct bucket_limit *old = get(store, "limit", 1, hour_ns, 5, 10000, start_ns);
	for (uint64_t key = 0; key < 3000; key++)
		for (int call = 0; call < 5; call++)
			assert_true(allow_key(old, key, start_ns));
	struct bucket_limit *new = get(store, "limit", 1, hour_ns, 5, 1000, start_ns);
	for (uint64_t key = 0; key < 3000; key++) {
		assert_false(allow_key(new, key, start_ns));
		assert_false(allow_key(old, key, start_ns));
	}
	assert_int_equal(view_of(store, start_ns).keys_used, 1000);
	struct bucket_limit *larger = get(store, "limit", 1, hour_ns, 5, 5000, start_ns);
	assert_true(allow_key(larger, 9999, start_ns));
	assert_int_equal(view_of(store, start_ns).keys_used, 1001);
	bucket_limit_unref(old);
	bucket_limit_unref(new);
	bucket_limit_unref(larger);
	bucket_store_free(store);
}

static void a_limit_that_becomes_keyed_is_another(void **state)
{
	(void)state;
	struct bucket_store *store = bucket_store_new();
	struct bucket_limit *single = get(store, "limit", 1, hour_ns, 5, 0, start_ns);
	assert_int_equal(drain(single, STR(""), start_ns), 5);
	struct bucket_limit *split = get(store, "limit", 1, hour_ns, 5, 10, start_ns);
	assert_int_equal(drain(split, STR("caller"), start_ns), 5);
	assert_int_equal(drain(single, STR(""), start_ns), 0);
	bucket_limit_unref(single);
	assert_int_equal(drain(split, STR("caller"), start_ns), 0);
	bucket_limit_unref(split);
	bucket_store_free(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(the_same_limit_again_is_the_same_object),
	        cmocka_unit_test(changed_numbers_carry_tokens_over_and_never_refill),
	        cmocka_unit_test(who_still_holds_the_former_limit_pays_into_the_new),
	        cmocka_unit_test(a_smaller_table_leaves_the_rest_owing_in_the_overflow),
	        cmocka_unit_test(a_limit_that_becomes_keyed_is_another),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
