// What the codecs tell an exchange, step by step: the request's head is judged, then each piece is
// passed on.
#include "base/clock.h"
#include "gateway/attempt.h"
#include "gateway/exchange.h"
#include "gateway/flow.h"
#include "gateway/forward.h"
#include "gateway/http/grpc.h"
#include "gateway/mirror.h"
#include "gateway/pending.h"
#include "gateway/quota_fields.h"
#include "gateway/reject.h"
#include "gateway/retry.h"
#include "gateway/rewrite.h"
#include "policy/host.h"

// The host is no field any more, and however it was spelt it is one and the same.
static struct str header_value(const void *of, struct str name, struct arena *arena)
{
	const struct exchange *exchange = of;
	return str_eq(name, STR("host"))
	               ? exchange->host
	               : fields_joined(&exchange->client->head.fields, name, arena);
}

static bool refuse(struct exchange *exchange, enum reason reason, struct str detail)
{
	struct refusal refusal = {
	        .reason = reason,
	        .detail = detail,
	        .policy_name = exchange->decision.policy_name,
	        .matched_rule = exchange->decision.matched_rule,
	        .retry_after_ns = exchange->decision.retry_after_ns,
	};
	reject_exchange(exchange, &refusal);
	return false;
}

// Step 1: is the caller let in at all, and can the gateway still hold the call and keep its
// records?
static bool caller_stands(struct exchange *exchange)
{
	struct downstream *downstream = exchange->downstream;
	const struct config *config = exchange->snapshot->config;
	if (downstream->standing != REASON_NONE) {
		downstream->reported = true;
		return refuse(exchange, downstream->standing, downstream->standing_detail);
	}
	if (config->audit_on_failure == AUDIT_REFUSE && audit_failing(downstream->worker->audit))
		return refuse(exchange, REASON_overloaded, STR("the audit log cannot be written"));
	if (memory_level(downstream->worker->memory) != MEMORY_ROOM)
		return refuse(exchange, REASON_overloaded, STR(MEMORY_DETAIL));
	return true;
}

// Step 2: one path and one host, whatever way they were spelt.
static bool target_is_plain(struct exchange *exchange)
{
	const struct head *head = &exchange->client->head;
	const char *why;
	if (!path_normalise(head->target, &exchange->arena, &exchange->path, &why))
		return refuse(exchange, REASON_malformed_request, str_from(why));
	if (head->authority.len &&
	        !host_normalise(head->authority, &exchange->arena, &exchange->host))
		return refuse(exchange, REASON_malformed_request, STR("the host is not valid"));
	return true;
}

static void respond(struct exchange *exchange)
{
	const struct config_route *route = exchange_route(exchange);
	struct arena *arena = &exchange->arena;
	struct head head;
	head_answer(&head, exchange->grpc ? 200 : route->respond_status);
	if (exchange->grpc) {
		exchange->grpc_status = grpc_status_of_http(route->respond_status);
		fields_add(&head.fields, arena, STR("content-type"), STR("application/grpc"));
		fields_add(&head.fields, arena, STR("grpc-status"),
		        arena_digits(arena, (uint64_t)exchange->grpc_status));
		fields_add(&head.fields, arena, STR("grpc-message"),
		        grpc_message_encode(str_trim(route->respond_body), arena));
	} else {
		if (route->redirect.status)
			fields_add(
			        &head.fields, arena, STR("location"), rewrite_location(exchange));
		else
			fields_add(&head.fields, arena, STR("content-type"),
			        STR("text/plain; charset=utf-8"));
		fields_add(&head.fields, arena, STR("x-request-id"), exchange->request_id);
	}
	quota_fields_add(exchange, &head.fields);
	if (route->response_headers.any)
		rewrite_fields(exchange, &route->response_headers, false, &head.fields);
	bool bodiless = exchange->grpc || route->respond_status == 204 ||
	                route->respond_status == 304;
	exchange_answer(exchange, &head, bodiless ? STR("") : route->respond_body);
}

static void forward(struct exchange *exchange)
{
	exchange_forward(exchange);
	if (exchange->state == EXCHANGE_FORWARDED)
		flow_begin(exchange);
	if (exchange->refused)
		return;
	mirror_begin(exchange, exchange->up.ended && !exchange->up.total_in);
	if (!exchange->up.total_in)
		return;
	// What came while the fleet was asked; nobody took it yet.
	mirror_take(exchange, buffer_str(&exchange->up.bytes));
	if (exchange->up.ended)
		mirror_send(exchange);
}

// Step 4: to the backend, or our own answer.
static void pass(struct exchange *exchange)
{
	const struct head *head = &exchange->client->head;
	exchange->tunnel = head->websocket;
	exchange->request_whole |= exchange->tunnel;  // until it is a tunnel, all is said
	if (exchange_route(exchange)->backend >= 0)
		forward(exchange);
	else if (exchange->up.ended || head->expects_continue)
		respond(exchange);  // else when the request is whole: only then is it known to be
		                    // well-formed
}

static void count_shed(const struct exchange *exchange)
{
	metrics_shed(exchange->downstream->worker->metrics,
	        exchange->snapshot->backends[exchange->backend_index].label,
	        exchange_route(exchange)->priority, 1);
}

static bool verdict_allows(struct exchange *exchange)
{
	exchange_count_limits(exchange);
	if (exchange->decision.shadow_count)
		reject_shadows(exchange, 0);
	if (exchange->decision.crowd == POLICY_CALLS)
		count_shed(exchange);
	if (exchange->decision.crowd == POLICY_QUEUED)
		pending_refused(exchange);
	if (exchange->decision.reason != REASON_NONE)
		return refuse(exchange, exchange->decision.reason, exchange->decision.detail);
	return true;
}

static void on_verdict(void *user)
{
	struct exchange *exchange = user;
	if (verdict_allows(exchange))
		pass(exchange);
}

// The policy asks once it knows the route, before the call pays.
static enum policy_crowd backend_has_room(void *user)
{
	struct exchange *exchange = user;
	exchange_choose_backend(exchange);
	return admission_room(exchange);
}

// Step 3: route, access list, limits, what the route takes.
static bool policy_allows(struct exchange *exchange)
{
	struct downstream *downstream = exchange->downstream;
	const struct head *head = &exchange->client->head;
	uint64_t most = downstream_config(downstream)->limits.body_bytes;
	struct policy_request request = {
	        .grpc = exchange->grpc,
	        .websocket = head->websocket,
	        .too_large = most && head->content_length > 0 &&
	                     (uint64_t)head->content_length > most,
	        .body_bytes = head->content_length < 0 && exchange->request_whole
	                              ? 0
	                              : head->content_length,
	        .method = head->method,
	        .path = exchange->path.path,
	        .host = exchange->host,
	        .wants_quotas = downstream_config(downstream)->rate_limit_headers != QUOTA_OFF,
	        .source_ip = str_from(downstream->source_ip),
	        .header = header_value,
	        .headers = exchange,
	        .room = backend_has_room,
	        .caller = exchange,
	};
	policy_decide(exchange->snapshot->policy, exchange->listener, &downstream->identity,
	        &request, downstream->worker->turn.now_ns, &exchange->arena, &exchange->decision);
	if (exchange->decision.claim_count && !exchange_ask_fleet(exchange, on_verdict))
		return false;
	return verdict_allows(exchange);
}

void exchange_client_head(struct stream *stream, bool end)
{
	struct exchange *exchange = exchange_new(stream->codec->owner, stream);
	exchange->request_whole = exchange->up.ended = end;
	if (caller_stands(exchange) && target_is_plain(exchange) && policy_allows(exchange))
		pass(exchange);
}

static bool awaited(const struct exchange *exchange)
{
	return exchange->backend || exchange->pending || retry_waits(exchange) ||
	       (exchange->state == EXCHANGE_ASKING && exchange_route(exchange)->backend >= 0);
}

// More of a request came whose answer is held: it may be almost there.
static void hold_on(struct exchange *exchange, size_t bytes)
{
	struct turn *turn = exchange_turn(exchange);
	exchange->up.total_in += bytes;
	if (exchange->up.total_in > HOLD_BYTES_MAX ||
	        turn->now_ns - exchange->time.held_ns > (int64_t)HOLD_MS_MAX * NS_PER_MS)
		return;
	stream_credit(exchange->client, bytes);
	turn_stop_timer(turn, &exchange->progress);
	turn_set_timer(turn, &exchange->progress, (int64_t)HOLD_MS * NS_PER_MS);
}

void exchange_client_data(struct stream *stream, struct str bytes)
{
	struct exchange *exchange = stream->user;
	uint64_t most = downstream_config(exchange->downstream)->limits.body_bytes;
	exchange_progress(exchange);
	mirror_take(exchange, bytes);
	if (exchange->state == EXCHANGE_HELD) {
		hold_on(exchange, bytes.len);
		return;
	}
	bool wanted = awaited(exchange);
	if (!wanted && exchange->state > EXCHANGE_ASKING) {  // refused or answered
		stream_credit(stream, bytes.len);
		return;
	}
	if (most && !exchange->tunnel && exchange->up.total_in + bytes.len > most) {
		exchange_refuse_late(exchange, REASON_request_too_large,
		        STR("the body is over limits.body_bytes"));
		return;
	}
	if (!wanted) {  // by no backend: the answer is ours, once the request is whole
		exchange->up.total_in += bytes.len;
		stream_credit(stream, bytes.len);
		return;
	}
	body_add(&exchange->up, bytes);
	replay_keep(exchange, bytes);
	if (!flow_takes(exchange, true, bytes.len) && exchange->backend)
		stream_wake(exchange->backend);
}

void exchange_client_end(struct stream *stream, const struct fields *trailers)
{
	struct exchange *exchange = stream->user;
	exchange->request_whole = exchange->up.ended = true;
	if (exchange->state == EXCHANGE_HELD) {
		exchange_send_held(exchange);
		return;
	}
	turn_stop_timer(&exchange->downstream->worker->turn, &exchange->arrival);
	exchange_progress(exchange);
	if (!exchange->up.held)  // else once that has passed: flow.c
		admission_whole(exchange);
	forward_trailers(exchange, trailers, true, &exchange->up.trailers);
	mirror_send(exchange);
	if (exchange->backend)
		stream_wake(exchange->backend);
	else if (exchange->state == EXCHANGE_JUDGED && exchange_route(exchange))
		respond(exchange);
}

void exchange_client_aborted(struct stream *stream, enum stream_abort why)
{
	struct exchange *exchange = stream->user;
	const struct downstream *downstream = exchange->downstream;
	bool ours = downstream->phase == DOWNSTREAM_CLOSING && !downstream->link.ended;
	(void)why;
	if (!exchange->cause && downstream->violated != REASON_NONE)
		exchange->cause = reason_name(downstream->violated);
	else if (!exchange->cause)
		exchange->cause = ours ? "gateway_left" : "client_cancelled";
	exchange_finish(exchange);
}

void exchange_client_faulty(struct stream *stream, enum reason reason, int status, const char *why)
{
	struct exchange *exchange = stream->user;
	struct downstream *downstream = stream->codec->owner;
	bool answered = exchange && (stream->head_sent || exchange->state == EXCHANGE_HELD);
	if (status == 0 || answered) {
		reject_unanswered(downstream, stream, reason, str_from(why));
		if (!exchange)
			return;
		if (!exchange->refused)
			exchange->refused = reason;
		stream_reset(stream, ABORT_BROKEN);
		exchange_finish(exchange);
		return;
	}
	if (!exchange)
		exchange = exchange_new(downstream, stream);
	struct refusal refusal = {.reason = reason, .status = status, .detail = str_from(why)};
	if (downstream->standing != REASON_NONE) {
		downstream->reported = true;
		refusal = (struct refusal){
		        .reason = downstream->standing, .detail = downstream->standing_detail};
	}
	exchange->request_whole = true;
	reject_exchange(exchange, &refusal);
}

void exchange_client_sent(struct stream *stream)
{
	struct exchange *exchange = stream->user;
	if (stream->head_sent)
		exchange_finish(exchange);
}

static void note_grpc_status(struct exchange *exchange, const struct fields *fields)
{
	uint64_t status;
	if (exchange->grpc && str_to_u64(fields_get(fields, STR("grpc-status")), 1000, &status))
		exchange->grpc_status = (int)status;
}

void exchange_backend_head(struct stream *stream, bool end)
{
	struct exchange *exchange = stream->user;
	struct head head;
	exchange_progress(exchange);
	if (stream->head.status == 100)
		return;  // the client had its 100 from us
	if (stream->head.status >= 200 && retry_answer(exchange, stream, end))
		return;
	forward_answer(exchange, &stream->head, &head);
	if (stream->head.status < 200 && stream->head.status != 101) {
		stream_send_head(exchange->client, &head, false);
		return;
	}
	exchange->state = EXCHANGE_ANSWERING;
	exchange->time.answered_ns = clock_monotonic_ns();
	exchange->status = exchange->backend_status = stream->head.status;
	exchange->tunnel = stream->head.status == 101;
	if (exchange->tunnel) {  // from here on only silence ends it
		turn_stop_timer(&exchange->downstream->worker->turn, &exchange->arrival);
		turn_stop_timer(&exchange->downstream->worker->turn, &exchange->deadline);
	}
	exchange->answer_whole = exchange->down.ended = end;
	exchange->time.done_ns = end ? exchange->time.answered_ns : 0;
	note_grpc_status(exchange, &stream->head.fields);
	attempt_answered(exchange, end);
	admission_answered(exchange);
	exchange->client->source = &exchange->down;
	stream_send_head(exchange->client, &head, end);
}

void exchange_backend_data(struct stream *stream, struct str bytes)
{
	struct exchange *exchange = stream->user;
	exchange_progress(exchange);
	turn_pass_on(&exchange->downstream->worker->turn, bytes, &exchange->down.bytes);
	exchange->down.total_in += bytes.len;
	if (!flow_takes(exchange, false, bytes.len))
		stream_wake(exchange->client);
}

void exchange_backend_end(struct stream *stream, const struct fields *trailers)
{
	struct exchange *exchange = stream->user;
	exchange->answer_whole = exchange->down.ended = true;
	exchange->time.done_ns = clock_monotonic_ns();
	note_grpc_status(exchange, trailers);
	if (exchange->grpc)
		attempt_answered(exchange, true);
	forward_trailers(exchange, trailers, false, &exchange->down.trailers);
	stream_wake(exchange->client);
}

void exchange_backend_sent(struct stream *stream)
{
	struct exchange *exchange = stream->user;
	exchange_progress(exchange);
}
