#include "gateway/record.h"

#include "base/clock.h"
#include "base/json.h"

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
	metrics_request(worker->metrics, snapshot->listeners[exchange->listener].label, route_label(exchange),
	        protocol, code, now_ns - exchange->time.start_ns);
	if (!exchange->endpoint)
		return;
	metrics_upstream(worker->metrics,
	        snapshot->backends[exchange->decision.route->backend].label, exchange->endpoint,
	        exchange->backend_failed ? 0 : exchange->backend_status, exchange->cause,
	        (exchange->time.answered_ns ? exchange->time.answered_ns : now_ns) -
	                exchange->time.forwarded_ns);
}

static void json_ms(struct json *json, const char *key, int64_t ns)
{
	json_key(json, key);
	json->comma = true;
	buffer_printf(json->out, "%lld.%03lld", (long long)(ns / NS_PER_MS),
	        (long long)(ns % NS_PER_MS / NS_PER_US));
}

static void write_result(struct exchange *exchange, struct json *json, int64_t now_ns)
{
	json_member_int(json, "status", exchange->status);
	if (exchange->grpc_status >= 0)
		json_member_int(json, "grpc_status", exchange->grpc_status);
	if (exchange->refused)
		json_member_str(json, "reason", str_from(reason_name(exchange->refused)));
	json_member_int(json, "bytes_received", (int64_t)exchange->up.total_in);
	json_member_int(json, "bytes_sent", (int64_t)exchange->down.total_taken);
	json_ms(json, "duration_ms", now_ns - exchange->time.start_ns);
	if (!exchange->endpoint)
		return;
	json_member_str(json, "backend", exchange->decision.route->backend_name.text);
	json_member_str(json, "endpoint", str_from(exchange->endpoint));
	if (exchange->backend_status)
		json_member_int(json, "backend_status", exchange->backend_status);
	if (exchange->time.answered_ns)
		json_ms(json, "backend_ms",
		        exchange->time.answered_ns - exchange->time.forwarded_ns);
	json_member_str_if(json, "cause", str_from(exchange->cause));
}

static void write_line(struct exchange *exchange, int64_t now_ns)
{
	struct downstream *downstream = exchange->downstream;
	const struct head *head = &exchange->client->head;
	char when[CLOCK_TEXT_SIZE];
	struct buffer line = {0};
	struct json json;
	clock_text(clock_wall_ns() - (now_ns - exchange->time.start_ns), when);
	json_init(&json, &line);
	json_open(&json, '{');
	json_member_str(&json, "timestamp", str_from(when));
	json_member_str(&json, "request_id", exchange->request_id);
	json_member_str_if(&json, "trace_id", exchange->trace_id);
	json_member_str(&json, "listener", downstream_config(downstream)->name.text);
	json_member_str_if(&json, "policy_name", exchange->decision.policy_name);
	json_member_str_if(&json, "principal", downstream->identity.id.text);
	json_member_str(&json, "client", str_from(downstream->address));
	json_member_str(&json, "protocol", downstream->codec->h2 ? STR("h2") : STR("http/1.1"));
	json_member_str(&json, "method", head->method);
	json_member_str(&json, "host", head->authority);
	json_member_str(&json, "path", head->target);
	write_result(exchange, &json, now_ns);
	json_close(&json, '}');
	audit_submit_access(downstream->worker->lane, buffer_str(&line));
	buffer_fini(&line);
}

void record_exchange(struct exchange *exchange)
{
	int64_t now_ns = clock_monotonic_ns();
	count(exchange, now_ns);
	if (exchange->snapshot->config->access_log.kind != OUTPUT_OFF)
		write_line(exchange, now_ns);
}
