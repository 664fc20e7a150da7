// A route's `retry`: what of an attempt that failed is worth another, and when that comes, with the
// body as replay.h has kept it. It stands behind attempt.h, whose further tries need no policy
// because the backend certainly did nothing. Bounded on every side: tries, time, memory for the
// body, and for each backend of a worker the part of its calls that may be repeats (the budget), so
// that a backend in trouble gets little more than its share. A call whose answer has begun is never
// repeated. Made with the forwarding of a call whose route asks for it, owned by its exchange; the
// worker's thread only.
#ifndef GATEWAY_RETRY_H
#define GATEWAY_RETRY_H

#include "gateway/exchange.h"

struct retry;

// Where the route wants none there is none, and the rest does nothing but drop the kept body.
void retry_begin(struct exchange *exchange);
void retry_settle(struct exchange *exchange);  // idempotent; an answer is there, no other is wanted
void retry_end(struct exchange *exchange);     // idempotent; all is over
// Between two attempts: no backend is asked, yet the call goes on.
bool retry_waits(const struct exchange *exchange);

void retry_attempt_begun(struct exchange *exchange);  // `per_try_timeout` runs from here
void retry_attempt_over(struct exchange *exchange);   // and not on while the next has to wait
// The backend's answer, whose head is on the stream. True: it is dropped, and another attempt comes
// by itself.
MUST_USE bool retry_answer(struct exchange *exchange, const struct stream *stream, bool end);
// No answer came, the backend is let go of, and it may have acted on the request. Likewise.
MUST_USE bool retry_lost(struct exchange *exchange, const char *cause);

#endif
