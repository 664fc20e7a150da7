#include "gateway/span.h"

#include "base/clock.h"
#include "base/digits.h"
#include "gateway/http/grpc.h"
#include "gateway/otlp.h"

// One span while it is written: where, and what both kinds need.
struct span {
	struct buffer *out;
	const struct exchange *exchange;
	const struct outcome *outcome;
	int64_t wall_ns;  // what to add to a monotonic time
	size_t opened;
};

static void add_text(struct span *span, const char *key, struct str value)
{
	otlp_text(span->out, OTLP_SPAN_ATTRIBUTES, key, value);
}

static void add_int(struct span *span, const char *key, int64_t value)
{
	otlp_int(span->out, OTLP_SPAN_ATTRIBUTES, key, value);
}

static uint64_t wall(const struct span *span, int64_t monotonic_ns)
{
	return (uint64_t)(span->wall_ns + monotonic_ns);
}

// The conventions know these; any other word of a caller would be a name of its own.
static bool method_known(struct str method)
{
	static const char *const known[] = {
	        "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE"};
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (str_eq(method, str_from(known[i])))
			return true;
	return false;
}

static struct str without_query(struct str target)
{
	const char *query = str_find_byte(target, '?');
	return query ? str_of(target.at, (size_t)(query - target.at)) : target;
}

// `package.Service/Method` of a gRPC call.
static struct str rpc_of(const struct exchange *exchange)
{
	struct str path = without_query(exchange->client->head.target);
	return path.len && path.at[0] == '/' ? str_skip(path, 1) : path;
}

// `GET /api/*` or `package.Service/Method`; without a route only what cannot be made up.
static void write_name(struct span *span, bool server)
{
	const struct exchange *exchange = span->exchange;
	struct str method = exchange->client->head.method, route = span->outcome->route;
	char name[OTLP_TEXT_BYTES_MAX];
	size_t len = 0;
	if (exchange->grpc && route.len) {
		proto_text(span->out, OTLP_SPAN_NAME, rpc_of(exchange), OTLP_TEXT_BYTES_MAX);
		return;
	}
	struct str parts[] = {method_known(method) ? method : STR("HTTP"),
	        server && route.len ? STR(" ") : STR(""), server ? route : STR("")};
	for (size_t i = 0; i < ARRAY_LEN(parts) && len + parts[i].len <= sizeof(name); i++) {
		if (parts[i].len)
			memcpy(name + len, parts[i].at, parts[i].len);
		len += parts[i].len;
	}
	proto_text(span->out, OTLP_SPAN_NAME, str_of(name, len), OTLP_TEXT_BYTES_MAX);
}

static void open_span(struct span *span, struct str id, struct str parent, bool remote)
{
	const struct exchange *exchange = span->exchange;
	uint32_t flags = exchange->trace_flags | OTLP_FLAGS_REMOTE_KNOWN;
	span->opened = proto_open(span->out, OTLP_SPAN);
	otlp_id(span->out, OTLP_SPAN_TRACE_ID, exchange->trace_id);
	otlp_id(span->out, OTLP_SPAN_ID, id);
	if (exchange->trace_state.len)
		proto_text(span->out, OTLP_SPAN_TRACE_STATE, exchange->trace_state,
		        OTLP_TEXT_BYTES_MAX);
	if (parent.len)
		otlp_id(span->out, OTLP_SPAN_PARENT_ID, parent);
	proto_fixed32(span->out, OTLP_SPAN_FLAGS, flags | (remote ? OTLP_FLAGS_REMOTE : 0));
}

static void write_times(struct span *span, enum otlp_kind kind, int64_t start_ns, int64_t end_ns)
{
	proto_uint(span->out, OTLP_SPAN_KIND, kind);
	proto_fixed64(span->out, OTLP_SPAN_START, wall(span, start_ns));
	proto_fixed64(span->out, OTLP_SPAN_END, wall(span, end_ns));
}

// `error.type`: the word for it, or the status that says it.
static void close_span(struct span *span, bool failed, struct str word, int status)
{
	char digits[DIGITS_MAX];
	if (failed) {
		if (!word.len)
			word = str_of(digits, digits_decimal(digits, (uint64_t)status));
		add_text(span, "error.type", word);
		size_t message = proto_open(span->out, OTLP_SPAN_STATUS);
		proto_uint(span->out, OTLP_STATUS_CODE, OTLP_STATUS_ERROR);
		proto_close(span->out, message);
	}
	proto_close(span->out, span->opened);
}

static void add_method(struct span *span)
{
	struct str method = span->exchange->client->head.method;
	bool known = method_known(method);
	add_text(span, "http.request.method", known ? method : STR("_OTHER"));
	if (!known)
		add_text(span, "http.request.method_original", method);
}

static void add_rpc(struct span *span, int status)
{
	if (!span->exchange->grpc)
		return;
	struct str rpc = rpc_of(span->exchange);
	const char *slash = str_find_byte(rpc, '/');
	size_t service = slash ? (size_t)(slash - rpc.at) : rpc.len;
	add_text(span, "rpc.system", STR("grpc"));
	add_text(span, "rpc.service", str_of(rpc.at, service));
	if (slash)
		add_text(span, "rpc.method", str_skip(rpc, service + 1));
	if (status >= 0)
		add_int(span, "rpc.grpc.status_code", status);
}

// `host:port`, `[address]:port` or `unix:/path`.
static void add_server(struct span *span, struct str text)
{
	const char *colon = text.len ? memrchr(text.at, ':', text.len) : NULL;
	uint64_t port;
	if (str_starts(text, STR("unix:"))) {
		add_text(span, "server.address", str_skip(text, strlen("unix:")));
		add_text(span, "network.transport", STR("unix"));
		return;
	}
	struct str host = text;
	bool ported = colon &&
	              str_to_u64(str_skip(text, (size_t)(colon + 1 - text.at)), UINT16_MAX, &port);
	if (ported)
		host.len = (size_t)(colon - text.at);
	if (host.len > 2 && host.at[0] == '[' && host.at[host.len - 1] == ']')
		host = str_of(host.at + 1, host.len - 2);
	add_text(span, "server.address", host);
	if (ported)
		add_int(span, "server.port", (int64_t)port);
}

// The conventions call these of gRPC's codes the server's fault.
static bool server_fault(int grpc_status)
{
	enum { DATA_LOSS = 15 };
	switch (grpc_status) {
	case GRPC_UNKNOWN:
	case GRPC_DEADLINE_EXCEEDED:
	case GRPC_UNIMPLEMENTED:
	case GRPC_INTERNAL:
	case GRPC_UNAVAILABLE:
	case DATA_LOSS:
		return true;
	default:
		return false;
	}
}

static void add_request(struct span *span)
{
	const struct exchange *exchange = span->exchange;
	const struct downstream *downstream = exchange->downstream;
	const struct head *head = &exchange->client->head;
	add_method(span);
	add_text(span, "url.scheme", STR("https"));
	add_text(span, "url.path", without_query(head->target));
	add_server(span, head->authority);
	add_text(span, "client.address", str_from(downstream->source_ip));
	add_text(span, "network.protocol.name", STR("http"));
	add_text(span, "network.protocol.version", downstream->codec->h2 ? STR("2") : STR("1.1"));
	add_text(span, "user_agent.original", fields_get(&head->fields, STR("user-agent")));
	add_text(span, "tollgate.listener", downstream_config(downstream)->name.text);
	add_text(span, "tollgate.principal", downstream->identity.id.text);
	add_text(span, "tollgate.request_id", exchange->request_id);
}

static void write_server(struct span *span)
{
	const struct exchange *exchange = span->exchange;
	const struct outcome *outcome = span->outcome;
	bool failed = exchange->backend_failed || exchange->status >= 500 ||
	              (exchange->grpc && server_fault(exchange->grpc_status));
	open_span(span, exchange->span_id, exchange->parent_id, exchange->parent_id.len);
	write_name(span, true);
	write_times(span, OTLP_SERVER, exchange->time.start_ns, outcome->now_ns);
	add_request(span);
	add_text(span, "http.route", outcome->route);
	if (exchange->status)
		add_int(span, "http.response.status_code", exchange->status);
	add_rpc(span, exchange->grpc_status);
	add_text(span, "tollgate.refusal_reason", outcome->reason);
	add_text(span, "tollgate.cause", str_from(exchange->cause));
	add_text(span, "tollgate.response_flags", str_from(outcome->flags));
	bool told = exchange->grpc && exchange->grpc_status >= 0;
	close_span(span, failed, outcome->reason.len ? outcome->reason : str_from(exchange->cause),
	        told ? exchange->grpc_status : exchange->status);
}

static void write_retries(struct span *span)
{
	const struct exchange *exchange = span->exchange;
	for (unsigned i = 0; i + 1 < exchange->attempts; i++) {
		size_t event = proto_open(span->out, OTLP_SPAN_EVENTS);
		proto_fixed64(span->out, OTLP_EVENT_TIME, wall(span, exchange->retries[i].at_ns));
		proto_bytes(span->out, OTLP_EVENT_NAME, STR("retry"));
		otlp_text(span->out, OTLP_EVENT_ATTRIBUTES, "tollgate.cause",
		        str_from(exchange->retries[i].cause));
		proto_close(span->out, event);
	}
}

static void write_client(struct span *span)
{
	const struct exchange *exchange = span->exchange;
	const struct outcome *outcome = span->outcome;
	bool h2 = exchange_backend(exchange)->protocol == PROTOCOL_H2;
	bool told = exchange->backend_status && !exchange->backend_failed;
	bool failed = exchange->backend_failed || exchange->backend_status >= 400 ||
	              (told && exchange->grpc && exchange->grpc_status > 0);
	open_span(span, exchange->call_id, exchange->span_id, false);
	write_name(span, false);
	write_times(span, OTLP_CLIENT, exchange->time.forwarded_ns,
	        exchange->time.done_ns ? exchange->time.done_ns : outcome->now_ns);
	add_method(span);
	add_server(span, str_from(exchange->endpoint));
	add_text(span, "url.scheme", exchange->request.scheme);
	add_text(span, "url.path", exchange->path.path);
	add_text(span, "network.protocol.name", STR("http"));
	add_text(span, "network.protocol.version", h2 ? STR("2") : STR("1.1"));
	if (exchange->backend_status)
		add_int(span, "http.response.status_code", exchange->backend_status);
	add_rpc(span, told ? exchange->grpc_status : -1);
	add_text(span, "tollgate.backend", outcome->backend);
	if (outcome->retries > 0)
		add_int(span, "http.request.resend_count", outcome->retries);
	write_retries(span);
	close_span(span, failed, exchange->backend_failed ? str_from(exchange->cause) : STR(""),
	        exchange->backend_status >= 400 ? exchange->backend_status : exchange->grpc_status);
}

void span_write(const struct exchange *exchange, const struct outcome *outcome)
{
	struct trace_lane *lane = exchange->downstream->worker->spans;
	struct span span = {.out = &lane->scratch,
	        .exchange = exchange,
	        .outcome = outcome,
	        .wall_ns = clock_wall_ns() - outcome->now_ns};
	buffer_clear(span.out);
	write_server(&span);
	if (exchange->endpoint)
		write_client(&span);
	trace_lane_put(lane, exchange->endpoint ? 2 : 1);
}
