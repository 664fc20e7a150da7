// What a person wants to know at a glance once the gateway serves: a few lines in the log about
// what listens and whom it lets in, which certificates it shows and till when, whom it trusts,
// where it writes, and how it is kept in. And the problems of a configuration, each an event. The
// main thread; reads the gateway and changes nothing.
#ifndef GATEWAY_ANNOUNCE_H
#define GATEWAY_ANNOUNCE_H

#include "gateway/gateway.h"

void announce(const struct gateway *gateway);

// Endpoints that are names without an address, a warning each; of very many the first.
void announce_unknown(const struct config *config);

// What of the configuration in force is hardly meant, a warning each; of very many the first.
void announce_doubts(const struct config *config);

// Why a configuration was refused, one event each; of very many the first.
void announce_problems(const struct config_problems *problems);
// The same before anything serves: as `check` writes them; as events where the log is JSON.
void announce_no_start(const struct config_problems *problems);

#endif
