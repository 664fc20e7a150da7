// One try of an exchange to have its request answered by a backend: which endpoint it goes to, and
// whether another may follow when it failed. No state of its own: all is the exchange's. The
// worker's thread only.
#ifndef GATEWAY_ATTEMPT_H
#define GATEWAY_ATTEMPT_H

#include "gateway/exchange.h"

// `cause`: why the attempt before failed; not looked at for the first. False when the connection
// could not even be begun.
MUST_USE bool attempt_begin(struct exchange *exchange, const char *cause);
// After an attempt ended so; false when there is no other, or it could not be begun.
MUST_USE bool attempt_again(struct exchange *exchange, enum stream_abort why, const char *cause);

// What the attempt under way tells of its endpoint: an answer's head (`whole`: and its end came
// with it, or now), a stream that ended so, or no answer in time.
void attempt_answered(const struct exchange *exchange, bool whole);
void attempt_aborted(const struct exchange *exchange, enum stream_abort why);
void attempt_timed_out(const struct exchange *exchange);

#endif
