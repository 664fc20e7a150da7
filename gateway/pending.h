// Calls that wait for a connection: of a backend whose `circuit_breaker` lets no more be made while
// all have their hands full. They stand in a queue of their pool, first come first served, and are
// looked through at the end of a turn in which a connection got room, was closed, or an endpoint
// came back. Bounded: by number, then whoever comes is refused at once; by time, then whoever waits
// is. A call that waits has no backend and holds no connection; its body stays where flow control
// keeps it. Owned by its exchange, which may end at any time; the worker's thread only.
#ifndef GATEWAY_PENDING_H
#define GATEWAY_PENDING_H

#include "gateway/exchange.h"

void pending_count_from_nought(const struct pool *pool);  // or who rates would miss the first
// Into the queue, or refused; `cause` and `anew` are those of the attempt it waits with.
void pending_begin(struct exchange *exchange, struct pool *pool, const char *cause, bool anew);
// Out of it; idempotent. `outcome`: a word for the metrics.
void pending_end(struct exchange *exchange, const char *outcome);
void pending_refused(const struct exchange *exchange);  // before it came to that
// Those for whom there is room now; the worker's `room`.
void pending_serve(struct dirty *room);

#endif
