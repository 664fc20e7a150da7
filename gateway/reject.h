// The one place every refusal goes through: it answers, writes the audit record and counts the
// metric (CONTRACT section 3). The answer tells the caller the reason word and nothing about trust
// or policy; the detail is for the record alone. Failures of a backend are not refusals and do not
// come here. The worker's thread.
#ifndef GATEWAY_REJECT_H
#define GATEWAY_REJECT_H

#include "gateway/exchange.h"

struct refusal {
	enum reason reason;
	int status;  // HTTP; 0: the reason's own
	struct str detail, policy_name, matched_rule;
	int64_t retry_after_ns;
};

// Records what shadows of the exchange would have refused or kept back, from that one on: nobody
// is.
void reject_shadows(struct exchange *exchange, size_t first);
// Refuses a request whose answer has not begun. What a backend was asked meanwhile is cancelled.
void reject_exchange(struct exchange *exchange, const struct refusal *refusal);
// Refuses a call whose answer has begun: records it, and puts what a gRPC client is told into the
// trailers, where it can be (else NULL).
void reject_midway(
        struct exchange *exchange, const struct refusal *refusal, struct fields *trailers);
// Records a refusal that the protocol itself answers (RST_STREAM, a broken-off answer).
void reject_unanswered(struct downstream *downstream, const struct stream *stream,
        enum reason reason, struct str detail);
// Refuses a connection as such: no request is there to answer.
void reject_connection(struct downstream *downstream, enum reason reason, struct str detail);

#endif
