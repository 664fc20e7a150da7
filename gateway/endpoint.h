// What a worker knows of one endpoint of a backend: one address, whatever configuration names it.
// Pools share it: that of the configuration in force and those of replaced ones that still have
// calls under way, so that a reload forgets nothing of an endpoint that stays. Counted by the pools
// that hold it, freed by the last. The worker's thread only.
#ifndef GATEWAY_ENDPOINT_H
#define GATEWAY_ENDPOINT_H

#include "base/check.h"
#include "conf/config.h"

struct endpoint {
	size_t holders;
	struct config_address address;  // without its text
	uint32_t active;                // requests under way
};

MUST_USE struct endpoint *endpoint_new(const struct config_address *address);
struct endpoint *endpoint_ref(struct endpoint *endpoint);
void endpoint_unref(struct endpoint *endpoint);

#endif
