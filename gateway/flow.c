#include "gateway/flow.h"

#include "gateway/http/grpc.h"
#include "gateway/mirror.h"
#include "gateway/reject.h"
#include "gateway/retry.h"

// One direction.
struct side {
	struct exchange *exchange;
	struct body *body;
	struct timer timer;  // while what is next has to wait
	bool request;
	bool stopped;
	bool waits;
	bool scans;  // messages are told apart
	bool pays_messages;
	bool message_paid;  // the one that goes on, or comes next
	size_t piece;       // 0: bytes cost nothing; SIZE_MAX: shadows count them as they come
	size_t bytes_paid;  // of those that come next
	uint64_t whole_at;  // where the last whole message that may pass ended
	struct grpc_scan scan;
};

struct flow {
	struct side up, down;
};

static bool can_end_in_trailers(const struct exchange *exchange)
{
	const struct side *down = &exchange->flow->down;
	return exchange->grpc && exchange->downstream->codec->h2 && !exchange->tunnel &&
	       down->whole_at >= exchange->down.total_taken;
}

// What is not paid for, and of what is the message that is not whole, unless it has begun to leave.
static void drop_held(struct exchange *exchange)
{
	struct body *down = &exchange->down;
	size_t kept = body_ready(down);
	if (can_end_in_trailers(exchange))
		kept = (size_t)(exchange->flow->down.whole_at - down->total_taken);
	buffer_cut(&down->bytes, kept);
	down->held = 0;
	down->trailers = (struct fields){0};
}

static void end_in_trailers(struct exchange *exchange, const struct refusal *refusal)
{
	struct body *down = &exchange->down;
	exchange_let_go_of_backend(exchange);
	drop_held(exchange);
	reject_midway(exchange, refusal, &down->trailers);
	down->ended = exchange->answer_whole = true;
	exchange_progress(exchange);
	stream_wake(exchange->client);
}

static void count(const struct side *side, size_t by, const char *event)
{
	const struct exchange *exchange = side->exchange;
	const struct policy_decision *decision = &exchange->decision;
	const struct snapshot_listener *labels = &exchange->snapshot->listeners[exchange->listener];
	metrics_flow(exchange->downstream->worker->metrics,
	        labels->route_labels[decision->route_index],
	        labels->flow_labels[decision->route_index][by], event);
}

static void refuse(struct side *side, const struct policy_passage *passage)
{
	struct exchange *exchange = side->exchange;
	const struct policy_flow *by = &exchange->decision.flows[passage->by];
	struct refusal refusal = {
	        .reason = REASON_rate_limited,
	        .detail = by->detail,
	        .policy_name = exchange->decision.policy_name,
	        .matched_rule = by->rule,
	        .retry_after_ns = passage->wait_ns,
	};
	flow_stop(exchange->flow, true);
	flow_stop(exchange->flow, false);
	if (exchange->answer_whole && body_done(&exchange->down))
		return;  // all is said, and on its way
	count(side, passage->by, "refused");
	mirror_drop(exchange);
	if (!exchange->client->head_sent) {
		reject_exchange(exchange, &refusal);
	} else if (can_end_in_trailers(exchange)) {
		end_in_trailers(exchange, &refusal);
	} else {
		reject_midway(exchange, &refusal, NULL);
		stream_reset(exchange->client, ABORT_EXHAUSTED);
		exchange_finish(exchange);
	}
}

static int64_t time_left_ns(const struct exchange *exchange, int64_t now_ns)
{
	int64_t deadline_ns = exchange->time.deadline_ns;
	if (!deadline_ns || exchange->tunnel)
		return INT64_MAX;
	return deadline_ns > now_ns ? deadline_ns - now_ns : 0;
}

// `known`: as many are on the record already.
static void tell_shadows(struct side *side, uint32_t exceeded, size_t known)
{
	const struct policy_decision *decision = &side->exchange->decision;
	for (size_t i = 0; i < decision->flow_count; i++)
		if (exceeded >> i & 1)
			count(side, i,
			        decision->flows[i].config->on_excess == EXCESS_PAUSE
			                ? "would_pause"
			                : "would_refuse");
	reject_shadows(side->exchange, known);
}

// False where it has to wait, though it is paid for then, or is refused.
static bool pay(struct side *side, bool message, size_t bytes)
{
	struct exchange *exchange = side->exchange;
	int64_t now_ns = exchange_turn(exchange)->now_ns;
	size_t shadows = exchange->decision.shadow_count;
	struct policy_passage passage = policy_pass(&exchange->decision,
	        side->request ? FLOW_REQUESTS : FLOW_RESPONSES, message, message ? 1 : bytes,
	        time_left_ns(exchange, now_ns), now_ns);
	if (passage.exceeded)
		tell_shadows(side, passage.exceeded, shadows);
	if (!passage.wait_ns)
		return true;
	if (passage.refused) {
		refuse(side, &passage);
		return false;
	}
	count(side, passage.by, "paused");
	side->waits = true;
	if (!passage.too_late)  // else for the deadline
		turn_set_timer(exchange_turn(exchange), &side->timer, passage.wait_ns);
	return false;
}

static struct str held(const struct side *side)
{
	const struct body *body = side->body;
	return str_of(buffer_data(&body->bytes) + body_ready(body), body->held);
}

static void pass(struct side *side, size_t count)
{
	struct body *body = side->body;
	if (side->scans)
		(void)!grpc_scan_message(&side->scan, str_of(held(side).at, count));
	body->held -= count;
	if (!side->scans || !grpc_scan_between(&side->scan))
		return;
	side->message_paid = false;
	side->whole_at = body->total_in - body->held;
}

// What is next, as far as it is the same message and paid for together. False: it has to wait.
static bool pass_next(struct side *side)
{
	size_t next = side->body->held;
	if (side->pays_messages && !side->message_paid) {
		side->message_paid = true;
		if (!pay(side, true, 0))
			return false;
	}
	if (side->scans) {
		struct grpc_scan ahead = side->scan;
		next = grpc_scan_message(&ahead, held(side));
	}
	if (side->piece && !side->bytes_paid) {
		side->bytes_paid = next < side->piece ? next : side->piece;
		if (!pay(side, false, side->bytes_paid))
			return false;
	}
	if (side->piece && next > side->bytes_paid)
		next = side->bytes_paid;
	side->bytes_paid -= side->piece ? next : 0;
	pass(side, next);
	return true;
}

static void run(struct side *side)
{
	struct exchange *exchange = side->exchange;
	size_t before = side->body->held;
	while (!side->stopped && !side->waits && side->body->held && pass_next(side))
		;
	if (exchange->state == EXCHANGE_OVER || side->body->held == before)
		return;
	// Until the backend may have all of it, the request is one that is still coming.
	if (side->request && exchange->request_whole && !side->body->held)
		admission_whole(exchange);
	struct stream *to = side->request ? exchange->backend : exchange->client;
	if (to)
		stream_wake(to);
}

static void on_due(struct timer *timer)
{
	struct side *side = CONTAINER_OF(timer, struct side, timer);
	side->waits = false;
	exchange_progress(side->exchange);
	if (side->request && side->exchange->backend)
		retry_attempt_begun(side->exchange);  // from now on it is the backend's
	run(side);
}

static void begin(struct side *side, struct exchange *exchange, bool request)
{
	const struct policy_decision *decision = &exchange->decision;
	side->exchange = exchange;
	side->request = request;
	side->body = request ? &exchange->up : &exchange->down;
	timer_init(&side->timer, on_due);
	for (size_t i = 0; i < decision->flow_count; i++) {
		const struct policy_flow *flow = &decision->flows[i];
		if (flow->config->direction != (request ? FLOW_REQUESTS : FLOW_RESPONSES))
			continue;
		side->pays_messages |= flow->piece == 0;
		size_t piece = flow->config->shadow && flow->piece ? SIZE_MAX : flow->piece;
		if (piece && (!side->piece || piece < side->piece))
			side->piece = piece;
	}
	// Of answers always: a call may have to be ended between two.
	side->scans = exchange->grpc && (side->pays_messages || !request);
}

void flow_start(struct exchange *exchange)
{
	struct flow *flow = arena_zalloc(&exchange->arena, sizeof(*flow));
	exchange->flow = flow;
	begin(&flow->up, exchange, true);
	begin(&flow->down, exchange, false);
	if (exchange->up.total_in)
		flow_take(flow, true, buffer_len(&exchange->up.bytes));
}

void flow_take(struct flow *flow, bool request, size_t count)
{
	struct side *side = request ? &flow->up : &flow->down;
	if (side->stopped)
		return;
	side->body->held += count;
	run(side);
}

void flow_stop(struct flow *flow, bool request)
{
	struct side *side = request ? &flow->up : &flow->down;
	side->stopped = true;
	side->waits = false;
	turn_stop_timer(exchange_turn(side->exchange), &side->timer);
}

void flow_drop(struct exchange *exchange)
{
	if (!exchange->down.held)
		return;
	flow_stop(exchange->flow, false);
	drop_held(exchange);
	exchange_let_go_of_backend(exchange);  // it was our turn, not the backend's
	exchange->down.ended = exchange->answer_whole = false;
}

bool flow_pauses(const struct flow *flow)
{
	return flow->up.waits || flow->down.waits;
}
