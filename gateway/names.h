// Keeps the names of backends fresh: each is looked up again when what is known of it has lived out
// its TTL, and says so when its addresses are others. A name that cannot be resolved keeps those it
// has; one that has none yet is asked for each second. The log tells once, and once more when it is
// well. So many are asked at a time as a name server's socket has room for. It changes no
// configuration: its owner makes another one by what names_find tells. Owned by the gateway; the
// main thread only.
#ifndef GATEWAY_NAMES_H
#define GATEWAY_NAMES_H

#include "conf/config.h"
#include "conf/endpoints.h"
#include "gateway/net/resolver.h"

enum names_result { NAMES_UNCHANGED, NAMES_CHANGED, NAMES_FAILED, NAMES_RESULTS };

struct names {
	struct turn *turn;
	struct resolver resolver;
	struct config *config;  // holds it; NULL: ended
	struct list all;
	struct list due;  // to be asked when there is room
	size_t asked;     // and not answered yet
	bool asking;
	struct timer settle;  // several that change at once are one change
	void (*changed)(struct names *names);
	uint64_t lookups[NAMES_RESULTS];
};

void names_begin(struct names *names, struct turn *turn, void (*changed)(struct names *names));
// The names of this configuration, as they were resolved when it was loaded, and no others. Where
// it keeps addresses of the one before it, or has none of some, all are asked at once.
void names_use(struct names *names, struct config *config);
void names_end(struct names *names);  // may be called twice, or before the begin

// endpoints.h: `argument` is the names.
bool names_find(
        const struct config_address *present, struct endpoints_of_name *found, void *argument);

#endif
