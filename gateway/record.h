// The end of an exchange, told to everybody: the access line, the request metrics, the spans. The
// worker's thread; never waits.
#ifndef GATEWAY_RECORD_H
#define GATEWAY_RECORD_H

#include "gateway/exchange.h"

void record_exchange(struct exchange *exchange);

#endif
