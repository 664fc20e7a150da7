#include "conf/nearest.h"
#include "tests/conf/loading.h"

static void distance_counts_edits_and_swaps(void **state)
{
	(void)state;
	static const struct {
		const char *a, *b;
		size_t distance;
	} table[] = {{"", "", 0}, {"a", "", 1}, {"", "abc", 3}, {"abc", "abc", 0},
	        {"abc", "abd", 1}, {"abc", "acb", 1}, {"abc", "ab", 1}, {"abc", "xabc", 1},
	        {"kitten", "sitting", 3}, {"ca", "abc", 3}, {"min-version", "MIN_VERSION", 0}};
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		assert_int_equal(nearest_distance(str_from(table[i].a), str_from(table[i].b)),
		        table[i].distance);
		assert_int_equal(nearest_distance(str_from(table[i].b), str_from(table[i].a)),
		        table[i].distance);
	}
}

static void long_words_are_compared_by_their_beginning(void **state)
{
	(void)state;
	char a[300], b[300];
	memset(a, 'a', sizeof(a));
	memset(b, 'a', sizeof(b));
	b[299] = 'b';
	assert_int_equal(nearest_distance(str_of(a, sizeof(a)), str_of(b, sizeof(b))), 0);
	b[0] = 'b';
	assert_int_equal(nearest_distance(str_of(a, sizeof(a)), str_of(b, sizeof(b))), 1);
}

static void only_what_is_near_is_offered(void **state)
{
	(void)state;
	static const char *const candidates[] = {
	        "timeout", "timeouts", "tls", "name", "match", "connect_timeout"};
	static const struct {
		const char *word, *best;
	} table[] = {{"timout", "timeout"}, {"timeoutss", "timeouts"}, {"tsl", "tls"},
	        {"nam", "name"}, {"nom", NULL}, {"tlsxx", NULL}, {"x", NULL}, {"", NULL},
	        {"matches", "match"}, {"connectTimeout", "connect_timeout"}, {"wibble", NULL}};
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct nearest nearest = {.word = str_from(table[i].word)};
		for (size_t j = 0; j < ARRAY_LEN(candidates); j++)
			(void)nearest_offer(&nearest, str_from(candidates[j]));
		if (table[i].best)
			assert_text(nearest.best, table[i].best);
		else
			assert_null(nearest.best.at);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(distance_counts_edits_and_swaps),
	        cmocka_unit_test(long_words_are_compared_by_their_beginning),
	        cmocka_unit_test(only_what_is_near_is_offered),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
