#include "gateway/replay.h"

#include "gateway/attempt.h"

// Over HTTP/1.1 a backend tells nobody that it did nothing.
static bool may_be_wanted(const struct exchange *exchange)
{
	return exchange_route(exchange)->retry.tries ||
	       exchange_backend(exchange)->protocol == PROTOCOL_H2 ||
	       attempt_is_idempotent(exchange->request.method);
}

void replay_begin(struct exchange *exchange)
{
	const struct config_retry *retry = &exchange_route(exchange)->retry;
	struct replay *replay = &exchange->replay;
	bool bodiless = exchange->request_whole && !buffer_len(&exchange->up.bytes);
	replay->over = bodiless || exchange->tunnel || !may_be_wanted(exchange);
	replay->most = retry->tries ? (size_t)retry->buffer : REPLAY_BYTES;
	replay_keep(exchange, buffer_str(&exchange->up.bytes));
}

void replay_keep(struct exchange *exchange, struct str bytes)
{
	struct replay *replay = &exchange->replay;
	if (replay->over)
		return;
	if (buffer_len(&replay->bytes) + bytes.len > replay->most)
		replay_drop(exchange);
	else
		buffer_append_str(&replay->bytes, bytes);
}

void replay_drop(struct exchange *exchange)
{
	if (exchange->replay.over)
		return;
	buffer_fini(&exchange->replay.bytes);
	exchange->replay.over = true;
}

size_t replay_owed(struct exchange *exchange)
{
	struct replay *replay = &exchange->replay;
	uint64_t taken = exchange->up.total_taken;
	uint64_t owed = taken > replay->credited ? taken - replay->credited : 0;
	replay->credited += owed;
	return (size_t)owed;
}

bool replay_possible(const struct exchange *exchange)
{
	return !exchange->up.total_taken || !exchange->replay.over;
}

bool replay_rewind(struct exchange *exchange)
{
	struct body *up = &exchange->up;
	if (!up->total_taken)
		return true;
	if (!replay_possible(exchange))
		return false;
	buffer_clear(&up->bytes);
	buffer_append_str(&up->bytes, buffer_str(&exchange->replay.bytes));
	up->total_taken = 0;
	return true;
}
