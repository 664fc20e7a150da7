// The access line: one JSON object for every request that was answered or broken off (the fields:
// base/access.def), handed to the audit writer's thread. The worker's thread; never waits.
#ifndef GATEWAY_ACCESS_H
#define GATEWAY_ACCESS_H

#include "gateway/outcome.h"

void access_write(const struct exchange *exchange, const struct outcome *outcome);

#endif
