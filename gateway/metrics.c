#include "gateway/metrics.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "gateway/metrics_series.h"

enum { SMALLEST_INDEX = 64, HTTP_STATUS_MIN = 100, HTTP_STATUS_MAX = 599, GRPC_STATUS_MAX = 16 };

const struct metric_bucket metric_buckets[METRIC_BUCKETS] = {
#define BUCKET(upper_ns, upper_s) {INT64_C(upper_ns), upper_s},
#include "base/metric_bucket.def"
#undef BUCKET
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
	for (size_t i = 0; i < METRIC_LABELS_MAX; i++)
		series->words[i] = metrics_word_take(key->labels[i]);
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

static void make_network_series(struct metrics *metrics)
{
	static const char *const sides[] = {
	        [METRICS_CLIENT] = "client", [METRICS_BACKEND] = "backend"};
	static const char *const directions[] = {[METRICS_IN] = "in", [METRICS_OUT] = "out"};
	for (size_t i = 0; i < METRICS_SIDES; i++)
		for (size_t k = 0; k < METRICS_DIRECTIONS; k++)
			metrics->network[i][k] = series_of(
			        metrics, &(struct key){METRIC_network_bytes_total,
			                         {sides[i], directions[k]}});
}

struct metrics *metrics_new(void)
{
	pthread_once(&status_words_once, make_status_words);
	struct metrics *metrics = must_alloc(sizeof(*metrics));
	CHECK(pthread_mutex_init(&metrics->lock, NULL) == 0);
	metrics->index_size = SMALLEST_INDEX;
	metrics->index = must_alloc(metrics->index_size * sizeof(*metrics->index));
	make_network_series(metrics);
	metrics->requests_active = series_of(
	        metrics, &(struct key){METRIC_requests_active, {NULL}});
	metrics->turns = series_of(
	        metrics, &(struct key){METRIC_loop_turn_duration_seconds, {NULL}});
	return metrics;
}

static void free_series(struct series *series)
{
	for (size_t i = 0; i < METRIC_LABELS_MAX; i++)
		metrics_word_drop(series->words[i]);
	free(series);
}

void metrics_free(struct metrics *metrics)
{
	if (!metrics)
		return;
	struct series *series = atomic_load_explicit(&metrics->newest, memory_order_acquire);
	while (series) {
		struct series *next = series->next;
		free_series(series);
		series = next;
	}
	pthread_mutex_destroy(&metrics->lock);
	free(metrics->index);
	free(metrics);
}

// Takes what is not told any more out of a list and returns it.
static struct series *take_out(struct metrics *metrics)
{
	struct series *dead = NULL, *kept = NULL, **end = &kept;
	struct series *series = atomic_load_explicit(&metrics->newest, memory_order_relaxed);
	for (struct series *next; series; series = next) {
		next = series->next;
		if (series_is_told(series)) {
			*end = series;
			end = &series->next;
			continue;
		}
		series->next = dead;
		dead = series;
		metrics->series_count--;
	}
	*end = NULL;
	atomic_store_explicit(&metrics->newest, kept, memory_order_release);
	return dead;
}

void metrics_prune(struct metrics *metrics)
{
	pthread_mutex_lock(&metrics->lock);
	struct series *dead = take_out(metrics);
	pthread_mutex_unlock(&metrics->lock);
	if (!dead)
		return;
	memset(metrics->index, 0, metrics->index_size * sizeof(*metrics->index));
	struct series *series = atomic_load_explicit(&metrics->newest, memory_order_relaxed);
	for (; series; series = series->next)
		index_series(metrics, series);
	for (struct series *next; dead; dead = next) {
		next = dead->next;
		free_series(dead);
	}
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

static void observe_in(struct series *series, int64_t duration_ns)
{
	size_t bucket = 0;
	if (duration_ns < 0)
		duration_ns = 0;
	while (bucket < METRIC_BUCKETS && duration_ns > metric_buckets[bucket].upper_ns)
		bucket++;
	add(&series->values[bucket], 1);
	add(&series->sum_ns, (uint64_t)duration_ns);
}

static void observe(struct metrics *metrics, const struct key *key, int64_t duration_ns)
{
	observe_in(series_of(metrics, key), duration_ns);
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

void metrics_limit_decision(struct metrics *metrics, const char *route, const char *limit,
        enum metrics_decision decision)
{
	static const char *const words[] = {"allowed", "refused", "failed", "would_refuse"};
	count(metrics,
	        &(struct key){METRIC_rate_limit_decisions_total, {route, limit, words[decision]}});
}

void metrics_call_limit(
        struct metrics *metrics, const char *route, const char *limit, const char *event)
{
	count(metrics, &(struct key){METRIC_call_limit_events_total, {route, limit, event}});
}

void metrics_flow(struct metrics *metrics, const char *route, const char *limit, const char *event)
{
	count(metrics, &(struct key){METRIC_flow_limit_events_total, {route, limit, event}});
}

void metrics_limit_store(struct metrics *metrics, const char *result)
{
	count(metrics, &(struct key){METRIC_limit_store_answers_total, {result}});
}

void metrics_limit_store_duration(struct metrics *metrics, int64_t duration_ns)
{
	observe(metrics, &(struct key){METRIC_limit_store_duration_seconds, {NULL}}, duration_ns);
}

void metrics_limit_store_connections(struct metrics *metrics, int change)
{
	const struct key key = {METRIC_limit_store_connections_active, {NULL}};
	add(series_of(metrics, &key)->values, (uint64_t)(int64_t)change);
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

void metrics_requests_active(struct metrics *metrics, int change)
{
	add(metrics->requests_active->values, (uint64_t)(int64_t)change);
}

void metrics_upstream_connections(
        struct metrics *metrics, const char *backend, const char *endpoint, int change)
{
	const struct key key = {METRIC_upstream_connections_active, {backend, endpoint}};
	add(series_of(metrics, &key)->values, (uint64_t)(int64_t)change);
}

void metrics_mirrored(struct metrics *metrics, const char *backend, const char *result)
{
	count(metrics, &(struct key){METRIC_mirrored_requests_total, {backend, result}});
}

void metrics_endpoint_healthy(
        struct metrics *metrics, const char *backend, const char *endpoint, int change)
{
	const struct key key = {METRIC_upstream_endpoint_healthy, {backend, endpoint}};
	add(series_of(metrics, &key)->values, (uint64_t)(int64_t)change);
}

void metrics_upstream_handshake(
        struct metrics *metrics, const char *backend, const char *endpoint, const char *result)
{
	count(metrics,
	        &(struct key){METRIC_upstream_tls_handshakes_total, {backend, endpoint, result}});
}

void metrics_retry(
        struct metrics *metrics, const char *backend, const char *endpoint, const char *cause)
{
	count(metrics, &(struct key){METRIC_upstream_retries_total, {backend, endpoint, cause}});
}

void metrics_ejection(struct metrics *metrics, const char *backend, const char *endpoint)
{
	count(metrics, &(struct key){METRIC_upstream_ejections_total, {backend, endpoint}});
}

void metrics_health_check(
        struct metrics *metrics, const char *backend, const char *endpoint, bool good)
{
	count(metrics, &(struct key){METRIC_upstream_health_checks_total,
	                       {backend, endpoint, good ? "success" : "failure"}});
}

void metrics_concurrency_limit(struct metrics *metrics, const char *backend, uint64_t limit)
{
	const struct key key = {METRIC_upstream_concurrency_limit, {backend}};
	atomic_store_explicit(series_of(metrics, &key)->values, limit, memory_order_relaxed);
}

void metrics_concurrency_active(struct metrics *metrics, const char *backend, int change)
{
	const struct key key = {METRIC_upstream_concurrency_active, {backend}};
	add(series_of(metrics, &key)->values, (uint64_t)(int64_t)change);
}

void metrics_shed(
        struct metrics *metrics, const char *backend, enum config_priority priority, uint64_t calls)
{
	static const char *const words[CONFIG_PRIORITIES] = {"low", "normal", "high"};
	const struct key key = {METRIC_upstream_shed_total, {backend, words[priority]}};
	add(series_of(metrics, &key)->values, calls);
}

void metrics_pending_calls(struct metrics *metrics, const char *backend, int change)
{
	const struct key key = {METRIC_upstream_pending_calls, {backend}};
	add(series_of(metrics, &key)->values, (uint64_t)(int64_t)change);
}

void metrics_pending(
        struct metrics *metrics, const char *backend, const char *outcome, uint64_t calls)
{
	const struct key key = {METRIC_upstream_pending_total, {backend, outcome}};
	add(series_of(metrics, &key)->values, calls);
}

void metrics_network(struct metrics *metrics, enum metrics_side side, uint64_t in, uint64_t out)
{
	struct series **series = metrics->network[side];
	atomic_store_explicit(series[METRICS_IN]->values, in, memory_order_relaxed);
	atomic_store_explicit(series[METRICS_OUT]->values, out, memory_order_relaxed);
}

void metrics_turn(struct metrics *metrics, int64_t duration_ns)
{
	observe_in(metrics->turns, duration_ns);
}

void metrics_upstream(struct metrics *metrics, const char *backend, const char *endpoint, int code,
        const char *failure, int64_t duration_ns)
{
	const char *code_word = code ? http_word(code) : failure ? failure : "other";
	count(metrics,
	        &(struct key){METRIC_upstream_requests_total, {backend, endpoint, code_word}});
	observe(metrics, &(struct key){METRIC_upstream_duration_seconds, {backend}}, duration_ns);
}
