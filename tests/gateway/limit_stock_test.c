// What a worker remembers of shared buckets: never a token more than was put in, whatever is asked
// and forgotten.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "gateway/limit_stock.h"
#include "tests/policy/bucket_fixture.h"

enum { SETS = 1024, WAYS = 4 };

static struct limit_id id_of_number(uint64_t number)
{
	struct limit_id id;
	char hex[LIMIT_ID_SIZE + 1];
	uint64_t state = number;
	uint64_t high = random_next(&state), low = random_next(&state);
	snprintf(hex, sizeof(hex), "%016llx%016llx", (unsigned long long)high,
	        (unsigned long long)low);
	memcpy(id.hex, hex, sizeof(id.hex));
	return id;
}

// All in one set: that is chosen by the first eight.
static struct limit_id neighbour(unsigned number)
{
	struct limit_id id = id_of_number(1);
	id.hex[LIMIT_ID_SIZE - 1] = (char)('a' + number);
	return id;
}

static uint64_t take_all(struct limit_stock *stock, const struct limit_id *id, int64_t now_ns)
{
	uint64_t count = 0;
	while (limit_stock_take(stock, id, 1, now_ns))
		count++;
	return count;
}

static void a_lease_is_taken_token_by_token_and_by_nobody_else(void **state)
{
	struct limit_stock *stock = limit_stock_new();
	struct limit_id id = neighbour(0), other = neighbour(1);
	(void)state;
	assert_false(limit_stock_take(stock, &id, 1, 0));
	limit_stock_add(stock, &id, 3, 10, 0, second_ns);
	assert_int_equal(take_all(stock, &other, 0), 0);
	assert_int_equal(take_all(stock, &id, 0), 3);
	limit_stock_free(stock);
}

static void several_tokens_are_taken_together_or_not_at_all(void **state)
{
	struct limit_stock *stock = limit_stock_new();
	struct limit_id id = neighbour(0);
	(void)state;
	limit_stock_add(stock, &id, 7, 10, 0, second_ns);
	assert_false(limit_stock_take(stock, &id, 8, 0));
	assert_false(limit_stock_take(stock, &id, UINT64_MAX, 0));
	assert_int_equal(limit_stock_tokens(stock, &id, 0), 7);
	assert_true(limit_stock_take(stock, &id, 4, 0));
	assert_false(limit_stock_take(stock, &id, 4, 0));
	assert_int_equal(limit_stock_tokens(stock, &id, 0), 3);
	assert_true(limit_stock_take(stock, &id, 3, 0));
	assert_false(limit_stock_take(stock, &id, 1, 0));
	limit_stock_add(stock, &id, 5, 10, 0, second_ns);
	assert_false(limit_stock_take(stock, &id, 5, second_ns));  // they have lapsed
	assert_int_equal(limit_stock_tokens(stock, &id, second_ns), 0);
	limit_stock_free(stock);
}

static void a_lease_lapses_and_leaves_nothing_for_the_next(void **state)
{
	struct limit_stock *stock = limit_stock_new();
	struct limit_id id = neighbour(0);
	(void)state;
	limit_stock_add(stock, &id, 5, 10, 0, second_ns);
	assert_true(limit_stock_take(stock, &id, 1, second_ns - 1));
	assert_int_equal(take_all(stock, &id, second_ns), 0);
	limit_stock_add(stock, &id, 2, 10, second_ns, 2 * second_ns);
	assert_int_equal(take_all(stock, &id, second_ns), 2);
	limit_stock_free(stock);
}

static const struct {
	uint64_t there, added, most, left;
} additions[] = {
        {0, 4, 5, 4},
        {4, 1, 5, 5},
        {4, 2, 5, 5},
        {5, UINT64_C(1) << 62, 5, 5},  // of a server gone mad
        {0, UINT64_MAX, 1, 1},
};

static void no_more_than_a_lease_is_kept(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(additions); i++) {
		struct limit_stock *stock = limit_stock_new();
		struct limit_id id = neighbour(0);
		limit_stock_add(stock, &id, additions[i].there, additions[i].most, 0, second_ns);
		limit_stock_add(stock, &id, additions[i].added, additions[i].most, 0, second_ns);
		assert_int_equal(take_all(stock, &id, 0), additions[i].left);
		limit_stock_free(stock);
	}
}

static void a_refusal_is_remembered_until_it_is_over_and_for_a_second_at_most(void **state)
{
	struct limit_stock *stock = limit_stock_new();
	struct limit_id brief = neighbour(0), lasting = neighbour(1);
	(void)state;
	assert_int_equal(limit_stock_wait(stock, &brief, 1, 0), 0);
	limit_stock_refuse(stock, &brief, 1, 7, 0);
	assert_int_equal(limit_stock_wait(stock, &brief, 1, 0), 7);
	assert_int_equal(limit_stock_wait(stock, &brief, 1, 6), 1);
	assert_int_equal(limit_stock_wait(stock, &brief, 1, 7), 0);
	limit_stock_refuse(stock, &lasting, 1, hour_ns, 0);
	assert_int_equal(
	        limit_stock_wait(stock, &lasting, 1, second_ns - 1), hour_ns - second_ns + 1);
	assert_int_equal(limit_stock_wait(stock, &lasting, 1, second_ns), 0);
	limit_stock_free(stock);
}

// Cheaper calls may pass meanwhile, and dearer ones wait longer.
static void a_refusal_is_remembered_for_just_that_cost(void **state)
{
	struct limit_stock *stock = limit_stock_new();
	struct limit_id id = neighbour(0);
	(void)state;
	limit_stock_refuse(stock, &id, 5, hour_ns, 0);
	assert_int_equal(limit_stock_wait(stock, &id, 5, 0), hour_ns);
	for (uint64_t other = 1; other < 10; other++)
		if (other != 5)
			assert_int_equal(limit_stock_wait(stock, &id, other, 0), 0);
	// The last word counts.
	limit_stock_refuse(stock, &id, 8, 2 * hour_ns, 1);
	assert_int_equal(limit_stock_wait(stock, &id, 8, 1), 2 * hour_ns - 1);
	assert_int_equal(limit_stock_wait(stock, &id, 5, 1), 0);
	limit_stock_free(stock);
}

// Three leased, and Redis has less than five: calls of up to three pass.
static void what_was_leased_is_no_help_to_who_needs_more(void **state)
{
	struct limit_stock *stock = limit_stock_new();
	struct limit_id id = neighbour(0);
	(void)state;
	limit_stock_add(stock, &id, 3, 10, 0, second_ns);
	limit_stock_refuse(stock, &id, 5, hour_ns, 0);
	assert_int_equal(limit_stock_wait(stock, &id, 5, 0), hour_ns);
	assert_int_equal(limit_stock_wait(stock, &id, 3, 0), 0);
	assert_true(limit_stock_take(stock, &id, 3, 0));
	limit_stock_add(stock, &id, 4, 10, 0, second_ns);  // given back: ask again
	assert_int_equal(limit_stock_wait(stock, &id, 5, 0), 0);
	assert_false(limit_stock_take(stock, &id, 5, 0));
	limit_stock_free(stock);
}

// A crowd at one bucket: one leases what is left, the next is refused. The leased ones are there.
static void what_was_leased_passes_whoever_was_refused_meanwhile(void **state)
{
	struct limit_stock *stock = limit_stock_new();
	struct limit_id id = neighbour(0);
	(void)state;
	limit_stock_add(stock, &id, 2, 5, 0, second_ns);
	limit_stock_refuse(stock, &id, 1, hour_ns, 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(limit_stock_wait(stock, &id, 1, 0), 0);
		assert_true(limit_stock_take(stock, &id, 1, 0));
	}
	assert_int_equal(limit_stock_wait(stock, &id, 1, 0), hour_ns);
	limit_stock_free(stock);
}

static void a_token_given_back_ends_a_refusal(void **state)
{
	struct limit_stock *stock = limit_stock_new();
	struct limit_id id = neighbour(0);
	(void)state;
	limit_stock_refuse(stock, &id, 1, hour_ns, 0);
	limit_stock_add(stock, &id, 1, 1, 0, second_ns);
	assert_int_equal(limit_stock_wait(stock, &id, 1, 0), 0);
	assert_true(limit_stock_take(stock, &id, 1, 0));
	assert_int_equal(limit_stock_wait(stock, &id, 1, 0), 0);  // ask: others may have given, too
	limit_stock_free(stock);
}

static void one_lease_is_on_its_way_at_a_time(void **state)
{
	struct limit_stock *stock = limit_stock_new();
	struct limit_id id = neighbour(0), other = neighbour(1);
	(void)state;
	assert_true(limit_stock_order(stock, &id, 0, 20));
	assert_false(limit_stock_order(stock, &id, 19, 40));
	assert_true(limit_stock_order(stock, &other, 0, 20));
	assert_true(limit_stock_order(stock, &id, 20, 40));  // it never came
	limit_stock_arrived(stock, &id);
	assert_true(limit_stock_order(stock, &id, 21, 40));
	limit_stock_arrived(stock, &(struct limit_id){"nobody asked for this one......"});
	limit_stock_free(stock);
}

// What must be kept longest stays: a lease before an order, an order before what is over.
static void a_full_set_forgets_what_is_over_soonest(void **state)
{
	struct limit_stock *stock = limit_stock_new();
	struct limit_id ids[WAYS + 2];
	(void)state;
	for (unsigned i = 0; i < WAYS + 2; i++)
		ids[i] = neighbour(i);
	limit_stock_add(stock, &ids[0], 1, 1, 0, 4 * second_ns);
	limit_stock_refuse(stock, &ids[1], 1, second_ns / 2, 0);
	limit_stock_add(stock, &ids[2], 1, 1, 0, 3 * second_ns);
	assert_true(limit_stock_order(stock, &ids[3], 0, 5 * second_ns));
	limit_stock_add(stock, &ids[4], 1, 1, 0, 6 * second_ns);  // the refusal goes
	assert_int_equal(limit_stock_wait(stock, &ids[1], 1, 0), 0);
	assert_true(limit_stock_take(stock, &ids[4], 1, 0));      // used up: needed no more
	limit_stock_add(stock, &ids[5], 1, 1, 0, 2 * second_ns);  // so its place is free
	assert_false(limit_stock_order(stock, &ids[3], 0, 1));
	assert_true(limit_stock_take(stock, &ids[0], 1, 0));
	assert_true(limit_stock_take(stock, &ids[2], 1, 0));
	assert_true(limit_stock_take(stock, &ids[5], 1, 0));
	limit_stock_free(stock);
}

// Many more buckets than there is room for, in any order: what comes out of a bucket went into that
// bucket, and what of one second is kept is no more than fits.
static void a_hundred_thousand_callers_gain_no_token(void **state)
{
	enum { CALLERS = 100000, ACTS = 400000 };
	struct limit_stock *stock = limit_stock_new();
	uint32_t *owed = calloc(CALLERS, sizeof(*owed));
	uint64_t schedule = 42, taken = 0, tokens;
	(void)state;
	assert_non_null(owed);
	for (int64_t act = 0; act < ACTS; act++) {
		// Mostly newcomers, some that were here before.
		uint64_t caller = random_below(&schedule, act % 4 ? CALLERS : 500);
		struct limit_id id = id_of_number(caller);
		int64_t now_ns = act * NS_PER_US;
		switch (random_below(&schedule, 4)) {
		case 0:
			limit_stock_add(stock, &id, 3, 3, now_ns, now_ns + 2 * second_ns);
			owed[caller] += 3;
			break;
		case 1:
			tokens = 1 + random_below(&schedule, 3);
			limit_stock_refuse(stock, &id, tokens, now_ns + second_ns, now_ns);
			break;
		default:
			tokens = 1 + random_below(&schedule, 3);
			if (!limit_stock_take(stock, &id, tokens, now_ns))
				break;
			assert_true(owed[caller] >= tokens);
			owed[caller] -= (uint32_t)tokens;
			taken++;
		}
	}
	assert_true(taken > 100);
	uint64_t left = 0;
	for (uint64_t caller = 0; caller < CALLERS; caller++) {
		struct limit_id id = id_of_number(caller);
		uint64_t kept = take_all(stock, &id, ACTS * NS_PER_US);
		assert_true(kept <= owed[caller]);
		left += kept;
	}
	assert_true(left > SETS && left <= (uint64_t)SETS * WAYS * 3);
	free(owed);
	limit_stock_free(stock);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_lease_is_taken_token_by_token_and_by_nobody_else),
	        cmocka_unit_test(several_tokens_are_taken_together_or_not_at_all),
	        cmocka_unit_test(a_lease_lapses_and_leaves_nothing_for_the_next),
	        cmocka_unit_test(no_more_than_a_lease_is_kept),
	        cmocka_unit_test(a_refusal_is_remembered_until_it_is_over_and_for_a_second_at_most),
	        cmocka_unit_test(a_refusal_is_remembered_for_just_that_cost),
	        cmocka_unit_test(what_was_leased_is_no_help_to_who_needs_more),
	        cmocka_unit_test(what_was_leased_passes_whoever_was_refused_meanwhile),
	        cmocka_unit_test(a_token_given_back_ends_a_refusal),
	        cmocka_unit_test(one_lease_is_on_its_way_at_a_time),
	        cmocka_unit_test(a_full_set_forgets_what_is_over_soonest),
	        cmocka_unit_test(a_hundred_thousand_callers_gain_no_token),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
