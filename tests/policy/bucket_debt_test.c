// What was borrowed is still owed: under other numbers, in the next process, and after long times.
#include "tests/policy/bucket_fixture.h"

static int64_t borrow(struct bucket_limit *limit, struct str key, uint64_t tokens, int64_t now_ns)
{
	struct bucket_claim claim = {limit, key, tokens};
	return bucket_borrow(&claim, INT64_MAX, now_ns);
}

static const struct bucket_rate rates[] = {
        {1, NS_PER_S, 10},
        {3, NS_PER_S, 7},
        {100, NS_PER_S, 1},
        {7919, NS_PER_S, 50},
        {64 << 10, NS_PER_S, 10000},
        {1 << 20, NS_PER_S, 1 << 16},
        {999999937, NS_PER_S, 1000},
        {INT64_C(500) << 30, NS_PER_S, INT64_C(1) << 30},
        {10000, 3600 * INT64_C(1000000000), 20},
        {7777, 3600 * INT64_C(1000000000), 2000},
};

static double tokens_a_ns(struct bucket_rate rate)
{
	return (double)rate.count / (double)rate.period_ns;
}

// Tokens owed beyond the burst.
static double owe(struct bucket_limit *limit, struct bucket_rate rate, struct str key,
        uint64_t tokens, int64_t now_ns)
{
	int64_t wait_ns = borrow(limit, key, rate.burst, now_ns);
	for (uint64_t n = 0; n < tokens; n++) {
		int64_t next_ns = borrow(limit, key, 1, now_ns);
		if (next_ns < 0)
			break;
		wait_ns = next_ns;
	}
	return (double)wait_ns * tokens_a_ns(rate);
}

// Exact but for a nanosecond of each rate's, and rounded up.
static void assert_owes(struct bucket_limit *limit, struct bucket_rate rate, struct str key,
        double owed, double slack, int64_t now_ns)
{
	double expected_ns = (owed + 1) / tokens_a_ns(rate);
	int64_t wait_ns = borrow(limit, key, 1, now_ns);
	double got_ns = (double)(wait_ns < 0 ? -wait_ns : wait_ns);
	double most_ns = expected_ns * (1 + 1e-9) + 3 + slack / tokens_a_ns(rate);
	if (got_ns < expected_ns * (1 - 1e-9) - 1 - slack / tokens_a_ns(rate) || got_ns > most_ns)
		fail_msg("%lld/%lld: owes %.9f tokens: waits %.3f ns instead of %.3f",
		        (long long)rate.count, (long long)rate.period_ns, owed, got_ns,
		        expected_ns);
	assert_true(wait_ns < 0 ? expected_ns > 60e9 * (1 - 1e-9) - 3 : got_ns <= 60e9);
}

static void debts_are_carried_over_any_change_of_numbers(void **state)
{
	(void)state;
	for (size_t f = 0; f < ARRAY_LEN(rates); f++)
		for (size_t t = 0; t < ARRAY_LEN(rates); t++)
			for (int keyed = 0; keyed < 2; keyed++) {
				struct bucket_store *store = bucket_store_new();
				struct str key = keyed ? STR("key") : STR("");
				struct bucket_limit *from = bucket_limit_get(
				        store, STR("limit"), rates[f], keyed, 10, 12345);
				double owed = owe(from, rates[f], key, 1 + f * 7 % 5, 12345);
				struct bucket_limit *to = bucket_limit_get(
				        store, STR("limit"), rates[t], keyed, 10, 12345);
				if (f != t)
					assert_ptr_not_equal(from, to);
				// Who still holds the former goes on with the same debt.
				assert_owes(t % 2 ? from : to, rates[t], key, owed,
				        2 * tokens_a_ns(rates[f]), 12345);
				bucket_limit_unref(from);
				bucket_limit_unref(to);
				bucket_store_free(store);
			}
}

// There and back, again and again: no change gives a token away.
static void no_change_of_numbers_is_a_gift(void **state)
{
	(void)state;
	struct bucket_store *store = bucket_store_new();
	struct bucket_limit *limit = bucket_limit_get(store, STR("limit"), rates[0], false, 0, 0);
	double owed = owe(limit, rates[0], STR(""), 5, 0);
	for (size_t i = 0; i < 1000; i++) {
		struct bucket_limit *next = bucket_limit_get(
		        store, STR("limit"), rates[(i + 1) % 4 % 3], false, 0, 0);
		bucket_limit_unref(limit);
		limit = next;
	}
	struct bucket_limit *last = bucket_limit_get(store, STR("limit"), rates[0], false, 0, 0);
	int64_t wait_ns = borrow(last, STR(""), 1, 0);
	assert_true(wait_ns >= (int64_t)(owed + 1) * second_ns);
	assert_true(wait_ns < (int64_t)(owed + 1) * second_ns + 100000);
	bucket_limit_unref(limit);
	bucket_limit_unref(last);
	bucket_store_free(store);
}

static void debts_outlive_their_process(void **state)
{
	(void)state;
	for (size_t r = 0; r < ARRAY_LEN(rates); r++)
		for (int keyed = 0; keyed < 2; keyed++)
			for (int changed = 0; changed < 2; changed++) {
				int64_t now_ns = 1000 * second_ns;
				struct buffer exported = {0};
				struct str key = keyed ? STR("key") : STR("");
				struct bucket_rate rate = rates[r];
				struct bucket_store *store = bucket_store_new(), *next;
				struct bucket_limit *limit = bucket_limit_get(
				        store, STR("limit"), rate, keyed, 10, now_ns);
				double owed = owe(limit, rate, key, 3, now_ns);
				bucket_store_export(store, now_ns, &exported);
				next = bucket_store_new_after(buffer_str(&exported));
				rate.burst += (uint64_t)changed;
				struct bucket_limit *after = bucket_limit_get(
				        next, STR("limit"), rate, keyed, 10, now_ns);
				assert_true(
				        bucket_store_import(next, buffer_str(&exported), now_ns));
				assert_owes(after, rate, key, owed, 0, now_ns);
				bucket_limit_unref(limit);
				bucket_limit_unref(after);
				bucket_store_free(store);
				bucket_store_free(next);
				buffer_fini(&exported);
			}
}

// The clock of a bucket wraps meanwhile, of fast ones every second.
static void debts_outlive_sweeps_and_long_times(void **state)
{
	(void)state;
	for (size_t r = 0; r < ARRAY_LEN(rates); r++)
		for (int keyed = 0; keyed < 2; keyed++) {
			struct bucket_store *store = bucket_store_new();
			struct str key = keyed ? STR("key") : STR("");
			int64_t now_ns = 0;
			struct bucket_limit *limit = bucket_limit_get(
			        store, STR("limit"), rates[r], keyed, 2, now_ns);
			for (int64_t round = 0; round < 12; round++) {
				double owed = owe(limit, rates[r], key, 2, now_ns);
				assert_owes(limit, rates[r], key, owed, 0, now_ns);
				if (keyed)
					(void)!borrow(limit, STR("other"), 1, now_ns);
				// Through every sweep there is, and far beyond.
				now_ns += (round % 4 ? round * 97 : 1000) * 24 * hour_ns + round;
				assert_int_equal(borrow(limit, key, 1, now_ns), 0);
				now_ns += 3000 * 24 * hour_ns;
			}
			bucket_limit_unref(limit);
			bucket_store_free(store);
		}
}

// Sixty thousand messages owed are a minute; they are not to be most of a day once the rate is
// lower.
static void a_debt_is_never_longer_than_anybody_may_wait(void **state)
{
	(void)state;
	struct bucket_store *store = bucket_store_new();
	struct bucket_limit *fast = bucket_limit_get(
	        store, STR("limit"), (struct bucket_rate){1000, second_ns, 1}, false, 0, 0);
	for (int i = 0; i <= 60000; i++)
		assert_true(borrow(fast, STR(""), 1, 0) >= 0);
	assert_true(borrow(fast, STR(""), 1, 0) == -60001 * (second_ns / 1000));
	struct bucket_limit *slow = bucket_limit_get(
	        store, STR("limit"), (struct bucket_rate){1, second_ns, 1}, false, 0, 0);
	assert_true(borrow(slow, STR(""), 1, 0) == -61 * second_ns);
	assert_true(borrow(slow, STR(""), 1, second_ns) == 60 * second_ns);
	bucket_limit_unref(fast);
	bucket_limit_unref(slow);
	bucket_store_free(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(debts_are_carried_over_any_change_of_numbers),
	        cmocka_unit_test(no_change_of_numbers_is_a_gift),
	        cmocka_unit_test(debts_outlive_their_process),
	        cmocka_unit_test(debts_outlive_sweeps_and_long_times),
	        cmocka_unit_test(a_debt_is_never_longer_than_anybody_may_wait),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
