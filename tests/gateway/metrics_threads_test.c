#include "tests/gateway/metrics_reader.h"

#include <pthread.h>
#include <stdatomic.h>

#include "gateway/metrics_series.h"

enum { WORKERS = 4, ROUTES = 50, ROUNDS = 2000 };

static void *intern_words(void *argument)
{
	const char **words = argument;
	char word[32];
	for (int i = 0; i < ROUNDS; i++) {
		snprintf(word, sizeof(word), "word %d", i);
		words[i] = label(word);
	}
	return NULL;
}

static void equal_words_are_one_pointer_on_every_thread(void **state)
{
	(void)state;
	static const char *words[WORKERS][ROUNDS];
	pthread_t threads[WORKERS];
	for (int i = 0; i < WORKERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, intern_words, words[i]), 0);
	for (int i = 0; i < WORKERS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < ROUNDS; i++)
		for (int k = 1; k < WORKERS; k++)
			assert_ptr_equal(words[0][i], words[k][i]);
	assert_string_equal(words[0][7], "word 7");
	assert_ptr_not_equal(words[0][0], words[0][1]);
	assert_string_equal(metrics_label(STR("")), "");
	assert_string_equal(metrics_label(str_of("abc", 2)), "ab");
}

// --- writers and a reader at the same time

struct writer {
	struct metrics *metrics;
	const char *const *routes;
	atomic_int *running;
};

static void *write_all(void *argument)
{
	struct writer *writer = argument;
	for (int round = 0; round < ROUNDS; round++) {
		// New series keep coming while old ones count: the reader sees lists in the making.
		const char *route = writer->routes[round % (1 + round * ROUTES / ROUNDS)];
		metrics_request(writer->metrics, writer->routes[0], route, METRICS_GRPC, round % 17,
		        (int64_t)round * NS_PER_MS);
		metrics_connections(writer->metrics, writer->routes[0], 1);
		metrics_connections(writer->metrics, writer->routes[0], -1);
	}
	atomic_fetch_sub(writer->running, 1);
	return NULL;
}

static void a_reader_sees_only_whole_series_that_never_shrink(void **state)
{
	(void)state;
	struct metrics *workers[WORKERS];
	struct writer writers[WORKERS];
	pthread_t threads[WORKERS];
	atomic_int running = WORKERS;
	const char *routes[ROUTES];
	char word[32];
	for (int i = 0; i < ROUTES; i++) {
		snprintf(word, sizeof(word), "route %d", i);
		routes[i] = label(word);
	}
	for (int i = 0; i < WORKERS; i++) {
		workers[i] = metrics_new();
		writers[i] = (struct writer){workers[i], routes, &running};
		assert_int_equal(pthread_create(&threads[i], NULL, write_all, &writers[i]), 0);
	}
	double last = 0;
	bool more;
	do {
		more = atomic_load(&running) > 0;
		char *text = exposed(workers, WORKERS, NULL, 0);
		assert_well_formed(text);
		double seen = sum_of(text, "tollgate_requests_total{");
		assert_true(seen >= last);
		last = seen;
		double whole = value_of(text,
		        "tollgate_request_duration_seconds_bucket{route=\"route 0\",le=\"+Inf\"}");
		double counted = value_of(
		        text, "tollgate_request_duration_seconds_count{route=\"route 0\"}");
		assert_true(whole == counted);
		free(text);
	} while (more);
	for (int i = 0; i < WORKERS; i++)
		pthread_join(threads[i], NULL);
	assert_true(last == (double)WORKERS * ROUNDS);
	char *text = exposed(workers, WORKERS, NULL, 0);
	assert_line(text, "tollgate_connections_active{listener=\"route 0\"} 0");
	assert_true(sum_of(text, "tollgate_request_duration_seconds_count{") ==
	            (double)WORKERS * ROUNDS);
	free(text);
	for (int i = 0; i < WORKERS; i++)
		metrics_free(workers[i]);
}

// --- what no configuration names any more

static void count_all(struct metrics *metrics, const char *route)
{
	metrics_request(metrics, "edge", route, METRICS_HTTP1, 200, NS_PER_MS);
	metrics_rejection(metrics, "edge", REASON_no_route);
	metrics_upstream_connections(metrics, route, route, 1);
}

static void what_is_no_longer_named_is_not_told_and_begins_anew(void **state)
{
	(void)state;
	struct metrics *metrics = metrics_new();
	const char *old = label("/old"), *kept = label("/kept");
	count_all(metrics, old);
	count_all(metrics, kept);
	assert_ptr_equal(label("/kept"), kept);  // of the next configuration
	metrics_label_release(old);
	metrics_label_release(kept);
	for (int pruned = 0; pruned < 2; pruned++) {
		char *text = exposed(&metrics, 1, NULL, 0);
		assert_well_formed(text);
		assert_null(strstr(text, "/old"));
		assert_line(text, "tollgate_upstream_connections_active{backend=\"/"
		                  "kept\",endpoint=\"/kept\"} 1");
		assert_line(
		        text, "tollgate_rejections_total{listener=\"edge\",reason=\"no_route\"} 2");
		free(text);
		metrics_prune(metrics);
	}
	count_all(metrics, kept);
	const char *again = label("/old");
	count_all(metrics, again);
	char *text = exposed(&metrics, 1, NULL, 0);
	assert_line(text, "tollgate_request_duration_seconds_count{route=\"/old\"} 1");
	assert_line(text, "tollgate_request_duration_seconds_count{route=\"/kept\"} 2");
	free(text);
	metrics_free(metrics);
	metrics_label_release(again);
	metrics_label_release(kept);
}

static void *reload_all(void *argument)
{
	struct writer *writer = argument;
	char word[32];
	for (int round = 0; round < ROUNDS; round++) {
		snprintf(word, sizeof(word), "/renamed %d", round);
		const char *route = label(word);
		count_all(writer->metrics, route);
		metrics_label_release(route);
		metrics_prune(writer->metrics);
	}
	atomic_fetch_sub(writer->running, 1);
	return NULL;
}

// Whatever reloads name, there are no more series afterwards, nor does it take more memory.
static void thousands_of_names_leave_nothing_behind(void **state)
{
	(void)state;
	atomic_int running = 1;
	pthread_t thread;
	struct metrics *metrics = metrics_new();
	size_t series_before = metrics->series_count;
	struct writer writer = {metrics, NULL, &running};
	char *before = exposed(&metrics, 1, NULL, 0), *text;
	assert_int_equal(pthread_create(&thread, NULL, reload_all, &writer), 0);
	while (atomic_load(&running)) {
		text = exposed(&metrics, 1, NULL, 0);
		assert_well_formed(text);
		assert_true(strlen(text) < strlen(before) + 4096);
		free(text);
	}
	pthread_join(thread, NULL);
	text = exposed(&metrics, 1, NULL, 0);
	assert_null(strstr(text, "/renamed"));
	assert_int_equal(metrics->series_count, series_before + 1);  // of the listener
	assert_true(metrics->index_size <= 64);
	free(text);
	free(before);
	metrics_free(metrics);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(equal_words_are_one_pointer_on_every_thread),
	        cmocka_unit_test(a_reader_sees_only_whole_series_that_never_shrink),
	        cmocka_unit_test(what_is_no_longer_named_is_not_told_and_begins_anew),
	        cmocka_unit_test(thousands_of_names_leave_nothing_behind),
	};
	return cmocka_run_group_tests_name(
	        "metrics threads", tests, compile_patterns, free_patterns);
}
