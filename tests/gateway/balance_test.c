#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "gateway/balance.h"

enum { ENDPOINTS_MAX = 64 };

struct field {
	struct balance_endpoint endpoints[ENDPOINTS_MAX];
	uint32_t active[ENDPOINTS_MAX];
	uint32_t weights[ENDPOINTS_MAX];
	char texts[ENDPOINTS_MAX][40];
	struct str names[ENDPOINTS_MAX];
	size_t count;
};

static void set_up(struct field *field, const uint32_t *weights, size_t count)
{
	*field = (struct field){.count = count};
	for (size_t i = 0; i < count; i++) {
		field->weights[i] = field->endpoints[i].weight = weights ? weights[i] : 1;
		field->endpoints[i].active = &field->active[i];
		snprintf(field->texts[i], sizeof(field->texts[i]), "10.0.0.%zu:8080", i + 1);
		field->names[i] = str_from(field->texts[i]);
	}
}

static uint64_t next_random(uint64_t *state)  // splitmix64
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static void round_robin_gives_each_its_weight_of_every_round(void **state)
{
	(void)state;
	static const struct {
		uint32_t weights[4];
		size_t count;
		const char *picks;  // a round
	} rows[] = {
	        {{1}, 1, "a"},
	        {{1, 1, 1}, 3, "abc"},
	        {{3, 1}, 2, "aaba"},
	        {{5, 1, 1}, 3, "aabacaa"},  // nginx's example
	        {{2, 2}, 2, "abab"},
	        {{1, 0, 1}, 3, "ac"},
	        {{1, 2, 3, 4}, 4, "dcbdacdbcd"},
	};
	for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
		struct field field;
		set_up(&field, rows[row].weights, rows[row].count);
		for (size_t i = 0, len = strlen(rows[row].picks); i < 3 * len; i++) {
			int found = balance_round_robin(field.endpoints, field.count);
			if (found != rows[row].picks[i % len] - 'a')
				fail_msg("row %zu, pick %zu: %d", row, i, found);
		}
	}
}

static void any_window_as_long_as_a_round_is_exact(void **state)
{
	(void)state;
	const uint32_t weights[] = {7, 1, 3, 1000, 20};
	struct field field;
	enum { ROUND = 1031, PICKS = 4 * ROUND };
	static int picks[PICKS];
	set_up(&field, weights, ARRAY_LEN(weights));
	for (size_t i = 0; i < PICKS; i++)
		picks[i] = balance_round_robin(field.endpoints, field.count);
	for (size_t from = 0; from + ROUND <= PICKS; from += 97) {
		uint32_t counts[ARRAY_LEN(weights)] = {0};
		for (size_t i = from; i < from + ROUND; i++)
			counts[picks[i]]++;
		assert_memory_equal(counts, weights, sizeof(counts));
	}
}

static void the_endpoint_with_fewer_requests_for_its_weight_is_taken(void **state)
{
	(void)state;
	static const struct {
		uint32_t weights[2], active[2];
		int expected;
	} rows[] = {
	        {{1, 1}, {1, 0}, 1},
	        {{1, 1}, {3, 4}, 0},
	        {{3, 1}, {1, 0}, 0},  // 2/3 < 1
	        {{3, 1}, {3, 0}, 1},  // 4/3 > 1
	        {{1, 1000}, {0, 500}, 1},
	        {{0, 1}, {0, 100}, 1},
	        {{1, 0}, {100, 0}, 0},
	};
	uint64_t random = 1;
	for (size_t row = 0; row < ARRAY_LEN(rows); row++)
		for (size_t i = 0; i < 100; i++) {
			struct field field;
			set_up(&field, rows[row].weights, 2);
			memcpy(field.active, rows[row].active, sizeof(rows[row].active));
			assert_int_equal(
			        balance_least_requests(field.endpoints, 2, next_random(&random)),
			        rows[row].expected);
		}
}

static void two_choices_never_take_the_busiest_and_all_else_alike(void **state)
{
	(void)state;
	enum { PICKS = 30000, COUNT = 4 };
	struct field field;
	uint64_t random = 7;
	size_t counts[COUNT] = {0};
	set_up(&field, NULL, COUNT);
	field.active[2] = 9;
	for (size_t i = 0; i < PICKS; i++)
		counts[balance_least_requests(field.endpoints, COUNT, next_random(&random))]++;
	assert_int_equal(counts[2], 0);
	for (size_t i = 0; i < COUNT; i++)
		if (i != 2 && (counts[i] < PICKS / 3 - 500 || counts[i] > PICKS / 3 + 500))
			fail_msg("endpoint %zu: %zu of %d", i, counts[i], PICKS);
}

static void nothing_to_choose_is_told(void **state)
{
	(void)state;
	const uint32_t weights[] = {1, 1, 1};
	struct arena arena = {0};
	struct field field;
	set_up(&field, weights, 3);
	const uint16_t *table = balance_table(field.names, field.weights, 3, &arena);
	for (size_t i = 0; i < 3; i++)
		field.endpoints[i].weight = 0;
	assert_int_equal(balance_round_robin(field.endpoints, 3), BALANCE_NONE);
	assert_int_equal(balance_least_requests(field.endpoints, 3, 1), BALANCE_NONE);
	assert_int_equal(balance_hash(table, field.endpoints, 3, 1), BALANCE_NONE);
	arena_fini(&arena);
}

static void places_of_the_table_are_shared_by_weight(void **state)
{
	(void)state;
	static const struct {
		uint32_t weights[5];
		size_t count;
	} rows[] = {{{1}, 1}, {{1, 1, 1, 1, 1}, 5}, {{3, 1}, 2}, {{1000, 1, 500}, 3}};
	for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
		struct arena arena = {0};
		struct field field;
		size_t counts[5] = {0}, total = 0;
		set_up(&field, rows[row].weights, rows[row].count);
		const uint16_t *table = balance_table(
		        field.names, field.weights, field.count, &arena);
		for (size_t i = 0; i < BALANCE_PLACES; i++)
			counts[table[i]]++;
		for (size_t i = 0; i < field.count; i++)
			total += field.weights[i];
		for (size_t i = 0; i < field.count; i++) {
			size_t share = BALANCE_PLACES * field.weights[i] / total;
			if (counts[i] + 2 < share || counts[i] > share + 2)
				fail_msg("row %zu, endpoint %zu: %zu places, not %zu", row, i,
				        counts[i], share);
		}
		arena_fini(&arena);
	}
}

// How many places of a hundred lead elsewhere, beyond those that had to.
static double moved_needlessly(size_t count, size_t without)
{
	struct arena arena = {0};
	struct field field;
	size_t moved = 0;
	set_up(&field, NULL, count);
	const uint16_t *all = balance_table(field.names, field.weights, count, &arena);
	for (size_t i = without; i + 1 < count; i++)
		field.names[i] = field.names[i + 1];
	const uint16_t *fewer = balance_table(field.names, field.weights, count - 1, &arena);
	for (size_t i = 0; i < BALANCE_PLACES; i++) {
		size_t now = fewer[i] < without ? fewer[i] : fewer[i] + (size_t)1;
		moved += all[i] != without && now != all[i];
	}
	arena_fini(&arena);
	return 100.0 * (double)moved / BALANCE_PLACES;
}

static void few_callers_move_when_an_endpoint_comes_or_goes(void **state)
{
	(void)state;
	static const struct {
		size_t count, without;
	} rows[] = {{2, 0}, {3, 2}, {5, 0}, {10, 4}, {20, 19}, {50, 7}};
	for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
		double moved = moved_needlessly(rows[row].count, rows[row].without);
		if (moved > 3)
			fail_msg("%zu less one: %.2f per cent moved", rows[row].count, moved);
	}
}

static void while_an_endpoint_is_out_its_callers_alone_move_and_to_all_others(void **state)
{
	(void)state;
	enum { COUNT = 5, OUT = 2, CALLERS = 50000 };
	struct arena arena = {0};
	struct field field;
	uint64_t random = 3;
	size_t went[COUNT] = {0}, had = 0;
	set_up(&field, NULL, COUNT);
	const uint16_t *table = balance_table(field.names, field.weights, COUNT, &arena);
	for (size_t i = 0; i < CALLERS; i++) {
		uint64_t hash = next_random(&random);
		field.endpoints[OUT].weight = 1;
		int before = balance_hash(table, field.endpoints, COUNT, hash);
		field.endpoints[OUT].weight = 0;
		int after = balance_hash(table, field.endpoints, COUNT, hash);
		if (before != OUT)
			assert_int_equal(after, before);
		else
			went[after]++, had++;
	}
	assert_int_equal(went[OUT], 0);
	for (size_t i = 0; i < COUNT; i++)
		if (i != OUT && (went[i] < had / 5 || went[i] > had / 3))
			fail_msg("endpoint %zu took %zu of %zu", i, went[i], had);
	arena_fini(&arena);
}

static void the_last_one_left_takes_every_hash(void **state)
{
	(void)state;
	enum { COUNT = ENDPOINTS_MAX };
	struct arena arena = {0};
	struct field field;
	uint64_t random = 5;
	set_up(&field, NULL, COUNT);
	const uint16_t *table = balance_table(field.names, field.weights, COUNT, &arena);
	for (size_t i = 0; i < COUNT; i++)
		field.endpoints[i].weight = i == 41;
	for (size_t i = 0; i < 1000; i++)
		assert_int_equal(
		        balance_hash(table, field.endpoints, COUNT, next_random(&random)), 41);
	arena_fini(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(round_robin_gives_each_its_weight_of_every_round),
	        cmocka_unit_test(any_window_as_long_as_a_round_is_exact),
	        cmocka_unit_test(the_endpoint_with_fewer_requests_for_its_weight_is_taken),
	        cmocka_unit_test(two_choices_never_take_the_busiest_and_all_else_alike),
	        cmocka_unit_test(nothing_to_choose_is_told),
	        cmocka_unit_test(places_of_the_table_are_shared_by_weight),
	        cmocka_unit_test(few_callers_move_when_an_endpoint_comes_or_goes),
	        cmocka_unit_test(while_an_endpoint_is_out_its_callers_alone_move_and_to_all_others),
	        cmocka_unit_test(the_last_one_left_takes_every_hash),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
