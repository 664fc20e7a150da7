// The spans of an ended exchange: a SERVER span for the request and, where a backend was asked, a
// CLIENT span for that call, whose id the backend was told as its parent. Named and described as
// OpenTelemetry's semantic conventions for HTTP and RPC have it. What might be a secret stays out:
// the query, and every header but the user agent. The worker's thread; never waits.
#ifndef GATEWAY_SPAN_H
#define GATEWAY_SPAN_H

#include "gateway/outcome.h"

void span_write(const struct exchange *exchange, const struct outcome *outcome);

#endif
