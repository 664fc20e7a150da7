#include "gateway/reject.h"

#include "base/clock.h"
#include "gateway/http/grpc.h"
#include "gateway/quota_fields.h"

static const char *protocol_of(const struct downstream *downstream)
{
	return downstream->codec && downstream->codec->h2 ? "h2" : "http/1.1";
}

static void describe_caller(const struct downstream *downstream, struct audit_record *record)
{
	record->listener = downstream_config(downstream)->name.text;
	// Only a name that the chain vouches for; what was merely claimed stands with the
	// certificate.
	record->principal = downstream->identity.id.text;
	audit_record_caller(record, downstream->address, downstream->link.tls);
	record->client.proxy = str_from(downstream->proxy);
}

static void describe_request(
        const struct downstream *downstream, const struct head *head, struct audit_record *record)
{
	record->request.protocol = str_from(protocol_of(downstream));
	record->request.method = head->method;
	record->request.host = head->authority;
	record->request.path = head->target;
	if (head_is_grpc(head))
		record->rpc_method = head->target;
}

// By its own name, once that is known: how the caller spelt it stands with the request.
static void describe_call(const struct exchange *exchange, struct audit_record *record)
{
	describe_request(exchange->downstream, &exchange->client->head, record);
	if (exchange->decision.rpc_method.len)
		record->rpc_method = exchange->decision.rpc_method;
	record->request.id = exchange->request_id;
	record->request.trace_id = exchange->trace_id;
}

// What of the listener's configuration refused, where no route had a say yet.
static struct str listener_rule(enum reason reason)
{
	if (reason == REASON_identity_not_allowed)
		return STR("match_subject_alt_names");
	if (reason >= REASON_certificate_missing && reason <= REASON_identity_malformed)
		return STR("validation_context");
	return STR("");
}

static struct audit_record new_record(
        const struct downstream *downstream, enum reason reason, struct str detail)
{
	struct audit_record record = {.event = "rejected", .reason = reason, .detail = detail};
	record.answer.grpc_status = -1;
	describe_caller(downstream, &record);
	record.policy_name = record.listener;
	record.matched_rule = listener_rule(reason);
	return record;
}

static void submit(struct downstream *downstream, const struct audit_record *record)
{
	struct worker *worker = downstream->worker;
	audit_submit(worker->lane, record);
	metrics_rejection(worker->metrics,
	        downstream->snapshot->listeners[downstream->listener_index].label, record->reason);
}

// Words of the table and an id that is a token: nothing JSON would escape.
static struct str problem_json(struct exchange *exchange, const struct refusal *refusal, int status)
{
	const struct str parts[] = {
	        STR("{\"status\":"),
	        arena_digits(&exchange->arena, (uint64_t)status),
	        STR(",\"title\":\""),
	        str_from(reason_title(refusal->reason)),
	        STR("\",\"reason\":\""),
	        str_from(reason_name(refusal->reason)),
	        STR("\",\"request_id\":\""),
	        exchange->request_id,
	        STR("\"}\n"),
	};
	return arena_join(&exchange->arena, parts, ARRAY_LEN(parts));
}

static int64_t rounded_up(int64_t value, int64_t unit)
{
	return (value + unit - 1) / unit;
}

static void add_grpc_fields(
        struct exchange *exchange, const struct refusal *refusal, struct fields *fields)
{
	struct arena *arena = &exchange->arena;
	exchange->grpc_status = reason_grpc_status(refusal->reason);
	fields_add(fields, arena, STR("grpc-status"),
	        arena_digits(arena, (uint64_t)exchange->grpc_status));
	fields_add(fields, arena, STR("grpc-message"),
	        grpc_message_encode(str_from(reason_title(refusal->reason)), arena));
	fields_add(fields, arena, STR("x-request-id"), exchange->request_id);
	if (refusal->retry_after_ns)
		fields_add(fields, arena, STR("grpc-retry-pushback-ms"),
		        arena_digits(
		                arena, (uint64_t)rounded_up(refusal->retry_after_ns, NS_PER_MS)));
}

static void answer_grpc(struct exchange *exchange, const struct refusal *refusal)
{
	struct head head;
	head_answer(&head, 200);
	fields_add(&head.fields, &exchange->arena, STR("content-type"), STR("application/grpc"));
	add_grpc_fields(exchange, refusal, &head.fields);
	quota_fields_add(exchange, &head.fields);
	exchange_answer(exchange, &head, STR(""));
}

static void answer_http(struct exchange *exchange, const struct refusal *refusal)
{
	struct arena *arena = &exchange->arena;
	int status = refusal->status ? refusal->status : reason_http_status(refusal->reason);
	int64_t retry_s = rounded_up(refusal->retry_after_ns, NS_PER_S);
	struct head head;
	head_answer(&head, status);
	fields_add(&head.fields, arena, STR("content-type"), STR("application/problem+json"));
	fields_add(&head.fields, arena, STR("x-request-id"), exchange->request_id);
	if (refusal->reason == REASON_overloaded && retry_s == 0)
		retry_s = 1;
	if (retry_s)
		fields_add(&head.fields, arena, STR("retry-after"),
		        arena_digits(arena, (uint64_t)retry_s));
	quota_fields_add(exchange, &head.fields);
	exchange_answer(exchange, &head, problem_json(exchange, refusal, status));
}

static void record_refusal(struct exchange *exchange, const struct refusal *refusal)
{
	struct downstream *downstream = exchange->downstream;
	struct audit_record record = new_record(downstream, refusal->reason, refusal->detail);
	describe_call(exchange, &record);
	if (refusal->policy_name.len)
		record.policy_name = refusal->policy_name;
	if (refusal->matched_rule.len)
		record.matched_rule = refusal->matched_rule;
	record.answer.status = exchange->status;
	record.answer.grpc_status = exchange->grpc_status;
	record.answer.retry_after_ms = rounded_up(refusal->retry_after_ns, NS_PER_MS);
	submit(downstream, &record);
}

void reject_exchange(struct exchange *exchange, const struct refusal *refusal)
{
	exchange->refused = refusal->reason;
	exchange_let_go_of_backend(exchange);
	if (exchange->grpc)
		answer_grpc(exchange, refusal);
	else
		answer_http(exchange, refusal);
	record_refusal(exchange, refusal);
}

void reject_midway(
        struct exchange *exchange, const struct refusal *refusal, struct fields *trailers)
{
	exchange->refused = refusal->reason;
	if (trailers)
		add_grpc_fields(exchange, refusal, trailers);
	else if (exchange->grpc)  // by the code of the reset, whatever the backend has said
		exchange->grpc_status = reason_grpc_status(refusal->reason);
	record_refusal(exchange, refusal);
}

void reject_shadows(struct exchange *exchange, size_t first)
{
	struct downstream *downstream = exchange->downstream;
	for (size_t i = first; i < exchange->decision.shadow_count; i++) {
		const struct policy_shadow *shadow = &exchange->decision.shadows[i];
		struct audit_record record = new_record(downstream, shadow->reason, shadow->detail);
		record.event = "shadowed";
		record.authorized = true;
		describe_call(exchange, &record);
		record.policy_name = exchange->decision.policy_name;
		record.matched_rule = shadow->rule;
		record.answer.retry_after_ms = rounded_up(shadow->wait_ns, NS_PER_MS);
		audit_submit(downstream->worker->lane, &record);
	}
}

void reject_unanswered(struct downstream *downstream, const struct stream *stream,
        enum reason reason, struct str detail)
{
	struct audit_record record = new_record(downstream, reason, detail);
	const struct exchange *exchange = stream->user;
	if (stream->head.method.len)
		describe_request(downstream, &stream->head, &record);
	// A request goes by its id once: its access line tells of one refusal.
	if (exchange && exchange->refused == REASON_NONE) {
		record.request.id = exchange->request_id;
		record.request.trace_id = exchange->trace_id;
	}
	submit(downstream, &record);
}

void reject_connection(struct downstream *downstream, enum reason reason, struct str detail)
{
	struct audit_record record = new_record(downstream, reason, detail);
	if (downstream->link.tls)
		record.answer.tls_alert = tls_session_alert(downstream->link.tls);
	if (!downstream->codec)
		metrics_handshake(downstream->worker->metrics,
		        downstream->snapshot->listeners[downstream->listener_index].label,
		        reason_name(reason));
	submit(downstream, &record);
}
