// What a worker knows of one endpoint of a backend: one address, under one name, whatever
// configuration names it. Pools share it: that of the configuration in force and those of replaced
// ones that still have calls under way, so that a reload forgets nothing of an endpoint that stays,
// or that comes back meanwhile. Tells log and metrics when the endpoint goes out and comes back.
// Counted by the pools that hold it, freed by the last. The worker's thread only.
#ifndef GATEWAY_ENDPOINT_H
#define GATEWAY_ENDPOINT_H

#include "gateway/health.h"
#include "gateway/worker.h"

struct endpoint {
	size_t holders;
	struct worker *worker;
	const char *backend, *label;    // interned; the holders' snapshots keep them
	struct config_address address;  // without its text
	uint32_t active;                // requests under way
	uint32_t connections, closing;  // open or being opened; of them, being closed
	struct health health;
	struct timer back;  // the ejection's end
};

MUST_USE struct endpoint *endpoint_new(struct worker *worker, const char *backend,
        const char *label, const struct config_address *address);
struct endpoint *endpoint_ref(struct endpoint *endpoint);
void endpoint_unref(struct endpoint *endpoint);

void endpoint_eject(struct endpoint *endpoint, const struct config_ejection *ejection);
void endpoint_unejected(struct endpoint *endpoint);  // nobody ejects any more
// A check said that the endpoint is well, or why not: a constant word.
void endpoint_checked(struct endpoint *endpoint, const struct config_health_check *config,
        bool good, const char *why);
void endpoint_unchecked(struct endpoint *endpoint);  // nobody asks any more
// Nothing is told any more: the loop ends.
void endpoint_rest(struct endpoint *endpoint);

#endif
