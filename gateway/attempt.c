#include "gateway/attempt.h"

#include "base/clock.h"
#include "gateway/forward.h"
#include "gateway/http/grpc.h"
#include "gateway/pending.h"
#include "gateway/retry.h"
#include "gateway/upstream.h"

struct pool *attempt_pool(const struct exchange *exchange)
{
	return pool_of(exchange->downstream->worker, exchange->snapshot, exchange->backend_index,
	        POOL_OF_CALLS);
}

// The text whose callers stay together; empty when the request has none.
static struct str caller_key(const struct exchange *exchange, const struct config_backend *backend)
{
	const struct downstream *downstream = exchange->downstream;
	switch (backend->hash_by) {
	case HASH_BY_IDENTITY:
		return downstream->identity.id.text;
	case HASH_BY_SOURCE_IP:
		return str_from(downstream->source_ip);
	case HASH_BY_HEADER:
		if (str_eq(backend->hash_header, STR("host")))
			return exchange->host;
		return fields_get(&exchange->client->head.fields, backend->hash_header);
	}
	return STR("");
}

static void choose_by_caller(struct exchange *exchange, const struct config_backend *backend)
{
	if (backend->balance != BALANCE_HASH)
		return;
	struct str key = caller_key(exchange, backend);
	exchange->choice.hashed = key.len > 0;
	exchange->choice.hash = str_hash(key, 0);  // the same on every gateway of a fleet
}

static void prepare(struct exchange *exchange, const struct pool *pool)
{
	exchange->choice.client = exchange->downstream;
	choose_by_caller(exchange, pool_config(pool));
}

bool attempt_would_be_refused(struct exchange *exchange, struct pool *pool)
{
	if (!pool->ceiling)
		return false;
	prepare(exchange, pool);
	return pool_would_refuse(pool, &exchange->choice);
}

static void note(struct exchange *exchange, const char *cause)
{
	bool again = exchange->attempts++ > 0, waited = exchange->choice.queued;
	exchange->choice.queued = false;
	exchange->time.tried_ns = again || waited ? clock_monotonic_ns()
	                                          : exchange->time.forwarded_ns;
	exchange->time.connected_ns = 0;
	if (again || waited)
		forward_deadline(exchange, &exchange->request);
	if (!again)
		return;
	exchange->retries[exchange->attempts - 2].at_ns = exchange->time.tried_ns;
	exchange->retries[exchange->attempts - 2].cause = cause;
}

bool attempt_begin(struct exchange *exchange, const char *cause, bool anew)
{
	struct pool *pool = attempt_pool(exchange);
	if (!exchange->attempts)
		prepare(exchange, pool);
	// Where one connection was stale others may be; over HTTP/2 they say so beforehand.
	exchange->choice.anew = anew && pool_config(pool)->protocol == PROTOCOL_HTTP1;
	exchange->backend = upstream_open(pool, &exchange->choice, &exchange->endpoint);
	if (exchange->choice.full) {
		pending_begin(exchange, pool, cause, anew);
		return true;
	}
	note(exchange, cause);
	if (!exchange->backend)
		return false;
	exchange->backend->user = exchange;
	exchange->backend->source = &exchange->up;
	bool end = exchange->request_whole && body_done(&exchange->up) &&
	           !exchange->up.trailers.count && !exchange->tunnel;
	retry_attempt_begun(exchange);
	stream_send_head(exchange->backend, &exchange->request, end);
	return true;
}

void attempt_insist(struct exchange *exchange, const char *cause, bool anew)
{
	while (!attempt_begin(exchange, cause, anew)) {
		if (exchange->attempts >= EXCHANGE_TRIES_MAX) {
			exchange_fail(exchange, 503, GRPC_UNAVAILABLE, "connect_failed");
			return;
		}
		cause = "connect_failed";
		anew = true;
	}
}

bool attempt_is_idempotent(struct str method)
{
	static const char *const methods[] = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS"};
	for (size_t i = 0; i < ARRAY_LEN(methods); i++)
		if (str_eq(method, str_from(methods[i])))
			return true;
	return false;
}

// Another try is safe while the backend certainly did nothing, and harmless where the method says
// so.
static bool repeatable(const struct exchange *exchange, enum stream_abort why)
{
	// Behind the handshake a server may refuse our certificate, or have read the request first.
	bool kept_back = why == ABORT_TLS_FAILED && !exchange->time.connected_ns;
	return why == ABORT_UNPROCESSED || why == ABORT_DEADLINE || kept_back ||
	       (why == ABORT_UNANSWERED && attempt_is_idempotent(exchange->request.method));
}

bool attempt_again(struct exchange *exchange, enum stream_abort why, const char *cause)
{
	// Not of the pool, which a reload may have ended, and which to ask for would begin anew.
	size_t endpoints = exchange_backend(exchange)->endpoint_count;
	unsigned most = endpoints + 1 < EXCHANGE_TRIES_MAX ? (unsigned)endpoints + 1
	                                                   : EXCHANGE_TRIES_MAX;
	if (!repeatable(exchange, why) || exchange->client->head_sent ||
	        exchange->attempts >= most || !replay_rewind(exchange))
		return false;
	// A connection that was stale says nothing of its endpoint, where its callers belong, or
	// which may be the only one with room.
	bool keen = exchange->choice.hashed ||
	            exchange_backend(exchange)->circuit_breaker.connections;
	if (why == ABORT_UNANSWERED && keen)
		exchange->choice.tried_count--;
	return attempt_begin(exchange, cause, true);
}

// A caller's deadline says nothing of the endpoint, however short it was.
bool attempt_out_of_callers_time(const struct exchange *exchange)
{
	int64_t deadline_ns = exchange->time.deadline_ns;
	return deadline_ns && clock_monotonic_ns() + NS_PER_MS >= deadline_ns &&
	       deadline_ns - exchange->time.start_ns != exchange_route(exchange)->timeout_ns;
}

void attempt_answered(const struct exchange *exchange, bool whole)
{
	int status = exchange->backend_status;
	bool refused = status == 502 || status == 503 || status == 504;
	if (exchange->grpc && !refused && !whole)
		return;  // how it went stands at the end
	if (exchange->grpc)
		refused |= exchange->grpc_status == GRPC_UNAVAILABLE;
	upstream_report(exchange->backend, !refused);
}

void attempt_aborted(const struct exchange *exchange, enum stream_abort why)
{
	if (exchange->answer_whole || attempt_out_of_callers_time(exchange))
		return;
	switch (why) {
	case ABORT_UNANSWERED:
		return;  // the connection was stale
	case ABORT_UNPROCESSED:
		if (upstream_connected_ns(exchange->backend))
			return;  // the endpoint is about to go, and says so
		break;
	case ABORT_CANCELLED:
	case ABORT_CLOSED:
	case ABORT_BROKEN:
	case ABORT_EXHAUSTED:
	case ABORT_DEADLINE:
	case ABORT_TLS_FAILED:
		break;
	}
	upstream_report(exchange->backend, false);
}

void attempt_timed_out(const struct exchange *exchange)
{
	bool asked = exchange->request_whole && body_done(&exchange->up);
	// While more of the request is awaited, by us or from us, silence says nothing; over
	// HTTP/1.1 the last byte of a known length waits for the end.
	bool passed_on = exchange->request_whole && !exchange->up.held;
	if (passed_on || body_ready(&exchange->up) > 1)
		upstream_suspect(exchange->backend, exchange->time.tried_ns);
	if (asked && !exchange->backend_status && !attempt_out_of_callers_time(exchange))
		upstream_report(exchange->backend, false);
}
