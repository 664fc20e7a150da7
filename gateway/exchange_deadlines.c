// What ends an exchange that takes too long, and whose doing that was.
#include "base/clock.h"
#include "gateway/exchange.h"
#include "gateway/flow.h"
#include "gateway/http/grpc.h"
#include "gateway/reject.h"
#include "gateway/retry.h"

void exchange_refuse_late(struct exchange *exchange, enum reason reason, struct str detail)
{
	if (exchange->state == EXCHANGE_HELD)
		return;  // it is refused already
	struct refusal refusal = {
	        .reason = reason, .detail = detail, .policy_name = exchange->decision.policy_name};
	if (!exchange->client->head_sent) {
		reject_exchange(exchange, &refusal);
		return;
	}
	reject_unanswered(exchange->downstream, exchange->client, reason, detail);
	if (exchange->refused == REASON_NONE)
		exchange->refused = reason;
	stream_reset(exchange->client, ABORT_CANCELLED);
	exchange_finish(exchange);
}

static void stall(struct exchange *exchange, struct str detail)
{
	exchange->cause = "client_stalled";
	exchange_refuse_late(exchange, REASON_request_timeout, detail);
}

// Nothing moved for stream_idle: whose turn was it?
static void on_progress(struct timer *timer)
{
	struct exchange *exchange = CONTAINER_OF(timer, struct exchange, progress);
	if (exchange->state == EXCHANGE_HELD) {
		exchange_send_held(exchange);
		return;
	}
	// Nobody's turn but ours.
	if (exchange->ask || exchange->pending || retry_waits(exchange) || flow_waits(exchange)) {
		exchange_progress(exchange);
		return;
	}
	// The last byte of a known length waits for the request's end: it is no sign of a backend
	// that does not read.
	bool all_passed_on = body_ready(&exchange->up) <= 1;
	if (!exchange->client->head_sent && !exchange->request_whole && all_passed_on)
		stall(exchange, STR("the client stopped sending its request"));
	else if (!exchange->client->head_sent)
		exchange_fail(exchange, 504, GRPC_UNAVAILABLE, "backend_stalled");
	else if (buffer_len(&exchange->down.bytes) || exchange->answer_whole)
		stall(exchange, STR("the client stopped taking its answer"));
	else
		exchange_fail(exchange, 504, GRPC_UNAVAILABLE, "stream_idle");
}

static void on_deadline(struct timer *timer)
{
	struct exchange *exchange = CONTAINER_OF(timer, struct exchange, deadline);
	flow_give_up(exchange);
	exchange_fail(exchange, 504, GRPC_DEADLINE_EXCEEDED, "deadline_exceeded");
}

static void on_arrival(struct timer *timer)
{
	struct exchange *exchange = CONTAINER_OF(timer, struct exchange, arrival);
	if (!exchange->request_whole)
		exchange_refuse_late(
		        exchange, REASON_request_timeout, STR("the whole request took too long"));
}

void exchange_progress(struct exchange *exchange)
{
	int64_t idle_ns = exchange_timeouts(exchange)->stream_idle_ns;
	if (idle_ns && exchange->state != EXCHANGE_HELD && exchange->state != EXCHANGE_OVER)
		turn_set_timer(exchange_turn(exchange), &exchange->progress, idle_ns);
}

void exchange_init_timers(struct exchange *exchange)
{
	timer_init(&exchange->progress, on_progress);
	timer_init(&exchange->deadline, on_deadline);
	timer_init(&exchange->arrival, on_arrival);
}
