// What passes from one side to the other (CONTRACT section 4): the request as the backend shall see
// it, the answer as the client shall. Builds heads in the exchange's arena; sends nothing. The
// client's own copies of the headers that carry our word (x-forwarded-client-cert in any spelling)
// never pass.
#ifndef GATEWAY_FORWARD_H
#define GATEWAY_FORWARD_H

#include "gateway/exchange.h"

void forward_request(struct exchange *exchange, struct head *out);
// What is left of the call's time, as grpc-timeout; again before another try.
void forward_deadline(struct exchange *exchange, struct head *out);
void forward_answer(struct exchange *exchange, const struct head *answer, struct head *out);
void forward_trailers(
        struct exchange *exchange, const struct fields *trailers, bool request, struct fields *out);

// Takes over or makes the ids of the request: x-request-id, and the trace of W3C traceparent.
void forward_identify(struct exchange *exchange, const struct head *request);

#endif
