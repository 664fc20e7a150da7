// One compiled route: what it takes, whom, and how often. A pattern becomes a kind and a key, so
// that all routes that could take a call are found by a few probes (route_index.h). Paths here are
// as path_as_matched gives them. Owned by the policy, text in its arena; immutable; any thread.
//
// `*` every gRPC call · `user.*/*` every method of every service of the package `user`, and not of
// `user.v1`, which is another package · `user.Users/*` every method · `user.Users/Login` one
// method.
#ifndef POLICY_ROUTE_H
#define POLICY_ROUTE_H

#include "base/arena.h"
#include "conf/config.h"
#include "policy/bucket.h"
#include "policy/spiffe.h"
#include "policy/tally.h"

enum route_kind {
	ROUTE_PATH,     // key `/healthz`
	ROUTE_PREFIX,   // key `/api/`
	ROUTE_METHOD,   // key `/user.Users/Login`
	ROUTE_SERVICE,  // key `/user.Users/`
	ROUTE_PACKAGE,  // key `/user.`
	ROUTE_CALLS,    // key empty: every gRPC call
	ROUTE_KINDS
};

// For whom a limit has other numbers. The first that matches counts.
struct override_patterns {
	const struct spiffe_pattern *items;
	size_t count;
};

struct route_limit {
	const struct config_rate_limit *config;
	struct bucket_limit *bucket;  // NULL in a mere check
	struct str rule;              // `rate_limits[0]`
	struct str name;              // `edge/user.Users/Login/rate_limits[0]`; empty likewise
	struct str detail;            // `5/s burst 10 per identity`
	struct override_patterns whom;
	struct route_limit *overrides;  // of each pattern the limit as it is for them
};

struct call_limit {
	const struct config_call_limit *config;
	struct tally *tally;  // NULL in a mere check
	struct str rule;      // `call_limits[0]`
	struct str detail;    // `10 calls at once per identity`
	struct override_patterns whom;
	struct call_limit *overrides;
};

struct flow_limit {
	const struct config_flow_limit *config;
	struct bucket_limit *bucket;  // NULL in a mere check
	struct str rule;              // `flow_limits[0]`
	struct str detail;            // `100/s messages burst 200 of requests per identity`
	uint64_t piece;               // bytes that are paid for at once; 0: it counts messages
	struct override_patterns whom;
	struct flow_limit *overrides;
};

struct route {
	const struct config_route *config;
	enum route_kind kind;
	struct str key;
	struct str policy_name;  // `edge/user.Users/Login`
	bool full_methods;       // `per: [method]` tells calls apart by their full gRPC method
	struct spiffe_pattern *allow;
	size_t allow_count;
	struct route_limit *limits;
	size_t limit_count;
	size_t shared_count;  // of them, those with `store: redis`
	struct call_limit *call_limits;
	size_t call_limit_count;
	struct flow_limit *flow_limits;
	size_t flow_limit_count;
	size_t shadow_count;  // of limits of all kinds, those with `shadow: true`
};

// Which override is for the caller; as many as there are: none.
static inline size_t override_for(
        const struct override_patterns *whom, const struct spiffe_id *identity)
{
	size_t i = 0;
	while (i < whom->count && !spiffe_pattern_match(&whom->items[i], identity))
		i++;
	return i;
}

// Kind and key from a route's pattern; false with a sentence in *why.
MUST_USE bool route_parse(struct route *route, const struct config_route *config,
        struct arena *arena, const char **why);

// What to look for: the key of each kind that could take something; no text where none could. The
// prefix stands for all its own beginnings up to a slash.
struct route_keys {
	struct str of[ROUTE_KINDS];
};

// `path` as matched. Of a call on it; and of routes that could take all that `route` takes.
struct route_keys route_keys_of_call(struct str path, bool grpc);
struct route_keys route_keys_covering(const struct route *route);

// True when `earlier`, found by a key of `later`, leaves nothing to it: hosts and methods.
MUST_USE bool route_leaves_nothing(const struct route *earlier, const struct route *later);
MUST_USE bool route_takes_method(const struct route *route, struct str method);

#endif
