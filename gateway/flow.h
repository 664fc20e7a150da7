// What a call may pass on by time (`flow_limits` of its route), in both directions. What has come
// and is not paid for stays in its body, held back from whoever sends it on; it is paid for message
// by message and piece by piece, in order, and passes when the policy says. The rest is flow
// control: what does not leave gives no credit, so its sender stops. A call that may not wait is
// ended with a refusal, between two messages where that can be. Made when a call of such a route
// is forwarded, in the exchange's arena; the worker's thread only. It buffers nothing of its own.
#ifndef GATEWAY_FLOW_H
#define GATEWAY_FLOW_H

#include "gateway/exchange.h"

struct flow;

// Behind the doors of the inline functions below, which cost a route without limits one look.
void flow_start(struct exchange *exchange);
void flow_take(struct flow *flow, bool request, size_t count);
void flow_stop(struct flow *flow, bool request);
void flow_drop(struct exchange *exchange);
bool flow_pauses(const struct flow *flow);

// The call has been forwarded; what has come of its body counts, too.
static inline void flow_begin(struct exchange *exchange)
{
	if (exchange->decision.flow_count)
		flow_start(exchange);
}

// So many bytes were added to a body. What may be sent now is for the caller to wake, unless there
// is a flow, which does.
static inline bool flow_takes(struct exchange *exchange, bool request, size_t count)
{
	if (!exchange->flow)
		return false;
	flow_take(exchange->flow, request, count);
	return true;
}

// Nobody wants that body any more.
static inline void flow_end(struct exchange *exchange, bool request)
{
	if (exchange->flow)
		flow_stop(exchange->flow, request);
}

// The call's time is over: it does not wait for what is held of its answer, which so is not whole.
static inline void flow_give_up(struct exchange *exchange)
{
	if (exchange->flow)
		flow_drop(exchange);
}

// It is our turn, and nobody else's.
static inline bool flow_waits(const struct exchange *exchange)
{
	return exchange->flow && flow_pauses(exchange->flow);
}

#endif
