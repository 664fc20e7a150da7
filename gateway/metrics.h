// Counting, without locks: each worker counts into its own `metrics`, and whoever scrapes adds them
// up. Every series is made on first use; labels are interned words of the configuration, never the
// caller's, so there are no more of them than a configuration has names. A worker's `metrics` is
// written by its thread only and read by any (relaxed atomics). No gaps, no resets: a reload keeps
// what it names, and what no configuration in use names any more is neither told nor kept. Buckets
// of every histogram: base/metric_bucket.def.
#ifndef GATEWAY_METRICS_H
#define GATEWAY_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/reason.h"
#include "base/str.h"
#include "conf/config_route.h"

struct metrics;

// A label word (without a NUL) that lives until it is released as often as it was asked for; equal
// words give the same pointer. Any thread; called when configurations are loaded and freed.
const char *metrics_label(struct str word);
void metrics_label_release(const char *label);  // may be NULL

MUST_USE struct metrics *metrics_new(void);
void metrics_free(struct metrics *metrics);
// Forgets what no configuration in use names any more. The worker's thread, when it has let go of
// one.
void metrics_prune(struct metrics *metrics);

enum metrics_protocol { METRICS_HTTP1, METRICS_HTTP2, METRICS_GRPC };

// `listener`, `route`, `backend`, `endpoint`, `limit` are interned, `result` and `failure`
// constants. `code`: the HTTP status (0: the client left without one), for gRPC the gRPC status.
// What is no status is counted as `other`.
void metrics_request(struct metrics *metrics, const char *listener, const char *route,
        enum metrics_protocol protocol, int code, int64_t duration_ns);
void metrics_rejection(struct metrics *metrics, const char *listener, enum reason reason);
enum metrics_decision { METRICS_ALLOWED, METRICS_REFUSED, METRICS_FAILED, METRICS_WOULD_REFUSE };
void metrics_limit_decision(struct metrics *metrics, const char *route, const char *limit,
        enum metrics_decision decision);
// `event`: "refused" or "would_refuse".
void metrics_call_limit(
        struct metrics *metrics, const char *route, const char *limit, const char *event);
// `event`: "paused" or "refused", "would_pause" or "would_refuse".
void metrics_flow(struct metrics *metrics, const char *route, const char *limit, const char *event);
// `result`: a constant.
void metrics_limit_store(struct metrics *metrics, const char *result);
void metrics_limit_store_duration(struct metrics *metrics, int64_t duration_ns);
void metrics_limit_store_connections(struct metrics *metrics, int change);
void metrics_handshake(struct metrics *metrics, const char *listener,
        const char *result);  // "ok" or a reason's name
void metrics_connections(struct metrics *metrics, const char *listener, int change);  // +1 or -1
void metrics_requests_active(struct metrics *metrics, int change);                    // likewise
void metrics_upstream_connections(struct metrics *metrics, const char *backend,
        const char *endpoint, int change);  // +1 or -1
// `result`: "answered", "failed" or "dropped".
void metrics_mirrored(struct metrics *metrics, const char *backend, const char *result);
void metrics_endpoint_healthy(struct metrics *metrics, const char *backend, const char *endpoint,
        int change);  // likewise
void metrics_upstream_handshake(struct metrics *metrics, const char *backend, const char *endpoint,
        const char *result);  // likewise
// `cause`: a constant.
void metrics_retry(
        struct metrics *metrics, const char *backend, const char *endpoint, const char *cause);
void metrics_ejection(struct metrics *metrics, const char *backend, const char *endpoint);
void metrics_health_check(
        struct metrics *metrics, const char *backend, const char *endpoint, bool good);
void metrics_concurrency_limit(struct metrics *metrics, const char *backend, uint64_t limit);
void metrics_concurrency_active(struct metrics *metrics, const char *backend, int change);
void metrics_shed(struct metrics *metrics, const char *backend, enum config_priority priority,
        uint64_t calls);
void metrics_pending_calls(struct metrics *metrics, const char *backend, int change);
void metrics_pending(
        struct metrics *metrics, const char *backend, const char *outcome, uint64_t calls);
void metrics_turn(struct metrics *metrics, int64_t duration_ns);
enum metrics_side { METRICS_CLIENT, METRICS_BACKEND, METRICS_SIDES };
enum metrics_direction { METRICS_IN, METRICS_OUT, METRICS_DIRECTIONS };
void metrics_network(
        struct metrics *metrics, enum metrics_side side, uint64_t in, uint64_t out);  // all so far
// `code`: the answer's HTTP status, or 0 with `failure` one of the fixed words ("connect_failed",
// "reset", "timeout"...).
void metrics_upstream(struct metrics *metrics, const char *backend, const char *endpoint, int code,
        const char *failure, int64_t duration_ns);

// The Prometheus text (version 0.0.4) of all workers' sums: HELP, TYPE and series of every metric
// of metric.def. What is not counted by workers (certificate expiry, reload success, audit records,
// build info) is given in `gauges`.
struct metrics_gauge {
	const char *name;    // of metric.def, as it is exposed or without `tollgate_`
	const char *labels;  // `{a="b"}` or ""
	double value;
};
void metrics_expose(struct metrics *const workers[], size_t worker_count,
        const struct metrics_gauge *gauges, size_t gauge_count, struct buffer *out);
// For a gauge's labels: what stands between the quotes.
void metrics_append_label_value(struct buffer *out, struct str value);

#endif
