// One question to an endpoint whether it is well, over a connection that is made for it. It tells
// its owner once, unless it is dropped before; then it goes by itself, as the dead of a turn do. No
// deadline of its own: the owner drops it. Counts as one of the worker's upstreams until it is
// gone. The worker's thread only.
#ifndef GATEWAY_HEALTH_PROBE_H
#define GATEWAY_HEALTH_PROBE_H

#include "gateway/pool.h"

struct health_probe;

// `concluded` is told the verdict, and why when it is a bad one: a constant word. The pool is
// needed until then, or until it is dropped. NULL when the connection could not even be begun;
// nothing is told then.
MUST_USE struct health_probe *health_probe_start(const struct pool *pool, size_t endpoint,
        void (*concluded)(void *owner, bool good, const char *why), void *owner);
void health_probe_drop(struct health_probe *probe);  // nothing will be told

#endif
