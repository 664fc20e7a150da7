#include "tests/policy/bucket_fixture.h"

enum { NOW_S = 1000 };

static struct bucket_limit *keyed(
        struct bucket_store *store, uint64_t per_hour, uint64_t burst, uint64_t max_keys)
{
	struct bucket_rate rate = {per_hour, INT64_C(3600) * NS_PER_S, burst};
	return bucket_limit_get(store, STR("limit"), rate, true, max_keys, NOW_S * second_ns);
}

static void keys_have_buckets_of_their_own(void **state)
{
	(void)state;
	struct bucket_store *store = bucket_store_new();
	struct bucket_limit *limit = keyed(store, 1, 3, 100);
	int64_t now_ns = NOW_S * second_ns;
	assert_int_equal(drain(limit, STR("a"), now_ns), 3);
	assert_int_equal(drain(limit, STR("b"), now_ns), 3);
	assert_int_equal(drain(limit, STR(""), now_ns), 3);
	assert_int_equal(drain(limit, STR("a\0"), now_ns), 3);
	assert_int_equal(drain(limit, STR("a"), now_ns), 0);
	struct bucket_view view = view_of(store, now_ns);
	assert_int_equal(view.keys_used, 4);
	assert_int_equal(view.granted, 12);
	assert_int_equal(view.refused, 5);
	assert_int_equal(view.overflow_uses, 0);
	assert_true(view.fill == 0);
	bucket_limit_unref(limit);
	bucket_store_free(store);
}

// The transcript of a table of two: who comes third, when, and what it finds.
static void only_a_full_bucket_is_forgotten_and_newcomers_share_the_overflow(void **state)
{
	(void)state;
	struct bucket_store *store = bucket_store_new();
	struct bucket_limit *limit = keyed(store, 3600, 2, 2);  // a token a second
	static const struct {
		int64_t at_ms;
		const char *key;
		bool granted;
	} steps[] = {
	        {0, "a", true},
	        {0, "a", true},
	        {0, "a", false},
	        {0, "b", true},
	        {0, "c", true},  // overflow
	        {0, "d", true},  // the same overflow
	        {0, "c", false},
	        {0, "e", false},
	        {0, "a", false},  // nobody pushed it out
	        {0, "b", true},
	        {999, "a", false},
	        {1000, "a", true},  // full at 3000
	        {1000, "b", true},
	        {2500, "f", true},  // overflow: a and b are not full
	        {2999, "c", true},  // overflow
	        {3000, "c", true},  // a is full again and forgotten: a bucket of its own
	        {3000, "c", true},
	        {3000, "c", false},
	        {3000, "a", true},  // b was full too: a is a newcomer, with all it had anyway
	        {3000, "a", true},
	        {3000, "a", false},
	        {3000, "b", false},  // overflow again, where f and c are still owed
	        {3499, "b", false},
	        {3500, "b", true},
	        {3500, "b", false},
	};
	for (size_t i = 0; i < ARRAY_LEN(steps); i++)
		if ((take(limit, str_from(steps[i].key),
		             NOW_S * second_ns + steps[i].at_ms * NS_PER_MS) == 0) !=
		        steps[i].granted)
			fail_msg("step %zu: %s at %lld ms", i, steps[i].key,
			        (long long)steps[i].at_ms);
	bucket_limit_unref(limit);
	bucket_store_free(store);
}

// One caller with ten times as many names as there are buckets, over many rounds: never more than
// the buckets and the overflow bucket hold and refill, and the honest caller's bucket stays empty.
static void cycling_through_keys_gains_no_tokens(void **state)
{
	(void)state;
	enum { MAX_KEYS = 100, BURST = 5, ROUNDS = 50 };
	struct bucket_store *store = bucket_store_new();
	struct bucket_limit *limit = keyed(store, 3600, BURST, MAX_KEYS);
	int64_t now_ns = NOW_S * second_ns;
	uint64_t granted = 0;
	assert_int_equal(drain(limit, STR("honest"), now_ns), BURST);
	for (int round = 0; round < ROUNDS; round++) {
		for (uint64_t key = 0; key < 10 * MAX_KEYS; key++)
			granted += allow_key(limit, key, now_ns);
		assert_true(granted <= (MAX_KEYS + 1) * (uint64_t)(BURST + round / 10));
		assert_int_equal(allow(limit, now_ns), 0);
		assert_int_equal(take(limit, STR("honest"), now_ns) == 0, round % 10 == 0 && round);
		now_ns += second_ns / 10;
	}
	assert_true(granted >= MAX_KEYS * BURST);
	assert_true(view_of(store, now_ns).keys_used == MAX_KEYS);
	bucket_limit_unref(limit);
	bucket_store_free(store);
}

// Many shards: all of max_keys fit, not one more does, and the one bucket that is full again is
// found wherever it lies.
static void the_table_is_used_to_the_last_place_over_all_shards(void **state)
{
	(void)state;
	enum { MAX_KEYS = 20000 };
	struct bucket_store *store = bucket_store_new();
	struct bucket_limit *limit = keyed(store, 3600, 2, MAX_KEYS);
	int64_t now_ns = NOW_S * second_ns;
	for (uint64_t key = 0; key < MAX_KEYS; key++) {
		assert_true(allow_key(limit, key, now_ns));
		if (key != 777)
			assert_true(allow_key(limit, key, now_ns));
	}
	struct bucket_view view = view_of(store, now_ns);
	assert_int_equal(view.keys_used, MAX_KEYS);
	assert_int_equal(view.overflow_uses, 0);
	assert_true(allow_key(limit, MAX_KEYS, now_ns));
	assert_int_equal(view_of(store, now_ns).overflow_uses, 1);
	now_ns += second_ns;  // 777 and the overflow are full again, the others lack a token
	for (uint64_t key = MAX_KEYS + 1; key < MAX_KEYS + 4; key++) {
		bool has_tokens = key < MAX_KEYS + 3;  // the first in its own, the second there
		assert_int_equal(allow_key(limit, key, now_ns), has_tokens);
		assert_int_equal(allow_key(limit, key, now_ns), has_tokens);
	}
	view = view_of(store, now_ns);
	assert_int_equal(view.keys_used, MAX_KEYS);
	assert_int_equal(view.overflow_uses, 5);
	bucket_limit_unref(limit);
	bucket_store_free(store);
}

static void claims_on_several_limits_take_all_or_none(void **state)
{
	(void)state;
	struct bucket_store *store = bucket_store_new();
	int64_t now_ns = NOW_S * second_ns;
	struct bucket_limit *all = bucket_limit_get(
	        store, STR("all"), (struct bucket_rate){1, second_ns, 4}, false, 0, now_ns);
	struct bucket_limit *each = bucket_limit_get(
	        store, STR("each"), (struct bucket_rate){1, 10 * second_ns, 3}, true, 10, now_ns);
	struct bucket_claim a[] = {{all, STR("")}, {each, STR("a")}};
	struct bucket_claim b[] = {{each, STR("b")}, {all, STR("")}};
	size_t refused_by;
	for (int call = 0; call < 3; call++)
		assert_int_equal(bucket_take_all(a, 2, now_ns, &refused_by), 0);
	for (int call = 0; call < 5; call++) {
		assert_int_equal(bucket_take_all(a, 2, now_ns, &refused_by), 10 * second_ns);
		assert_int_equal(refused_by, 1);
	}
	// Nothing was lost to the refusals.
	assert_int_equal(bucket_take_all(b, 2, now_ns, &refused_by), 0);
	assert_int_equal(bucket_take_all(b, 2, now_ns, &refused_by), second_ns);
	assert_int_equal(refused_by, 1);
	assert_int_equal(drain(each, STR("b"), now_ns), 2);
	// Both empty: the longer wait is the true one.
	assert_int_equal(bucket_take_all(b, 2, now_ns, &refused_by), 10 * second_ns);
	assert_int_equal(refused_by, 0);
	// Waits are told as they are: one nanosecond less is too early.
	assert_int_equal(bucket_take_all(b, 2, now_ns + 10 * second_ns - 1, &refused_by), 1);
	assert_int_equal(bucket_take_all(b, 2, now_ns + 10 * second_ns, &refused_by), 0);
	assert_int_equal(bucket_take_all(NULL, 0, now_ns, &refused_by), 0);
	bucket_limit_unref(all);
	bucket_limit_unref(each);
	bucket_store_free(store);
}

static void a_call_may_claim_the_same_bucket_twice(void **state)
{
	(void)state;
	struct bucket_store *store = bucket_store_new();
	int64_t now_ns = NOW_S * second_ns;
	for (int kind = 0; kind < 3; kind++) {
		bool split = kind > 0;
		struct bucket_limit *limit = bucket_limit_get(store, STR("limit"),
		        (struct bucket_rate){1, second_ns, 3}, split, 1, now_ns);
		struct str key = split ? STR("a") : STR("");
		size_t refused_by;
		if (kind == 2)  // the table is taken: both claims fall into the overflow bucket
			assert_int_equal(take(limit, STR("other"), now_ns), 0);
		struct bucket_claim twice[] = {{limit, key}, {limit, key}};
		assert_int_equal(bucket_take_all(twice, 2, now_ns, &refused_by), 0);
		assert_int_equal(bucket_take_all(twice, 2, now_ns, &refused_by), second_ns);
		assert_int_equal(drain(limit, key, now_ns), 1);
		assert_int_equal(bucket_take_all(twice, 2, now_ns, &refused_by), second_ns);
		bucket_limit_unref(limit);
	}
	bucket_store_free(store);
}

static void looking_takes_nothing_and_tells_the_same(void **state)
{
	(void)state;
	struct bucket_store *store = bucket_store_new();
	int64_t now_ns = NOW_S * second_ns;
	struct bucket_limit *all = bucket_limit_get(
	        store, STR("all"), (struct bucket_rate){1, second_ns, 2}, false, 0, now_ns);
	struct bucket_limit *each = bucket_limit_get(
	        store, STR("each"), (struct bucket_rate){1, 10 * second_ns, 1}, true, 1, now_ns);
	struct bucket_claim claims[] = {{all, STR("")}, {each, STR("a")}};
	size_t refused_by;
	for (int look = 0; look < 5; look++)
		for (size_t count = 0; count <= 2; count++)
			assert_int_equal(
			        bucket_would_refuse(claims, count, now_ns, &refused_by), 0);
	assert_int_equal(bucket_take_all(claims, 2, now_ns, &refused_by), 0);
	for (int look = 0; look < 5; look++) {
		assert_int_equal(bucket_would_refuse(claims, 1, now_ns, &refused_by), 0);
		assert_int_equal(
		        bucket_would_refuse(claims, 2, now_ns, &refused_by), 10 * second_ns);
		assert_int_equal(refused_by, 1);
	}
	assert_int_equal(drain(all, STR(""), now_ns), 1);
	assert_int_equal(bucket_would_refuse(claims, 1, now_ns, &refused_by), second_ns);
	bucket_limit_unref(all);
	bucket_limit_unref(each);
	bucket_store_free(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(keys_have_buckets_of_their_own),
	        cmocka_unit_test(only_a_full_bucket_is_forgotten_and_newcomers_share_the_overflow),
	        cmocka_unit_test(cycling_through_keys_gains_no_tokens),
	        cmocka_unit_test(the_table_is_used_to_the_last_place_over_all_shards),
	        cmocka_unit_test(claims_on_several_limits_take_all_or_none),
	        cmocka_unit_test(a_call_may_claim_the_same_bucket_twice),
	        cmocka_unit_test(looking_takes_nothing_and_tells_the_same),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
