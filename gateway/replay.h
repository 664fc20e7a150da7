// The request's body as it came, from its first byte and while it fits, so that another attempt can
// send it again. A backend that is about to go refuses calls whose bodies it has begun to take:
// kept for every call of which that can happen, and dropped once there is an answer. How much is
// kept is the route's `retry.buffer`, or a little where it has none. Also how much of what was
// taken is owed to the client's window: a byte that is sent again was credited the first time. Part
// of its exchange; the worker's thread only. Never refuses bytes: what does not fit is not
// repeated.
#ifndef GATEWAY_REPLAY_H
#define GATEWAY_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"

struct exchange;

enum { REPLAY_BYTES = 16 * 1024 };  // where the route does not say: most calls of gRPC

struct replay {
	struct buffer bytes;
	size_t most;
	bool over;  // nothing is kept any more, or never was
	uint64_t credited;
};

void replay_begin(struct exchange *exchange);  // as the call is forwarded, with what is there
void replay_keep(struct exchange *exchange, struct str bytes);  // nothing before the begin
void replay_drop(struct exchange *exchange);                    // idempotent
size_t replay_owed(struct exchange *exchange);                  // and not told yet
bool replay_possible(const struct exchange *exchange);
// Whether the request can be sent once more from its first byte; then it stands there.
MUST_USE bool replay_rewind(struct exchange *exchange);

#endif
