// Asks one endpoint again and again whether it is well: with a GET, gRPC's Health/Check, or a
// connection alone, each over a connection of its own and within a timeout, with the backend's own
// protocol. What it hears goes to the endpoint. Each worker asks for itself, at moments that chance
// spreads. Owned by the pool of the configuration in force; the worker's thread only.
#ifndef GATEWAY_HEALTH_CHECK_H
#define GATEWAY_HEALTH_CHECK_H

#include "gateway/pool.h"

struct health_check;

// For a pool whose configuration has checks.
MUST_USE struct health_check *health_check_start(struct pool *pool, size_t endpoint);
// What is under way is broken off and says nothing; its connection counts as one of the worker's
// upstreams until it is closed.
void health_check_stop(struct health_check *check);  // may be NULL

#endif
