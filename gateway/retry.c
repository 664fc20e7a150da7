#include "gateway/retry.h"

#include "base/clock.h"
#include "base/spare.h"
#include "gateway/attempt.h"
#include "gateway/flow.h"
#include "gateway/http/grpc.h"

enum { GROWTH_MAX = 10 };  // a wait is at most so many times the first

struct retry {
	struct exchange *exchange;
	const struct config_retry *config;
	struct pool *pool;   // held once this call is a repeat, and counted there
	struct timer timer;  // of the try under way, or of the wait for the next
	bool waits;
	bool settled;   // there is an answer
	bool answered;  // the last attempt was, so its connection is good for more
	unsigned repeats;
	const char *cause;  // of the next attempt
};

static void on_timer(struct timer *timer);

static struct turn *turn_of(const struct retry *retry)
{
	return exchange_turn(retry->exchange);
}

void retry_begin(struct exchange *exchange)
{
	const struct config_retry *config = &exchange_route(exchange)->retry;
	if (!config->tries || exchange->tunnel)
		return;
	struct retry *retry = must_spare(sizeof(*retry));
	retry->exchange = exchange;
	retry->config = config;
	timer_init(&retry->timer, on_timer);
	exchange->retry = retry;
}

static void stop_waiting(struct retry *retry)
{
	if (retry->waits)
		retry->pool->waiting--;
	retry->waits = false;
}

void retry_settle(struct exchange *exchange)
{
	struct retry *retry = exchange->retry;
	replay_drop(exchange);
	if (!retry)
		return;
	turn_stop_timer(turn_of(retry), &retry->timer);
	stop_waiting(retry);
	if (retry->pool)
		pool_repeat_ends(retry->pool);
	retry->pool = NULL;
	retry->settled = true;
}

void retry_end(struct exchange *exchange)
{
	retry_settle(exchange);
	spare_free(exchange->retry);
	exchange->retry = NULL;
}

bool retry_waits(const struct exchange *exchange)
{
	return exchange->retry && exchange->retry->waits;
}

void retry_attempt_begun(struct exchange *exchange)
{
	struct retry *retry = exchange->retry;
	if (!retry || retry->settled)
		return;
	turn_stop_timer(turn_of(retry), &retry->timer);
	if (retry->config->per_try_timeout_ns)
		turn_set_timer(turn_of(retry), &retry->timer, retry->config->per_try_timeout_ns);
}

void retry_attempt_over(struct exchange *exchange)
{
	if (exchange->retry && !exchange->retry->waits)
		turn_stop_timer(exchange_turn(exchange), &exchange->retry->timer);
}

// Whoever asks for repeats of gRPC calls, POSTs all, means them.
static bool repeatable(const struct retry *retry)
{
	const struct exchange *exchange = retry->exchange;
	return exchange->grpc || retry->config->non_idempotent ||
	       attempt_is_idempotent(exchange->request.method);
}

static bool another_may_come(struct retry *retry, int64_t after_ns)
{
	struct exchange *exchange = retry->exchange;
	int64_t deadline_ns = exchange->time.deadline_ns;
	if (deadline_ns && clock_monotonic_ns() + after_ns >= deadline_ns)
		return false;
	if (retry->settled || exchange->attempts >= retry->config->tries ||
	        exchange->client->head_sent || !repeatable(retry) || !replay_possible(exchange))
		return false;
	if (retry->pool)
		return true;
	struct pool *pool = attempt_pool(exchange);
	if (!pool_repeat_begins(pool, (unsigned)retry->config->budget))
		return false;
	retry->pool = pool;
	return true;
}

// At random up to a bound that doubles: callers that failed together do not come back together.
static int64_t wait_ns(const struct retry *retry)
{
	uint64_t most_ns = (uint64_t)retry->config->backoff_ns;
	uint64_t growth = UINT64_C(1) << retry->repeats;
	most_ns *= growth < GROWTH_MAX ? growth : GROWTH_MAX;
	uint64_t random = worker_random(retry->exchange->downstream->worker);
	return most_ns ? 1 + (int64_t)(random % most_ns) : 1;
}

static void come_again(struct retry *retry, const char *cause, int64_t after_ns)
{
	struct exchange *exchange = retry->exchange;
	// Now, for what still comes of the body may be more than is kept.
	CHECK(replay_rewind(exchange));  // another_may_come has seen to it
	metrics_retry(exchange->downstream->worker->metrics,
	        exchange->snapshot->backends[exchange->backend_index].label, exchange->endpoint,
	        cause);
	retry->cause = cause;
	retry->repeats++;
	retry->answered = exchange->backend_status > 0;
	exchange->backend_status = 0;
	retry->waits = true;
	retry->pool->waiting++;
	turn_stop_timer(turn_of(retry), &retry->timer);
	turn_set_timer(turn_of(retry), &retry->timer, after_ns);
}

// gRPC A6: how long the server wants to be left alone; not a number, or less than nothing: for
// good. False: another attempt is not wanted, or not in a time that is worth waiting for.
static bool obey_pushback(struct retry *retry, const struct fields *fields, int64_t *after_ns)
{
	struct str asked = fields_get(fields, STR("grpc-retry-pushback-ms"));
	uint64_t most_ms = (uint64_t)(retry->config->backoff_ns / NS_PER_MS) * GROWTH_MAX, asked_ms;
	*after_ns = wait_ns(retry);
	if (!retry->exchange->grpc || !asked.len)
		return true;
	if (!str_to_u64(asked, most_ms, &asked_ms))
		return false;
	*after_ns = (int64_t)asked_ms * NS_PER_MS + 1;
	return true;
}

static const char *cause_of_answer(
        const struct retry *retry, const struct stream *stream, bool end, int *grpc_status)
{
	const struct config_retry *config = retry->config;
	const struct fields *fields = &stream->head.fields;
	unsigned status = (unsigned)stream->head.status;
	uint64_t code;
	if (status >= RETRY_STATUS_FIRST && status <= RETRY_STATUS_LAST) {
		status -= RETRY_STATUS_FIRST;
		if (config->statuses[status / 64] >> status % 64 & 1)
			return "retriable_status";
	}
	if (!retry->exchange->grpc || !end ||
	        !str_to_u64(fields_get(fields, STR("grpc-status")), RETRY_GRPC_LAST, &code))
		return NULL;
	*grpc_status = (int)code;
	return config->grpc_statuses >> code & 1 ? "retriable_grpc_status" : NULL;
}

bool retry_answer(struct exchange *exchange, const struct stream *stream, bool end)
{
	struct retry *retry = exchange->retry;
	int64_t after_ns;
	if (!retry || retry->settled) {
		replay_drop(exchange);
		return false;
	}
	int grpc_status = exchange->grpc_status;
	const char *cause = cause_of_answer(retry, stream, end, &grpc_status);
	if (!cause || !obey_pushback(retry, &stream->head.fields, &after_ns) ||
	        !another_may_come(retry, after_ns)) {
		retry_settle(exchange);
		return false;
	}
	exchange->backend_status = stream->head.status;
	exchange->grpc_status = grpc_status;
	attempt_answered(exchange, end);
	exchange->grpc_status = -1;
	exchange_let_go_of_backend(exchange);
	come_again(retry, cause, after_ns);
	return true;
}

bool retry_lost(struct exchange *exchange, const char *cause)
{
	struct retry *retry = exchange->retry;
	int64_t after_ns = retry ? wait_ns(retry) : 0;
	if (!retry || !retry->config->reset || !another_may_come(retry, after_ns))
		return false;
	come_again(retry, cause, after_ns);
	return true;
}

static void try_again(struct retry *retry)
{
	struct exchange *exchange = retry->exchange;
	const char *cause = retry->cause;
	stop_waiting(retry);
	exchange_progress(exchange);
	if (attempt_begin(exchange, cause, !retry->answered))
		return;
	if (!retry_lost(exchange, "connect_failed"))
		exchange_fail(exchange, 503, GRPC_UNAVAILABLE, "connect_failed");
}

// The try under way has had its time.
static void give_up(struct retry *retry)
{
	static const char cause[] = "per_try_timeout";
	struct exchange *exchange = retry->exchange;
	int64_t after_ns = wait_ns(retry);
	if (flow_waits(exchange)) {  // it was our turn: the try has its time anew
		retry_attempt_begun(exchange);
		return;
	}
	if (!retry->config->timeout || !another_may_come(retry, after_ns)) {
		exchange_fail(exchange, 504, GRPC_DEADLINE_EXCEEDED, cause);
		return;
	}
	attempt_timed_out(exchange);
	exchange_let_go_of_backend(exchange);
	come_again(retry, cause, after_ns);
}

static void on_timer(struct timer *timer)
{
	struct retry *retry = CONTAINER_OF(timer, struct retry, timer);
	if (retry->waits)
		try_again(retry);
	else
		give_up(retry);
}
