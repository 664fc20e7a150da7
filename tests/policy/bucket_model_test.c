#include <math.h>

#include "tests/policy/bucket_fixture.h"

// The contract in exact rational arithmetic: tokens as a fraction over the period.
struct exact {
	struct bucket_rate rate;
	unsigned __int128 tokens;  // times period_ns
	int64_t last_ns;
};

static struct exact exact_new(struct bucket_rate rate, int64_t now_ns)
{
	return (struct exact){
	        rate, (unsigned __int128)rate.burst * (uint64_t)rate.period_ns, now_ns};
}

static void exact_advance(struct exact *exact, int64_t now_ns)
{
	unsigned __int128 full = (unsigned __int128)exact->rate.burst *
	                         (uint64_t)exact->rate.period_ns;
	exact->tokens += (unsigned __int128)(uint64_t)(now_ns - exact->last_ns) * exact->rate.count;
	if (exact->tokens > full)
		exact->tokens = full;
	exact->last_ns = now_ns;
}

static unsigned __int128 exact_missing(const struct exact *exact, uint64_t tokens)
{
	unsigned __int128 price = (unsigned __int128)tokens * (uint64_t)exact->rate.period_ns;
	return exact->tokens < price ? price - exact->tokens : 0;
}

static int64_t exact_take(struct exact *exact, uint64_t tokens, int64_t now_ns)
{
	exact_advance(exact, now_ns);
	unsigned __int128 missing = exact_missing(exact, tokens);
	if (missing)
		return (int64_t)((missing + exact->rate.count - 1) / exact->rate.count);
	exact->tokens -= (unsigned __int128)tokens * (uint64_t)exact->rate.period_ns;
	return 0;
}

// golang.org/x/time/rate, Limiter.reserveN with n <= burst and maxFutureReserve = 0, word for word.
struct go_limiter {
	double limit;
	uint64_t burst;
	double tokens;
	int64_t last_ns;
};

static struct go_limiter go_new(struct bucket_rate rate, int64_t now_ns)
{
	double limit = (double)rate.count / ((double)rate.period_ns / 1e9);
	return (struct go_limiter){limit, rate.burst, (double)rate.burst, now_ns};
}

static double go_seconds(int64_t duration_ns)
{
	return (double)(duration_ns / NS_PER_S) + (double)(duration_ns % NS_PER_S) / 1e9;
}

static bool go_allow(struct go_limiter *go, uint64_t n, int64_t now_ns)
{
	int64_t last_ns = now_ns < go->last_ns ? now_ns : go->last_ns;
	double tokens = go->tokens + go_seconds(now_ns - last_ns) * go->limit;
	if (tokens > (double)go->burst)
		tokens = (double)go->burst;
	tokens -= (double)n;
	int64_t wait_ns = tokens < 0 ? (int64_t)(1e9 * (-tokens / go->limit)) : 0;
	if (wait_ns > 0)
		return false;
	go->last_ns = now_ns;
	go->tokens = tokens;
	return true;
}

static const struct bucket_rate rates[] = {
        {1, NS_PER_S, 1},
        {5, NS_PER_S, 10},
        {3, NS_PER_S, 1},
        {3, NS_PER_S, 7},
        {7, NS_PER_S, 100},
        {100, NS_PER_S, 200},
        {999, NS_PER_S, 3},
        {7919, NS_PER_S, 50},
        {999983, NS_PER_S, 1000},
        {999999937, NS_PER_S, 5},
        {1000000000, NS_PER_S, 2},
        {300, INT64_C(60) * NS_PER_S, 5},
        {7, INT64_C(60) * NS_PER_S, 3},
        {10000, INT64_C(3600) * NS_PER_S, 20},
        {7777, INT64_C(3600) * NS_PER_S, 20},
        {1, INT64_C(3600) * NS_PER_S, 2},
};

// From one call to the next: at once, on the very border, near it, far from it, or after so long
// that the bucket's clock has wrapped many times.
static int64_t gap_ns(uint64_t *seed, const struct exact *exact, uint64_t tokens)
{
	struct bucket_rate rate = exact->rate;
	uint64_t token_ns = (uint64_t)rate.period_ns / rate.count + 1;
	unsigned __int128 missing = exact_missing(exact, tokens);
	int64_t border_ns = (int64_t)((missing + rate.count - 1) / rate.count);
	switch (random_below(seed, 16)) {
	case 0:
	case 1:
		return border_ns;
	case 2:
	case 3:
		return border_ns ? border_ns - 1 : 1;
	case 4:
		return border_ns + 1;
	case 5:
		// Rarer the larger the bucket, or it would never be empty.
		return random_below(seed, rate.burst)
		               ? 0
		               : (int64_t)random_below(seed, 4 * rate.burst * token_ns + 1);
	case 6:
		return random_below(seed, 500) ? 0 : (int64_t)random_below(seed, 40) * 24 * hour_ns;
	case 7:
		return random_below(seed, 500) ? 0 : (int64_t)random_below(seed, 7200) * NS_PER_S;
	case 8:
		// Many tokens take long: they are there, and not just so.
		return tokens > 1 ? border_ns + 2 + (int64_t)random_below(seed, token_ns + 1) : 0;
	case 9:
	case 10:
		return 0;
	default:
		return (int64_t)random_below(seed, token_ns + 1);
	}
}

// What calls ask for: a token each, or any number up to all.
enum asking { ASKING_ONE, ASKING_ANY };

static uint64_t tokens_asked(uint64_t *seed, enum asking asking, uint64_t burst)
{
	if (asking == ASKING_ONE)
		return 1;
	switch (random_below(seed, 4)) {
	case 0:
		return 1;
	case 1:
		return burst;
	default:
		return 1 + random_below(seed, burst);
	}
}

static void hold_against_exact_arithmetic(enum asking asking)
{
	uint64_t seed = 20261123;
	struct bucket_store *store = bucket_store_new();
	for (size_t r = 0; r < ARRAY_LEN(rates); r++)
		for (int keyed = 0; keyed < 2; keyed++) {
			struct str key = keyed ? STR("key") : STR("");
			int64_t now_ns = (int64_t)random_below(&seed, 1u << 30);
			struct bucket_limit *limit = bucket_limit_get(
			        store, STR("limit"), rates[r], keyed, 10, now_ns);
			struct exact exact = exact_new(rates[r], now_ns);
			for (int call = 0; call < 20000; call++) {
				uint64_t tokens = tokens_asked(&seed, asking, rates[r].burst);
				now_ns += gap_ns(&seed, &exact, tokens);
				int64_t expected_ns = exact_take(&exact, tokens, now_ns);
				int64_t wait_ns = take_tokens(limit, key, tokens, now_ns);
				if (wait_ns != expected_ns)
					fail_msg("rate %zu, call %d: waits %lld instead of %lld", r,
					        call, (long long)wait_ns, (long long)expected_ns);
			}
			bucket_limit_unref(limit);
		}
	bucket_store_free(store);
}

static void decisions_and_waits_equal_exact_arithmetic_over_random_schedules(void **state)
{
	(void)state;
	hold_against_exact_arithmetic(ASKING_ONE);
}

static void any_number_of_tokens_is_given_as_by_exact_arithmetic(void **state)
{
	(void)state;
	hold_against_exact_arithmetic(ASKING_ANY);
}

// Go counts in floating point and cuts waits to whole nanoseconds. Calls whose exact answer hangs
// on less than that are left out; all others must be answered alike.
static bool is_border(const struct exact *exact, uint64_t tokens, int64_t now_ns)
{
	struct exact then = *exact;
	exact_advance(&then, now_ns);
	if (then.tokens == (unsigned __int128)then.rate.burst * (uint64_t)then.rate.period_ns)
		return false;  // full: both know it exactly
	double price = (double)tokens * (double)exact->rate.period_ns;
	double missing_ns = (price - (double)then.tokens) / (double)exact->rate.count;
	double token_ns = (double)exact->rate.period_ns / (double)exact->rate.count;
	return fabs(missing_ns) < 2 + token_ns * 1e-6;
}

static void hold_against_x_time_rate(enum asking asking)
{
	uint64_t seed = 7;
	struct bucket_store *store = bucket_store_new();
	for (size_t r = 0; r < ARRAY_LEN(rates); r++) {
		if (rates[r].count > 100000000)
			continue;  // every call is on the border: a token takes a nanosecond
		int64_t now_ns = hour_ns;
		struct bucket_limit *limit = bucket_limit_get(
		        store, STR("limit"), rates[r], false, 0, now_ns);
		struct exact exact = exact_new(rates[r], now_ns);
		struct go_limiter go = go_new(rates[r], now_ns);
		uint64_t asked = 0, granted = 0;
		for (int call = 0; call < 20000; call++) {
			uint64_t tokens = tokens_asked(&seed, asking, rates[r].burst);
			now_ns += gap_ns(&seed, &exact, tokens);
			if (is_border(&exact, tokens, now_ns))
				continue;
			bool expected = go_allow(&go, tokens, now_ns);
			asked++;
			granted += expected;
			assert_int_equal(exact_take(&exact, tokens, now_ns) == 0, expected);
			assert_int_equal(
			        take_tokens(limit, STR(""), tokens, now_ns) == 0, expected);
		}
		assert_true(asked > 5000 && granted > 1000 && granted < asked - 1000);
		bucket_limit_unref(limit);
	}
	bucket_store_free(store);
}

static void decisions_are_those_of_x_time_rate(void **state)
{
	(void)state;
	hold_against_x_time_rate(ASKING_ONE);
}

static void any_number_of_tokens_is_given_as_by_x_time_rate(void **state)
{
	(void)state;
	hold_against_x_time_rate(ASKING_ANY);
}

// 3/s is 333333333.3 ns a token: whoever rounds is wrong after a while.
static void no_rate_drifts_over_years(void **state)
{
	(void)state;
	struct bucket_store *store = bucket_store_new();
	struct bucket_limit *limit = bucket_limit_get(
	        store, STR("limit"), (struct bucket_rate){3, second_ns, 3}, false, 0, 0);
	int64_t now_ns = 0;
	assert_int_equal(drain(limit, STR(""), now_ns), 3);
	for (int year = 0; year < 20; year++) {
		for (int call = 0; call < 3000; call++) {
			now_ns += call % 3 == 2 ? 333333334 : 333333333;
			bool due = call % 3 == 2;
			// Thirds of a second fall between nanoseconds: two come one later.
			assert_int_equal(allow(limit, now_ns), due);
			if (!due)
				assert_true(take(limit, STR(""), now_ns) == 1);
			if (!due)
				assert_true(allow(limit, now_ns + 1));
		}
		now_ns += 366 * 24 * hour_ns;
		assert_int_equal(drain(limit, STR(""), now_ns), 3);
	}
	bucket_limit_unref(limit);
	bucket_store_free(store);
}

static void a_clock_that_stands_or_goes_back_neither_gives_nor_takes(void **state)
{
	(void)state;
	struct bucket_store *store = bucket_store_new();
	for (int keyed = 0; keyed < 2; keyed++) {
		struct str key = keyed ? STR("key") : STR("");
		struct bucket_limit *limit = bucket_limit_get(
		        store, STR("limit"), (struct bucket_rate){1, second_ns, 4}, keyed, 1, 0);
		assert_int_equal(take(limit, key, 100 * second_ns), 0);
		assert_int_equal(take(limit, key, 100 * second_ns), 0);
		assert_int_equal(take(limit, key, 99 * second_ns), 0);
		assert_int_equal(take(limit, key, 0), 0);
		// From the caller's own clock on it is so much longer.
		assert_int_equal(take(limit, key, 100 * second_ns), second_ns);
		assert_int_equal(take(limit, key, 99 * second_ns), 2 * second_ns);
		assert_int_equal(take(limit, key, 101 * second_ns), 0);
		assert_int_equal(take(limit, key, 100 * second_ns), 2 * second_ns);
		bucket_limit_unref(limit);
	}
	bucket_store_free(store);
}

static void rates_that_cannot_be_counted_exactly_are_told_apart(void **state)
{
	(void)state;
	static const struct {
		struct bucket_rate rate;
		bool valid;
	} rows[] = {
	        {{1, NS_PER_S, 1}, true},
	        {{0, NS_PER_S, 1}, false},
	        {{1, 0, 1}, false},
	        {{1, -1, 1}, false},
	        {{1, NS_PER_S, 0}, false},
	        {{1, NS_PER_S, 1000000000}, true},
	        {{1, NS_PER_S, 2000000000}, false},
	        {{1000000000, NS_PER_S, 1000000000}, true},
	        {{999999937, NS_PER_S, 1000000000}, true},
	        {{10000, INT64_C(3600) * NS_PER_S, 1000000000}, true},
	        {{7919, INT64_C(3600) * NS_PER_S, 300000}, true},
	        {{7919, INT64_C(3600) * NS_PER_S, 1000000}, false},
	        {{UINT64_MAX, NS_PER_S, 1}, false},
	        {{UINT64_MAX, INT64_MAX, UINT64_MAX}, false},
	        {{1, INT64_MAX, 1}, false},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(bucket_rate_valid(rows[i].rate), rows[i].valid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(decisions_and_waits_equal_exact_arithmetic_over_random_schedules),
	        cmocka_unit_test(any_number_of_tokens_is_given_as_by_exact_arithmetic),
	        cmocka_unit_test(decisions_are_those_of_x_time_rate),
	        cmocka_unit_test(any_number_of_tokens_is_given_as_by_x_time_rate),
	        cmocka_unit_test(no_rate_drifts_over_years),
	        cmocka_unit_test(a_clock_that_stands_or_goes_back_neither_gives_nor_takes),
	        cmocka_unit_test(rates_that_cannot_be_counted_exactly_are_told_apart),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
