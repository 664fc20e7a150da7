// One try of an exchange to have its request answered by a backend: which endpoint it goes to, and
// whether another may follow when it failed. No state of its own: all is the exchange's. The
// worker's thread only.
#ifndef GATEWAY_ATTEMPT_H
#define GATEWAY_ATTEMPT_H

#include "gateway/exchange.h"

struct pool *attempt_pool(const struct exchange *exchange);  // of the backend that was chosen
bool attempt_is_idempotent(struct str method);               // RFC 9110, 9.2.2, but for TRACE

// Whether the first would find no connection, nor a place to wait for one.
MUST_USE bool attempt_would_be_refused(struct exchange *exchange, struct pool *pool);
// `cause`: why the attempt before failed; not looked at for the first. `anew`: with its connection,
// and where one was stale others may be. Where there is no connection for it the call waits
// (pending.h), or is refused by now. False when a connection could not even be begun.
MUST_USE bool attempt_begin(struct exchange *exchange, const char *cause, bool anew);
// The same until one could, or the call has failed.
void attempt_insist(struct exchange *exchange, const char *cause, bool anew);
// After an attempt ended so; false when there is no other, or it could not be begun.
MUST_USE bool attempt_again(struct exchange *exchange, enum stream_abort why, const char *cause);

// What the attempt under way tells of its endpoint: an answer's head (`whole`: and its end came
// with it, or now), a stream that ended so, or no answer in time.
void attempt_answered(const struct exchange *exchange, bool whole);
void attempt_aborted(const struct exchange *exchange, enum stream_abort why);
void attempt_timed_out(const struct exchange *exchange);
// Whether the deadline that has passed is the caller's own, not the route's.
bool attempt_out_of_callers_time(const struct exchange *exchange);

#endif
