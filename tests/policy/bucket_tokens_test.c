// Calls that want several tokens of a bucket get all of them or none.
#include "tests/policy/bucket_fixture.h"

static struct bucket_limit *limit_of(
        struct bucket_store *store, const char *name, uint64_t burst, bool keyed)
{
	return bucket_limit_get(
	        store, str_from(name), (struct bucket_rate){1, hour_ns, burst}, keyed, 10, 0);
}

// Ten tokens, three a second.
static const struct {
	uint64_t taken, wanted;
	int64_t wait_ns;
} waits[] = {
        {0, 10, 0},
        {0, 1, 0},
        {3, 7, 0},
        {4, 7, 333333334},
        {4, 6, 0},
        {5, 7, 666666667},
        {7, 6, 1000000000},
        {7, 3, 0},
        {9, 10, 3000000000},
        {10, 1, 333333334},
        {10, 10, 3333333334},
};

static void a_claim_waits_for_its_last_token_to_the_nanosecond(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(waits); i++)
		for (int keyed = 0; keyed < 2; keyed++) {
			struct bucket_store *store = bucket_store_new();
			struct str key = keyed ? STR("key") : STR("");
			struct bucket_limit *limit = bucket_limit_get(store, STR("limit"),
			        (struct bucket_rate){3, second_ns, 10}, keyed, 10, 0);
			if (waits[i].taken)
				assert_int_equal(take_tokens(limit, key, waits[i].taken, 0), 0);
			uint64_t wanted = waits[i].wanted;
			int64_t wait_ns = waits[i].wait_ns;
			assert_int_equal(take_tokens(limit, key, wanted, 0), wait_ns);
			if (wait_ns) {
				assert_int_equal(take_tokens(limit, key, wanted, wait_ns - 1), 1);
				assert_int_equal(take_tokens(limit, key, wanted, wait_ns), 0);
			}
			bucket_limit_unref(limit);
			bucket_store_free(store);
		}
}

static void a_claim_that_is_refused_leaves_the_tokens_to_smaller_ones(void **state)
{
	(void)state;
	for (int keyed = 0; keyed < 2; keyed++) {
		struct bucket_store *store = bucket_store_new();
		struct str key = keyed ? STR("key") : STR("");
		struct bucket_limit *limit = limit_of(store, "limit", 10, keyed);
		assert_int_equal(take_tokens(limit, key, 6, 0), 0);
		for (int i = 0; i < 3; i++)
			assert_int_equal(take_tokens(limit, key, 6, 0), 2 * hour_ns);
		assert_int_equal(take_tokens(limit, key, 3, 0), 0);
		assert_int_equal(take_tokens(limit, key, 1, 0), 0);
		assert_int_equal(take_tokens(limit, key, 1, 0), hour_ns);
		if (keyed)
			assert_int_equal(take_tokens(limit, STR("another"), 10, 0), 0);
		struct bucket_view view = view_of(store, 0);
		assert_int_equal(view.granted, keyed ? 4 : 3);  // calls, not tokens
		assert_int_equal(view.refused, 4);
		bucket_limit_unref(limit);
		bucket_store_free(store);
	}
}

static void no_token_is_one(void **state)
{
	(void)state;
	for (int keyed = 0; keyed < 2; keyed++) {
		struct bucket_store *store = bucket_store_new();
		struct str key = keyed ? STR("key") : STR("");
		struct bucket_limit *limit = limit_of(store, "limit", 3, keyed);
		assert_int_equal(take_tokens(limit, key, 0, 0), 0);
		assert_int_equal(drain(limit, key, 0), 2);
		assert_int_equal(take_tokens(limit, key, 0, 0), hour_ns);
		bucket_limit_unref(limit);
		bucket_store_free(store);
	}
}

static void more_than_the_burst_takes_the_whole_burst(void **state)
{
	(void)state;
	static const uint64_t wanted[] = {
	        5, 6, 1000, UINT64_C(1) << 62, UINT64_C(1) << 63, UINT64_MAX / 5, UINT64_MAX};
	for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
		for (int keyed = 0; keyed < 2; keyed++) {
			struct bucket_store *store = bucket_store_new();
			struct str key = keyed ? STR("key") : STR("");
			struct bucket_limit *limit = limit_of(store, "limit", 5, keyed);
			assert_int_equal(take_tokens(limit, key, wanted[i], 0), 0);
			assert_int_equal(drain(limit, key, 0), 0);
			assert_int_equal(take_tokens(limit, key, wanted[i], 0), 5 * hour_ns);
			// One short of all is not enough.
			assert_int_equal(take_tokens(limit, key, wanted[i], 5 * hour_ns - 1), 1);
			assert_int_equal(take_tokens(limit, key, wanted[i], 5 * hour_ns), 0);
			bucket_limit_unref(limit);
			bucket_store_free(store);
		}
}

// A worker that has not heard of the reload goes on with the former limit, and a cost that this one
// could pay.
static void a_limit_that_became_smaller_gives_what_it_ever_has(void **state)
{
	(void)state;
	for (int keyed = 0; keyed < 2; keyed++) {
		struct bucket_store *store = bucket_store_new();
		struct str key = keyed ? STR("key") : STR("");
		struct bucket_limit *old = limit_of(store, "limit", 10, keyed);
		assert_int_equal(take_tokens(old, key, 4, 0), 0);
		struct bucket_limit *new = limit_of(store, "limit", 3, keyed);
		assert_int_equal(take_tokens(old, key, 8, 0), 0);
		assert_int_equal(take_tokens(new, key, 1, 0), hour_ns);
		assert_int_equal(take_tokens(old, key, 8, 0), 3 * hour_ns);
		assert_int_equal(take_tokens(old, key, 8, 3 * hour_ns), 0);
		bucket_limit_unref(old);
		assert_int_equal(take_tokens(new, key, 8, 3 * hour_ns), 3 * hour_ns);
		bucket_limit_unref(new);
		bucket_store_free(store);
	}
}

static void what_is_left_is_told_after_all_that_was_taken(void **state)
{
	(void)state;
	for (int keyed = 0; keyed < 2; keyed++) {
		struct bucket_store *store = bucket_store_new();
		struct bucket_limit *limit = limit_of(store, "limit", 10, keyed);
		struct bucket_claim claim = {limit, keyed ? STR("key") : STR(""), 7};
		size_t refused_by;
		assert_int_equal(bucket_take_all(&claim, 1, 0, &refused_by), 0);
		struct bucket_left left = bucket_claim_left(&claim);
		assert_int_equal(left.tokens, 3);
		assert_int_equal(left.more_in_ns, hour_ns);
		assert_int_equal(left.full_in_ns, 7 * hour_ns);
		claim.tokens = 1;
		assert_int_equal(bucket_take_all(&claim, 1, hour_ns / 4, &refused_by), 0);
		left = bucket_claim_left(&claim);
		assert_int_equal(left.tokens, 2);
		assert_int_equal(left.more_in_ns, hour_ns - hour_ns / 4);
		assert_int_equal(left.full_in_ns, 8 * hour_ns - hour_ns / 4);
		bucket_limit_unref(limit);
		bucket_store_free(store);
	}
}

enum { LIMITS = 4, KEYS = 2 };

// Of tokens that nobody refills: each bucket has a whole number of them.
struct round {
	struct bucket_claim claims[LIMITS];
	size_t buckets[LIMITS], count;
	uint64_t longest;  // tokens that the poorest bucket is short of
};

static struct round any_round(struct bucket_limit *const limits[LIMITS],
        const uint64_t bursts[LIMITS], const uint64_t left[LIMITS * KEYS], uint64_t *seed)
{
	static const char *const keys[KEYS] = {"one", "two"};
	struct round round = {.count = 1 + random_below(seed, LIMITS)};
	size_t first = random_below(seed, LIMITS);
	for (size_t i = 0; i < round.count; i++) {
		size_t limit = (first + i) % LIMITS, key = limit % 2 ? random_below(seed, KEYS) : 0;
		uint64_t tokens = 1 + random_below(seed, bursts[limit]);
		if (random_below(seed, 2))
			tokens = 1 + tokens / 8;
		round.buckets[i] = limit * KEYS + key;
		round.claims[i] = (struct bucket_claim){
		        limits[limit], limit % 2 ? str_from(keys[key]) : STR(""), tokens};
		uint64_t there = left[round.buckets[i]];
		if (tokens > there && tokens - there > round.longest)
			round.longest = tokens - there;
	}
	return round;
}

static void claims_of_different_numbers_are_met_all_or_none(void **state)
{
	(void)state;
	static const uint64_t bursts[LIMITS] = {50, 7, 300, 90};
	uint64_t granted = 0, refused = 0;
	for (uint64_t seed = 0; seed < 300; seed++) {
		struct bucket_store *store = bucket_store_new();
		struct bucket_limit *limits[LIMITS];
		uint64_t left[LIMITS * KEYS], schedule = seed;
		for (size_t i = 0; i < LIMITS; i++) {
			char name[2] = {(char)('a' + i), 0};
			limits[i] = limit_of(store, name, bursts[i], i % 2);
			left[i * KEYS] = left[i * KEYS + 1] = bursts[i];
		}
		for (int call = 0; call < 60; call++) {
			struct round round = any_round(limits, bursts, left, &schedule);
			size_t by, would_by;
			int64_t would_ns = bucket_would_refuse(
			        round.claims, round.count, 0, &would_by);
			int64_t wait_ns = bucket_take_all(round.claims, round.count, 0, &by);
			assert_int_equal(wait_ns, (int64_t)round.longest * hour_ns);
			assert_int_equal(would_ns, wait_ns);
			*(wait_ns ? &refused : &granted) += 1;
			if (wait_ns)
				assert_int_equal(round.claims[by].tokens - left[round.buckets[by]],
				        round.longest);
			for (size_t i = 0; !wait_ns && i < round.count; i++)
				left[round.buckets[i]] -= round.claims[i].tokens;
		}
		for (size_t i = 0; i < LIMITS; i++) {
			assert_int_equal(
			        drain(limits[i], i % 2 ? STR("one") : STR(""), 0), left[i * KEYS]);
			bucket_limit_unref(limits[i]);
		}
		bucket_store_free(store);
	}
	assert_true(granted > 1000 && refused > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_claim_waits_for_its_last_token_to_the_nanosecond),
	        cmocka_unit_test(a_claim_that_is_refused_leaves_the_tokens_to_smaller_ones),
	        cmocka_unit_test(no_token_is_one),
	        cmocka_unit_test(more_than_the_burst_takes_the_whole_burst),
	        cmocka_unit_test(a_limit_that_became_smaller_gives_what_it_ever_has),
	        cmocka_unit_test(what_is_left_is_told_after_all_that_was_taken),
	        cmocka_unit_test(claims_of_different_numbers_are_met_all_or_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
