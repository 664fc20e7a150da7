// Tokens that are taken before they are there, against exact rational arithmetic.
#include "tests/policy/bucket_fixture.h"

// What the bucket has, or less than nothing, times the period.
struct ledger {
	struct bucket_rate rate;
	__int128 tokens;
	int64_t last_ns;
};

static struct ledger ledger_new(struct bucket_rate rate, int64_t now_ns)
{
	return (struct ledger){rate, (__int128)rate.burst * rate.period_ns, now_ns};
}

static void advance(struct ledger *ledger, int64_t now_ns)
{
	__int128 full = (__int128)ledger->rate.burst * ledger->rate.period_ns;
	if (now_ns > ledger->last_ns) {
		ledger->tokens += (__int128)(now_ns - ledger->last_ns) * ledger->rate.count;
		ledger->last_ns = now_ns;
	}
	if (ledger->tokens > full)
		ledger->tokens = full;
}

static int64_t time_of(const struct ledger *ledger, __int128 missing)
{
	return missing > 0 ? (int64_t)((missing + ledger->rate.count - 1) / ledger->rate.count) : 0;
}

static __int128 price(const struct ledger *ledger, uint64_t tokens)
{
	uint64_t most = ledger->rate.burst, paid = tokens < 1 ? 1 : tokens > most ? most : tokens;
	return (__int128)paid * ledger->rate.period_ns;
}

static int64_t expect_borrow(struct ledger *ledger, uint64_t tokens, int64_t now_ns)
{
	advance(ledger, now_ns);
	__int128 after = ledger->tokens - price(ledger, tokens);
	int64_t wait_ns = time_of(ledger, -after);
	if (wait_ns > 60 * second_ns)
		return -wait_ns;
	ledger->tokens = after;
	return wait_ns;
}

static int64_t expect_take(struct ledger *ledger, uint64_t tokens, int64_t now_ns)
{
	advance(ledger, now_ns);
	__int128 after = ledger->tokens - price(ledger, tokens);
	if (after < 0)
		return time_of(ledger, -after);
	ledger->tokens = after;
	return 0;
}

static int64_t borrow(struct bucket_limit *limit, struct str key, uint64_t tokens, int64_t now_ns)
{
	struct bucket_claim claim = {limit, key, tokens};
	return bucket_borrow(&claim, INT64_MAX, now_ns);
}

static int64_t take_some(
        struct bucket_limit *limit, struct str key, uint64_t tokens, int64_t now_ns)
{
	size_t refused_by;
	struct bucket_claim claim = {limit, key, tokens};
	return bucket_take_all(&claim, 1, now_ns, &refused_by);
}

static const struct bucket_rate rates[] = {
        {1, NS_PER_S, 1},
        {3, NS_PER_S, 7},
        {100, NS_PER_S, 200},
        {999, NS_PER_S, 3},
        {7919, NS_PER_S, 50},
        {64 << 10, NS_PER_S, 10000},
        {1 << 20, NS_PER_S, 1 << 20},
        {999999937, NS_PER_S, 5},
        {1000000000, NS_PER_S, 1 << 20},
        {INT64_C(500) << 30, NS_PER_S, INT64_C(1) << 30},
        {1, 60 * INT64_C(1000000000), 10},
        {7, 60 * INT64_C(1000000000), 3},
        {10000, 3600 * INT64_C(1000000000), 20},
        {7777, 3600 * INT64_C(1000000000), 2000},
};

static uint64_t amount(uint64_t *seed, const struct bucket_rate *rate)
{
	switch (random_below(seed, 8)) {
	case 0:
		return 0;
	case 1:
		return 1;
	case 2:
		return rate->burst;
	case 3:
		return rate->burst * 2 + random_below(seed, 1000);
	case 4:
		return UINT64_MAX - random_below(seed, 3);
	default:
		return 1 + random_below(seed, rate->burst / 3 + 1);
	}
}

// At once, when the last debt is due or on either side of it, or much later.
static int64_t gap(uint64_t *seed, const struct ledger *ledger)
{
	int64_t due_ns = time_of(ledger, -ledger->tokens);
	switch (random_below(seed, 12)) {
	case 0:
		return due_ns;
	case 1:
		return due_ns ? due_ns - 1 : 0;
	case 2:
		return due_ns + 1;
	case 3:
		return random_below(seed, 20) ? 1 : (int64_t)random_below(seed, 400) * 24 * hour_ns;
	case 4:
		return (int64_t)random_below(seed, 100 * (uint64_t)second_ns);
	case 5:
	case 6:
		return (int64_t)random_below(seed, (uint64_t)due_ns * 2 + 2);
	default:
		return 0;
	}
}

static void borrowed_times_equal_exact_arithmetic_over_random_schedules(void **state)
{
	(void)state;
	uint64_t seed = 20261129;
	size_t paused = 0, refused = 0, passed = 0;
	for (size_t r = 0; r < ARRAY_LEN(rates); r++)
		for (int keyed = 0; keyed < 2; keyed++) {
			struct bucket_store *store = bucket_store_new();
			int64_t now_ns = (int64_t)random_below(&seed, 1u << 30);
			struct bucket_limit *limit = bucket_limit_get(
			        store, STR("limit"), rates[r], keyed, 10, now_ns);
			struct ledger ledger = ledger_new(rates[r], now_ns);
			struct str key = keyed ? STR("key") : STR("");
			for (int call = 0; call < 20000; call++) {
				uint64_t tokens = amount(&seed, &rates[r]);
				bool takes = random_below(&seed, 4) == 0;
				now_ns += gap(&seed, &ledger);
				int64_t expected = takes ? expect_take(&ledger, tokens, now_ns)
				                         : expect_borrow(&ledger, tokens, now_ns);
				int64_t wait_ns = takes ? take_some(limit, key, tokens, now_ns)
				                        : borrow(limit, key, tokens, now_ns);
				if (wait_ns != expected)
					fail_msg("rate %zu, call %d: %lld instead of %lld", r, call,
					        (long long)wait_ns, (long long)expected);
				passed += wait_ns == 0, paused += wait_ns > 0,
				        refused += wait_ns < 0;
			}
			bucket_limit_unref(limit);
			bucket_store_free(store);
		}
	assert_true(passed > 10000 && paused > 10000 && refused > 10000);
}

enum { GRANTS = 400 };

struct grant {
	int64_t due_ns;
	uint64_t tokens;
};

// From the first to the last of any that follow each other: the burst, and what comes in meanwhile.
static void assert_no_window_has_more(
        const struct grant *grants, size_t count, const struct bucket_rate *rate)
{
	for (size_t first = 0; first < count; first++) {
		unsigned __int128 sum = 0;
		for (size_t last = first; last < count; last++) {
			sum += grants[last].tokens;
			// Each is rounded up to a nanosecond.
			int64_t passed_ns = grants[last].due_ns - grants[first].due_ns + 1;
			assert_true((sum - rate->burst) * (uint64_t)rate->period_ns <=
			                    (unsigned __int128)rate->count * (uint64_t)passed_ns ||
			            sum <= rate->burst);
		}
	}
}

static void no_more_become_due_in_any_window_and_in_order(void **state)
{
	(void)state;
	uint64_t seed = 5;
	for (size_t r = 0; r < ARRAY_LEN(rates); r++) {
		struct bucket_store *store = bucket_store_new();
		struct bucket_limit *limit = bucket_limit_get(
		        store, STR("limit"), rates[r], false, 0, 0);
		struct ledger ledger = ledger_new(rates[r], 0);
		struct grant grants[GRANTS];
		int64_t now_ns = 0;
		for (size_t count = 0; count < GRANTS;) {
			uint64_t tokens = 1 + random_below(&seed, rates[r].burst);
			now_ns += gap(&seed, &ledger) % (100 * second_ns);
			int64_t wait_ns = borrow(limit, STR(""), tokens, now_ns);
			(void)expect_borrow(&ledger, tokens, now_ns);
			if (wait_ns < 0)
				continue;
			grants[count] = (struct grant){now_ns + wait_ns, tokens};
			assert_true(!count || grants[count].due_ns >= grants[count - 1].due_ns);
			count++;
		}
		assert_no_window_has_more(grants, GRANTS, &rates[r]);
		bucket_limit_unref(limit);
		bucket_store_free(store);
	}
}

// A minute is the most, to the nanosecond; what is refused changes nothing.
static void a_minute_may_be_borrowed_and_no_more(void **state)
{
	(void)state;
	for (int keyed = 0; keyed < 2; keyed++) {
		struct bucket_store *store = bucket_store_new();
		struct str key = keyed ? STR("key") : STR("");
		struct bucket_limit *limit = bucket_limit_get(
		        store, STR("limit"), (struct bucket_rate){1, second_ns, 10}, keyed, 1, 0);
		assert_int_equal(borrow(limit, key, 10, 0), 0);
		for (int64_t n = 1; n <= 60; n++)
			assert_int_equal(borrow(limit, key, 1, 0), n * second_ns);
		for (int again = 0; again < 3; again++) {
			assert_int_equal(borrow(limit, key, 1, 0), -61 * second_ns);
			assert_int_equal(borrow(limit, key, 10, 0), -70 * second_ns);
		}
		assert_int_equal(borrow(limit, key, 1, second_ns - 1), -60 * second_ns - 1);
		assert_int_equal(borrow(limit, key, 1, second_ns), 60 * second_ns);
		assert_int_equal(view_of(store, second_ns).granted, 62);
		assert_int_equal(view_of(store, second_ns).refused, 7);
		bucket_limit_unref(limit);
		bucket_store_free(store);
	}
}

// Another worker's clock is ahead: the time returned is from the caller's own.
static void a_clock_behind_waits_the_longer(void **state)
{
	(void)state;
	for (int keyed = 0; keyed < 2; keyed++) {
		struct bucket_store *store = bucket_store_new();
		struct str key = keyed ? STR("key") : STR("");
		struct bucket_limit *limit = bucket_limit_get(
		        store, STR("limit"), (struct bucket_rate){1, second_ns, 1}, keyed, 1, 0);
		assert_int_equal(borrow(limit, key, 1, 100 * second_ns), 0);
		assert_int_equal(borrow(limit, key, 1, 99 * second_ns), 2 * second_ns);
		assert_int_equal(borrow(limit, key, 1, 100 * second_ns), 2 * second_ns);
		for (int64_t n = 3; n <= 60; n++)
			assert_int_equal(borrow(limit, key, 1, 100 * second_ns), n * second_ns);
		assert_int_equal(borrow(limit, key, 1, 90 * second_ns), -71 * second_ns);
		assert_int_equal(borrow(limit, key, 1, 101 * second_ns), 60 * second_ns);
		bucket_limit_unref(limit);
		bucket_store_free(store);
	}
}

// Who finds no place in the table borrows from the bucket of all others.
static void the_overflow_bucket_lends_too(void **state)
{
	(void)state;
	struct bucket_store *store = bucket_store_new();
	struct bucket_limit *limit = bucket_limit_get(
	        store, STR("limit"), (struct bucket_rate){1, second_ns, 2}, true, 1, 0);
	assert_int_equal(borrow(limit, STR("first"), 2, 0), 0);
	assert_int_equal(borrow(limit, STR("second"), 2, 0), 0);
	assert_int_equal(borrow(limit, STR("third"), 2, 0), 2 * second_ns);
	assert_int_equal(borrow(limit, STR("first"), 1, 0), second_ns);
	// Nobody's place is taken while he owes.
	assert_int_equal(borrow(limit, STR("second"), 1, 2 * second_ns), second_ns);
	assert_int_equal(borrow(limit, STR("first"), 1, 2 * second_ns), 0);
	// The first owes nothing any more, and is forgotten.
	assert_int_equal(borrow(limit, STR("third"), 2, 10 * second_ns), 0);
	assert_int_equal(view_of(store, 10 * second_ns).overflow_uses, 3);
	bucket_limit_unref(limit);
	bucket_store_free(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(borrowed_times_equal_exact_arithmetic_over_random_schedules),
	        cmocka_unit_test(no_more_become_due_in_any_window_and_in_order),
	        cmocka_unit_test(a_minute_may_be_borrowed_and_no_more),
	        cmocka_unit_test(a_clock_behind_waits_the_longer),
	        cmocka_unit_test(the_overflow_bucket_lends_too),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
