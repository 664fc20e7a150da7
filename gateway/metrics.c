#include "gateway/metrics.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "gateway/metrics_series.h"

enum {
	WORD_CHAINS = 256,
	SMALLEST_INDEX = 64,
	HTTP_STATUS_MIN = 100,
	HTTP_STATUS_MAX = 599,
	GRPC_STATUS_MAX = 16
};

#define LABELS(...)                                                                                \
	{                                                                                          \
		__VA_ARGS__                                                                        \
	}
const struct metric_row metric_rows[METRIC_COUNT] = {
#define METRIC(name, type, labels, help)                                                           \
	[METRIC_##name] = {"tollgate_" #name, METRIC_TYPE_##type, help, labels},
#include "base/metric.def"
#undef METRIC
};

const struct metric_bucket metric_buckets[METRIC_BUCKETS] = {
        {NS_PER_MS / 2, "0.0005"},
        {NS_PER_MS, "0.001"},
        {NS_PER_MS * 5 / 2, "0.0025"},
        {NS_PER_MS * 5, "0.005"},
        {NS_PER_MS * 10, "0.01"},
        {NS_PER_MS * 25, "0.025"},
        {NS_PER_MS * 50, "0.05"},
        {NS_PER_MS * 100, "0.1"},
        {NS_PER_MS * 250, "0.25"},
        {NS_PER_MS * 500, "0.5"},
        {NS_PER_S, "1"},
        {(int64_t)NS_PER_S * 5 / 2, "2.5"},
        {(int64_t)NS_PER_S * 5, "5"},
        {(int64_t)NS_PER_S * 10, "10"},
};

// Statuses as label words. They come from backends too, so whatever is none must not make a series
// of its own.
static char status_words[HTTP_STATUS_MAX + 1][sizeof("599")];
static pthread_once_t status_words_once = PTHREAD_ONCE_INIT;

static void make_status_words(void)
{
	for (size_t i = 0; i < ARRAY_LEN(status_words); i++)
		snprintf(status_words[i], sizeof(status_words[i]), "%u", (unsigned)(i % 1000));
}

static const char *http_word(int status)
{
	if (status == 0)
		return "none";
	return status >= HTTP_STATUS_MIN && status <= HTTP_STATUS_MAX ? status_words[status]
	                                                              : "other";
}

static const char *grpc_word(int status)
{
	return status >= 0 && status <= GRPC_STATUS_MAX ? status_words[status] : "other";
}

struct word {
	struct word *next;
	char text[];
};

static struct word *words[WORD_CHAINS];

// At the end of the process, so that whatever is left then is a leak.
__attribute__((destructor)) static void forget_words(void)
{
	for (size_t i = 0; i < WORD_CHAINS; i++)
		while (words[i]) {
			struct word *word = words[i];
			words[i] = word->next;
			free(word);
		}
}

const char *metrics_label(struct str text)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	struct word **chain = &words[str_hash(text, 0) % WORD_CHAINS], *word;
	pthread_mutex_lock(&lock);
	for (word = *chain; word; word = word->next)
		if (str_eq(str_from(word->text), text))
			break;
	if (!word) {
		word = must_alloc(sizeof(*word) + text.len + 1);
		if (text.len)
			memcpy(word->text, text.at, text.len);
		word->next = *chain;
		*chain = word;
	}
	pthread_mutex_unlock(&lock);
	return word->text;
}

struct metrics *metrics_new(void)
{
	pthread_once(&status_words_once, make_status_words);
	struct metrics *metrics = must_alloc(sizeof(*metrics));
	metrics->index_size = SMALLEST_INDEX;
	metrics->index = must_alloc(metrics->index_size * sizeof(*metrics->index));
	return metrics;
}

void metrics_free(struct metrics *metrics)
{
	if (!metrics)
		return;
	struct series *series = atomic_load_explicit(&metrics->newest, memory_order_acquire);
	while (series) {
		struct series *next = series->next;
		free(series);
		series = next;
	}
	free(metrics->index);
	free(metrics);
}

struct key {
	enum metric metric;
	const char *labels[METRIC_LABELS_MAX];
};

// The words are interned or constants, so their addresses tell them apart. Two addresses of one
// text cost a second series, which the exposition adds to the first.
static size_t slot_of(const struct metrics *metrics, enum metric metric, const char *const *labels)
{
	const uint64_t odd =
	        0x9e3779b97f4a7c15;  // 2^64 over the golden ratio: spreads low bits upwards
	uint64_t hash = (uint64_t)metric + 1;
	for (size_t i = 0; i < METRIC_LABELS_MAX; i++) {
		hash = (hash ^ (uintptr_t)labels[i]) * odd;
		hash ^= hash >> 32;
	}
	return hash & (metrics->index_size - 1);
}

static bool is_series(const struct series *series, const struct key *key)
{
	return series->metric == key->metric &&
	       memcmp(series->labels, key->labels, sizeof(series->labels)) == 0;
}

static void index_series(struct metrics *metrics, struct series *series)
{
	size_t slot = slot_of(metrics, series->metric, series->labels);
	while (metrics->index[slot])
		slot = (slot + 1) & (metrics->index_size - 1);
	metrics->index[slot] = series;
}

static void grow_index(struct metrics *metrics)
{
	free(metrics->index);
	metrics->index_size *= 2;
	metrics->index = must_alloc(metrics->index_size * sizeof(*metrics->index));
	struct series *series = atomic_load_explicit(&metrics->newest, memory_order_relaxed);
	for (; series; series = series->next)
		index_series(metrics, series);
}

static struct series *make_series(struct metrics *metrics, const struct key *key)
{
	size_t values = metric_value_count(key->metric) * sizeof(_Atomic uint64_t);
	struct series *series = must_alloc(sizeof(*series) + values);
	series->metric = key->metric;
	memcpy(series->labels, key->labels, sizeof(series->labels));
	series->next = atomic_load_explicit(&metrics->newest, memory_order_relaxed);
	atomic_store_explicit(&metrics->newest, series, memory_order_release);
	if (++metrics->series_count * 2 > metrics->index_size)
		grow_index(metrics);
	else
		index_series(metrics, series);
	return series;
}

static struct series *series_of(struct metrics *metrics, const struct key *key)
{
	size_t slot = slot_of(metrics, key->metric, key->labels);
	for (struct series *series; (series = metrics->index[slot]);) {
		if (is_series(series, key))
			return series;
		slot = (slot + 1) & (metrics->index_size - 1);
	}
	return make_series(metrics, key);
}

// One writer: a load and a store are enough, and ten times cheaper than a locked addition.
static void add(_Atomic uint64_t *value, uint64_t amount)
{
	uint64_t old = atomic_load_explicit(value, memory_order_relaxed);
	atomic_store_explicit(value, old + amount, memory_order_relaxed);
}

static void count(struct metrics *metrics, const struct key *key)
{
	add(series_of(metrics, key)->values, 1);
}

static void observe(struct metrics *metrics, const struct key *key, int64_t duration_ns)
{
	struct series *series = series_of(metrics, key);
	size_t bucket = 0;
	if (duration_ns < 0)
		duration_ns = 0;
	while (bucket < METRIC_BUCKETS && duration_ns > metric_buckets[bucket].upper_ns)
		bucket++;
	add(&series->values[bucket], 1);
	add(&series->sum_ns, (uint64_t)duration_ns);
}

void metrics_request(struct metrics *metrics, const char *listener, const char *route,
        enum metrics_protocol protocol, int code, int64_t duration_ns)
{
	static const char *const protocols[] = {
	        [METRICS_HTTP1] = "http1", [METRICS_HTTP2] = "http2", [METRICS_GRPC] = "grpc"};
	const char *code_word = protocol == METRICS_GRPC ? grpc_word(code) : http_word(code);
	count(metrics, &(struct key){METRIC_requests_total,
	                       {listener, route, protocols[protocol], code_word}});
	observe(metrics, &(struct key){METRIC_request_duration_seconds, {route}}, duration_ns);
}

void metrics_rejection(struct metrics *metrics, const char *listener, enum reason reason)
{
	count(metrics, &(struct key){METRIC_rejections_total, {listener, reason_name(reason)}});
}

void metrics_limit_decision(
        struct metrics *metrics, const char *route, const char *limit, bool allowed)
{
	const char *decision = allowed ? "allowed" : "refused";
	count(metrics, &(struct key){METRIC_rate_limit_decisions_total, {route, limit, decision}});
}

void metrics_handshake(struct metrics *metrics, const char *listener, const char *result)
{
	count(metrics, &(struct key){METRIC_tls_handshakes_total, {listener, result}});
}

void metrics_connections(struct metrics *metrics, const char *listener, int change)
{
	const struct key key = {METRIC_connections_active, {listener}};
	add(series_of(metrics, &key)->values, (uint64_t)(int64_t)change);
}

void metrics_upstream_connections(
        struct metrics *metrics, const char *backend, const char *endpoint, int change)
{
	const struct key key = {METRIC_upstream_connections_active, {backend, endpoint}};
	add(series_of(metrics, &key)->values, (uint64_t)(int64_t)change);
}

void metrics_turn(struct metrics *metrics, int64_t duration_ns)
{
	observe(metrics, &(struct key){METRIC_loop_turn_duration_seconds, {NULL}}, duration_ns);
}

void metrics_upstream(struct metrics *metrics, const char *backend, const char *endpoint, int code,
        const char *failure, int64_t duration_ns)
{
	const char *code_word = code ? http_word(code) : failure ? failure : "other";
	count(metrics,
	        &(struct key){METRIC_upstream_requests_total, {backend, endpoint, code_word}});
	observe(metrics, &(struct key){METRIC_upstream_duration_seconds, {backend}}, duration_ns);
}
