#include "gateway/record.h"

#include "base/clock.h"
#include "gateway/access.h"
#include "gateway/span.h"

static const char *route_label(const struct exchange *exchange)
{
	const struct snapshot_listener *listener =
	        &exchange->snapshot->listeners[exchange->listener];
	return exchange->decision.route ? listener->route_labels[exchange->decision.route_index]
	                                : "none";
}

static void count(struct exchange *exchange, int64_t now_ns)
{
	struct worker *worker = exchange->downstream->worker;
	const struct snapshot *snapshot = exchange->snapshot;
	enum metrics_protocol protocol = exchange->grpc                    ? METRICS_GRPC
	                                 : exchange->downstream->codec->h2 ? METRICS_HTTP2
	                                                                   : METRICS_HTTP1;
	int code = exchange->grpc && exchange->grpc_status >= 0 ? exchange->grpc_status
	                                                        : exchange->status;
	metrics_request(worker->metrics, snapshot->listeners[exchange->listener].label,
	        route_label(exchange), protocol, code, now_ns - exchange->time.start_ns);
	if (!exchange->endpoint)
		return;
	metrics_upstream(worker->metrics, snapshot->backends[exchange->backend_index].label,
	        exchange->endpoint, exchange->backend_failed ? 0 : exchange->backend_status,
	        exchange->cause,
	        (exchange->time.answered_ns ? exchange->time.answered_ns : now_ns) -
	                exchange->time.forwarded_ns);
}

void record_exchange(struct exchange *exchange)
{
	int64_t now_ns = clock_monotonic_ns();
	bool logged = exchange->snapshot->config->access_log.kind != OUTPUT_OFF;
	count(exchange, now_ns);
	if (!logged && !exchange->traced)
		return;
	struct outcome outcome;
	outcome_of(exchange, now_ns, &outcome);
	if (logged)
		access_write(exchange, &outcome);
	if (exchange->traced)
		span_write(exchange, &outcome);
}
