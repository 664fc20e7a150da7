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

#endif
