#include "gateway/pending.h"

#include "base/clock.h"
#include "base/spare.h"
#include "gateway/attempt.h"
#include "gateway/http/grpc.h"
#include "gateway/reject.h"
#include "gateway/retry.h"
#include "gateway/upstream.h"

struct pending {
	struct list node;  // in pool->pending
	struct exchange *exchange;
	struct pool *pool;
	size_t endpoint;  // the only one it can go to; or SIZE_MAX
	bool anywhere;
	struct timer timer;
	const char *cause;
	bool anew;
};

static void count_waiting(const struct pending *pending, int change)
{
	struct pool *pool = pending->pool;
	pool->pending_count += (size_t)change;
	pool->worker->pending_count += (size_t)change;
	if (pending->anywhere)
		pool->pending_anywhere += (size_t)change;
	if (pending->endpoint != SIZE_MAX)
		pool->endpoints[pending->endpoint].pending += (size_t)change;
	metrics_pending_calls(pool->worker->metrics, pool_labels(pool)->label, change);
}

static void count_outcome(const struct exchange *exchange, const char *outcome)
{
	metrics_pending(exchange->downstream->worker->metrics,
	        exchange->snapshot->backends[exchange->backend_index].label, outcome, 1);
}

void pending_count_from_nought(const struct pool *pool)
{
	static const char *const outcomes[] = {"served", "refused", "timed_out", "left"};
	metrics_pending_calls(pool->worker->metrics, pool_labels(pool)->label, 0);
	for (size_t i = 0; i < ARRAY_LEN(outcomes); i++)
		metrics_pending(pool->worker->metrics, pool_labels(pool)->label, outcomes[i], 0);
}

static void refuse(struct exchange *exchange, struct str detail)
{
	struct refusal refusal = {.reason = REASON_overloaded,
	        .detail = detail,
	        .policy_name = exchange->decision.policy_name,
	        .matched_rule = STR("circuit_breaker"),
	        .retry_after_ns = NS_PER_S};
	reject_exchange(exchange, &refusal);
}

void pending_refused(const struct exchange *exchange)
{
	count_outcome(exchange, "refused");
}

static void on_timer(struct timer *timer)
{
	struct exchange *exchange = CONTAINER_OF(timer, struct pending, timer)->exchange;
	pending_end(exchange, "timed_out");
	refuse(exchange, STR("the backend's connections were all busy for pending_timeout"));
}

// With it may go the last that held the pool, or it was opened for this call.
static void turn_away(struct exchange *exchange, struct pool *pool)
{
	bool serving = pool->serving;
	pool->serving = true;
	pending_refused(exchange);
	refuse(exchange, STR(POLICY_QUEUE_DETAIL));
	pool->serving = serving;
	if (pool->retired)
		pool_free_if_empty(pool);
}

void pending_begin(struct exchange *exchange, struct pool *pool, const char *cause, bool anew)
{
	size_t to_come = pool_room_to_come(pool, &exchange->choice);
	retry_attempt_over(exchange);
	if (pool->pending_count >= pool->pending_most + to_come) {
		turn_away(exchange, pool);
		return;
	}
	struct pending *pending = must_spare(sizeof(*pending));
	pending->exchange = exchange;
	pending->pool = pool;
	pending->endpoint = exchange->choice.bound ? exchange->choice.busy : SIZE_MAX;
	pending->anywhere = pool_takes_anywhere(pool, &exchange->choice);
	pending->cause = cause;
	pending->anew = anew;
	timer_init(&pending->timer, on_timer);
	turn_set_timer(exchange_turn(exchange), &pending->timer,
	        pool_config(pool)->circuit_breaker.pending_timeout_ns);
	exchange->pending = pending;
	list_push(&pool->pending, &pending->node);
	count_waiting(pending, 1);
	if (!exchange->choice.queued)
		worker_has_room(pool->worker);  // where an idle connection has to go first
	exchange->choice.queued = false;
}

static void leave(struct exchange *exchange, const char *outcome)
{
	struct pending *pending = exchange->pending;
	exchange->pending = NULL;
	list_remove(&pending->node);
	turn_stop_timer(exchange_turn(exchange), &pending->timer);
	count_waiting(pending, -1);
	count_outcome(exchange, outcome);
	spare_free(pending);
}

void pending_end(struct exchange *exchange, const char *outcome)
{
	if (!exchange->pending)
		return;
	struct pool *pool = exchange->pending->pool;
	leave(exchange, outcome);
	if (pool->retired)
		pool_free_if_empty(pool);
}

static void go_ahead(struct pending *pending)
{
	struct exchange *exchange = pending->exchange;
	const char *cause = pending->cause;
	bool anew = pending->anew;
	leave(exchange, "served");
	exchange->choice.queued = true;
	exchange_progress(exchange);
	if (!exchange->attempts)
		attempt_insist(exchange, cause, anew);
	else if (!attempt_begin(exchange, cause, anew) && !retry_lost(exchange, "connect_failed"))
		exchange_fail(exchange, 503, GRPC_UNAVAILABLE, "connect_failed");
}

// The first who would go anywhere and finds nothing tells of all.
static void serve(struct pool *pool)
{
	size_t left = pool->pending_count;
	pool->serving = true;
	LIST_EACH (&pool->pending, node) {
		struct pending *pending = LIST_ITEM(node, struct pending, node);
		if (!left--)
			break;
		struct exchange *exchange = pending->exchange;
		if (pool_has_room(pool, &exchange->choice)) {
			go_ahead(pending);
			continue;
		}
		pool_make_room(pool, &exchange->choice);
		if (pending->anywhere)
			break;
	}
	pool->serving = false;
	if (pool->retired)
		pool_free_if_empty(pool);
}

void pending_serve(struct dirty *room)
{
	struct worker *worker = CONTAINER_OF(room, struct worker, room);
	LIST_EACH (&worker->pools, node) {
		struct pool *pool = LIST_ITEM(node, struct pool, node);
		if (pool->pending_count)
			serve(pool);
	}
}
