#include "gateway/exchange.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/spare.h"
#include "gateway/attempt.h"
#include "gateway/flow.h"
#include "gateway/forward.h"
#include "gateway/http/grpc.h"
#include "gateway/mirror.h"
#include "gateway/pending.h"
#include "gateway/record.h"
#include "gateway/reject.h"
#include "gateway/retry.h"
#include "gateway/upstream.h"

const struct config_route *exchange_route(const struct exchange *exchange)
{
	return exchange->decision.route;
}

// Taken bytes leave room at the source: that is how the slower side slows the faster one.
static void up_taken(struct body *body, size_t count)
{
	struct exchange *exchange = CONTAINER_OF(body, struct exchange, up);
	(void)count;
	if (exchange->client)
		stream_credit(exchange->client, replay_owed(exchange));
	exchange_progress(exchange);
}

static void down_taken(struct body *body, size_t count)
{
	struct exchange *exchange = CONTAINER_OF(body, struct exchange, down);
	if (exchange->backend)
		stream_credit(exchange->backend, count);
	exchange_progress(exchange);
}

struct exchange *exchange_new(struct downstream *downstream, struct stream *client)
{
	struct exchange *exchange = must_spare(sizeof(*exchange));
	exchange->downstream = downstream;
	downstream_identify(downstream);
	exchange->snapshot = snapshot_ref(downstream->snapshot);
	exchange->listener = downstream->listener_index;
	exchange->client = client;
	exchange->grpc = head_is_grpc(&client->head);
	exchange->grpc_status = -1;
	exchange->decision.limit_index = -1;
	exchange->up.taken = up_taken;
	exchange->down.taken = down_taken;
	exchange->time.start_ns = exchange_turn(exchange)->now_ns;
	exchange_init_timers(exchange);
	list_push(&downstream->exchanges, &exchange->node);
	downstream->exchange_count++;
	metrics_requests_active(downstream->worker->metrics, 1);
	exchange->first = !downstream->asked;
	downstream->asked = true;
	client->user = exchange;
	forward_identify(exchange, &client->head);
	exchange_progress(exchange);
	int64_t request_ns = exchange_timeouts(exchange)->request_ns;
	if (request_ns && !exchange->grpc)
		turn_set_timer(exchange_turn(exchange), &exchange->arrival, request_ns);
	return exchange;
}

static void set_deadline(struct exchange *exchange)
{
	int64_t timeout_ns = exchange_route(exchange)->timeout_ns, asked_ns;
	struct str asked = fields_get(&exchange->client->head.fields, STR("grpc-timeout"));
	if (exchange->grpc && grpc_timeout_parse(asked, &asked_ns) &&
	        (!timeout_ns || asked_ns < timeout_ns))
		timeout_ns = asked_ns > 0 ? asked_ns : 1;
	const int64_t longest_ns = (int64_t)366 * 86400 * NS_PER_S;
	if (timeout_ns <= 0 || timeout_ns > longest_ns)
		return;
	exchange->time.deadline_ns = exchange->time.start_ns + timeout_ns;
	// Part of it may have gone by while the fleet's limits were asked.
	int64_t left_ns = exchange->time.deadline_ns - exchange_turn(exchange)->now_ns;
	turn_set_timer(exchange_turn(exchange), &exchange->deadline, left_ns > 0 ? left_ns : 1);
}

void exchange_forward(struct exchange *exchange)
{
	exchange->state = EXCHANGE_FORWARDED;
	exchange->time.forwarded_ns = clock_monotonic_ns();
	set_deadline(exchange);
	forward_request(exchange, &exchange->request);
	admission_enter(exchange);
	replay_begin(exchange);
	retry_begin(exchange);
	attempt_insist(exchange, "connect_failed", false);
	if (exchange->state != EXCHANGE_FORWARDED || !exchange->client->head.expects_continue ||
	        exchange->client->head_sent)
		return;
	struct head head;
	head_answer(&head, 100);
	stream_send_head(exchange->client, &head, false);
}

static bool is_last(const struct exchange *exchange)
{
	return exchange->downstream->standing != REASON_NONE ||
	       (exchange->refused == REASON_overloaded && !exchange_route(exchange));
}

void exchange_send_held(struct exchange *exchange)
{
	struct codec *codec = exchange->downstream->codec;
	exchange->state = EXCHANGE_ANSWERING;
	exchange_progress(exchange);
	// Nothing that follows a malformed request on an HTTP/1.1 connection is served. The answer
	// says so, if that comes first.
	if (!codec->h2 && (is_last(exchange) || exchange->refused == REASON_malformed_request))
		codec->ops->shutdown(codec);
	stream_send_head(exchange->client, &exchange->held, body_done(&exchange->down));
}

// Over HTTP/2 an answer before the request's end is followed by a reset, once the client has seen
// it (http/h2_early.h), and some take that for a failure. Most requests end in the next bytes:
// worth a moment.
static bool worth_holding(const struct exchange *exchange)
{
	return exchange->downstream->codec->h2 && !exchange->request_whole &&
	       !exchange->client->head.expects_continue;
}

void exchange_answer(struct exchange *exchange, struct head *head, struct str body)
{
	exchange_stop_asking(exchange);
	flow_end(exchange, true);
	retry_settle(exchange);
	admission_leave(exchange, CONCURRENCY_SILENT);
	bool bodiless = exchange->grpc || head->status == 204 || head->status == 304;
	head->content_length = bodiless ? -1 : (int64_t)body.len;
	date_field_add(&exchange->downstream->worker->date, exchange_turn(exchange)->now_ns,
	        &head->fields, &exchange->arena);
	exchange->held = *head;
	exchange->status = head->status;
	exchange->answer_whole = exchange->down.ended = true;
	exchange->client->source = &exchange->down;
	if (!str_eq(exchange->client->head.method, STR("HEAD")))
		body_add(&exchange->down, body);
	if (!worth_holding(exchange)) {
		exchange_send_held(exchange);
		return;
	}
	exchange->state = EXCHANGE_HELD;
	exchange->time.held_ns = exchange_turn(exchange)->now_ns;
	turn_stop_timer(exchange_turn(exchange), &exchange->progress);
	turn_set_timer(exchange_turn(exchange), &exchange->progress, (int64_t)HOLD_MS * NS_PER_MS);
}

void exchange_let_go_of_backend(struct exchange *exchange)
{
	struct stream *backend = exchange->backend;
	pending_end(exchange, "left");
	if (!backend)
		return;
	exchange->backend = NULL;
	exchange->time.connected_ns = upstream_connected_ns(backend);
	upstream_release(backend);
}

void exchange_backend_aborted(struct stream *stream, enum stream_abort why)
{
	struct exchange *exchange = stream->user;
	static const char *const causes[] = {
	        [ABORT_CANCELLED] = "backend_reset",
	        [ABORT_UNPROCESSED] = "connect_failed",
	        [ABORT_UNANSWERED] = "backend_closed",
	        [ABORT_CLOSED] = "backend_closed",
	        [ABORT_BROKEN] = "backend_protocol_error",
	        [ABORT_DEADLINE] = "connect_timeout",
	        [ABORT_EXHAUSTED] = "backend_reset",
	        [ABORT_TLS_FAILED] = "backend_tls_failed",
	};
	bool broken = why != ABORT_UNPROCESSED && stream->codec->broken;
	attempt_aborted(exchange, why);
	exchange_let_go_of_backend(exchange);
	if (exchange->answer_whole)
		return;
	bool reached = exchange->time.connected_ns != 0;
	const char *cause = why == ABORT_UNPROCESSED && reached
	                            ? "backend_refused"
	                            : causes[broken ? ABORT_BROKEN : why];
	if (attempt_again(exchange, why, cause) || retry_lost(exchange, cause))
		return;
	// A backend that was told the deadline keeps it too, and may be the quicker of the two.
	int64_t deadline_ns = exchange->time.deadline_ns;
	if (deadline_ns && clock_monotonic_ns() + NS_PER_MS >= deadline_ns) {
		exchange_fail(exchange, 504, GRPC_DEADLINE_EXCEEDED, "deadline_exceeded");
		return;
	}
	bool unreachable = why == ABORT_UNPROCESSED || why == ABORT_TLS_FAILED;
	int status = unreachable ? 503 : why == ABORT_DEADLINE ? 504 : 502;
	exchange_fail(exchange, status, GRPC_UNAVAILABLE, cause);
}

static void fail_head(struct exchange *exchange, int http, int grpc, const char *cause)
{
	struct arena *arena = &exchange->arena;
	struct head head;
	if (exchange->grpc) {
		head_answer(&head, 200);
		exchange->grpc_status = grpc;
		fields_add(&head.fields, arena, STR("content-type"), STR("application/grpc"));
		fields_add(&head.fields, arena, STR("grpc-status"),
		        arena_digits(arena, (uint64_t)grpc));
		fields_add(&head.fields, arena, STR("grpc-message"), str_from(cause));
		exchange_answer(exchange, &head, STR(""));
		return;
	}
	head_answer(&head, http);
	fields_add(&head.fields, arena, STR("content-type"), STR("application/problem+json"));
	fields_add(&head.fields, arena, STR("x-request-id"), exchange->request_id);
	exchange_answer(exchange, &head,
	        arena_printf(arena,
	                "{\"status\":%d,\"title\":\"The backend "
	                "failed\",\"reason\":\"%s\",\"request_id\":\"%.*s\"}\n",
	                http, cause, STR_FMT(exchange->request_id)));
}

// A backend was asked in vain: with a deadline that is none, a client can have it begin and drop
// calls as with resets of its own, which over HTTP/1.1 cost the connection. Where the time given is
// one in which backends answer, their slowness must not cost the connection with all other calls.
static void note_waste(struct exchange *exchange)
{
	enum { MOMENT_MS = 10 };
	struct codec *codec = exchange->client->codec;
	int64_t given_ns = exchange->time.deadline_ns - exchange->time.start_ns;
	exchange->client->wasted = exchange->backend && !exchange->client->head_sent &&
	                           given_ns <= MOMENT_MS * (int64_t)NS_PER_MS &&
	                           upstream_connected_ns(exchange->backend) &&
	                           attempt_out_of_callers_time(exchange);
	if (exchange->client->wasted && !codec->h2)
		codec->ops->shutdown(codec);
}

void exchange_fail(struct exchange *exchange, int http, int grpc, const char *cause)
{
	if (exchange->answer_whole)
		return;  // it only waits to be sent; stream_idle watches that
	exchange->cause = cause;
	exchange->backend_failed = true;
	admission_failed(exchange, cause);
	if (http == 504 && exchange->backend)
		attempt_timed_out(exchange);
	note_waste(exchange);
	exchange_let_go_of_backend(exchange);
	if (!exchange->client->head_sent) {
		fail_head(exchange, http, grpc, cause);
	} else if (exchange->grpc && !exchange->down.ended && exchange->downstream->codec->h2) {
		// The head is out: the status travels in the trailers, where a gRPC client looks
		// for it. HTTP/1 has no such place that a client must read.
		struct fields *trailers = &exchange->down.trailers;
		flow_end(exchange, true);
		exchange->grpc_status = grpc;
		fields_add(trailers, &exchange->arena, STR("grpc-status"),
		        arena_digits(&exchange->arena, (uint64_t)grpc));
		fields_add(trailers, &exchange->arena, STR("grpc-message"), str_from(cause));
		exchange->down.ended = exchange->answer_whole = true;
		exchange_progress(exchange);
		stream_wake(exchange->client);
	} else {
		stream_reset(exchange->client, ABORT_CLOSED);
		exchange_finish(exchange);
	}
}

static void bury(struct grave *grave)
{
	struct exchange *exchange = CONTAINER_OF(grave, struct exchange, grave);
	snapshot_unref(exchange->snapshot);
	buffer_fini(&exchange->up.bytes);
	buffer_fini(&exchange->down.bytes);
	arena_fini(&exchange->arena);
	spare_free(exchange);
}

// Over HTTP/2 calls that came at once are all told, and GOAWAY comes behind the last: what comes
// behind that some clients (Python's h2) do not read.
static void end_connection(struct exchange *exchange)
{
	struct codec *codec = exchange->downstream->codec;
	if (codec->h2 && exchange->downstream->exchange_count == 0 && is_last(exchange))
		codec->ops->shutdown(codec);
}

void exchange_finish(struct exchange *exchange)
{
	struct downstream *downstream = exchange->downstream;
	if (exchange->state == EXCHANGE_OVER)
		return;
	exchange->state = EXCHANGE_OVER;
	exchange_leave_limits(exchange);
	flow_end(exchange, true);
	flow_end(exchange, false);
	retry_end(exchange);
	admission_leave(exchange, CONCURRENCY_FRUITLESS);
	exchange_let_go_of_backend(exchange);
	mirror_drop(exchange);
	record_exchange(exchange);
	turn_stop_timer(exchange_turn(exchange), &exchange->progress);
	turn_stop_timer(exchange_turn(exchange), &exchange->deadline);
	turn_stop_timer(exchange_turn(exchange), &exchange->arrival);
	struct stream *client = exchange->client;
	exchange->client = NULL;
	stream_release(client);
	list_remove(&exchange->node);
	downstream->exchange_count--;
	end_connection(exchange);
	metrics_requests_active(downstream->worker->metrics, -1);
	exchange->grave.bury = bury;
	turn_mark_dead(exchange_turn(exchange), &exchange->grave);
	link_mark_dirty(&downstream->link);
}
