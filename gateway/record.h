// The access line: one JSON object for every request that was answered or broken off, handed to the
// audit writer's thread. Also the request metrics, which are counted at the same moment. The
// worker's thread; never waits.
#ifndef GATEWAY_RECORD_H
#define GATEWAY_RECORD_H

#include "gateway/exchange.h"

void record_exchange(struct exchange *exchange);

#endif
