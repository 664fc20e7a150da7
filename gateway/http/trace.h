// W3C Trace Context (level 2, which reads level 1): what a caller's `traceparent` and `tracestate`
// say. Nothing of them is believed before it is proven well-formed; what is not starts a new trace.
// A version above 00 is read as 00 and whatever follows is left behind, as section 3.2.4 asks; of
// the flags only the two that are known pass. Pure; text is borrowed from the head or made in the
// arena; any thread.
#ifndef GATEWAY_HTTP_TRACE_H
#define GATEWAY_HTTP_TRACE_H

#include <stdbool.h>

#include "base/check.h"
#include "gateway/http/head.h"

enum {
	TRACE_SAMPLED = 1,
	TRACE_RANDOM = 2,  // level 2: the trace id's last seven bytes are random
};

enum {
	TRACE_MEMBERS_MAX = 32,
	TRACE_STATE_BYTES_MAX = 512,   // passed on; as many as section 3.3.1.5 wants at least
	TRACE_MEMBER_BYTES_MAX = 128,  // where that is too much, longer members go first
};

struct trace_parent {
	struct str trace_id, parent_id;  // lower-case hex, 32 and 16 of it
	unsigned flags;
};

// False when it is none.
MUST_USE bool trace_parent_parse(struct str text, struct trace_parent *parent);
// Of a request's fields: exactly one, and a good one.
MUST_USE bool trace_parent_of(
        const struct fields *fields, struct arena *arena, struct trace_parent *parent);

// What is passed on of all `tracestate` fields; empty when there is none or any member is broken.
struct str trace_state_of(const struct fields *fields, struct arena *arena);

// Whether a new trace is recorded: the same answer from everybody who asks for this id and ratio
// (OpenTelemetry's consistent sampling: the id's last 56 bits against a threshold).
bool trace_id_sampled(struct str trace_id, double ratio);

#endif
