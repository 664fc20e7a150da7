// Inside of a policy: what compiling (compile.c, limits.c) makes and deciding (decide.c) reads.
// Owned by the policy, all but the buckets in its arena; immutable once compiled; any thread.
#ifndef POLICY_COMPILED_H
#define POLICY_COMPILED_H

#include "policy/policy.h"
#include "policy/route_index.h"

struct policy_listener {
	const struct config_listener *config;
	struct spiffe_pattern *patterns;
	size_t pattern_count;
	struct route *routes;
	size_t route_count;
	struct route_index index;
	struct tally *identities, *addresses;  // connections of each; NULL: not counted
};

struct policy {
	struct arena arena;
	struct policy_listener *listeners;
	size_t listener_count;
	struct policy_listener admin;      // patterns alone, and none without `admin.tls`
	struct policy_listener *backends;  // by backend: patterns alone, those of `tls`
};

// Rules, details and checks of one route's limits; `key` is the route's place in the file. For whom
// they have overrides is known already. Here and below.
void limits_compile(
        struct route *route, struct str key, struct arena *arena, struct config_problems *problems);
// The buckets, once nothing is wrong with the whole.
void limits_bind(
        struct route *route, struct bucket_store *store, struct arena *arena, int64_t now_ns);
void limits_unbind(struct route *route);

// What a limit's name begins with; ` per identity, method`; whether `many` splits no less than
// `few`, and `high` refills no slower than `low`.
void limits_name(const struct route *route, struct buffer *name);
void limits_describe_split(const struct config_split *split, struct buffer *text);
bool limits_split_within(const struct config_split *few, const struct config_split *many);
bool limits_rate_within(const struct config_rate *low, const struct config_rate *high);

// What tells calls apart.
struct limit_facts {
	const struct spiffe_id *identity;
	struct str full_method;  // `/pkg.Service/Method` as matched; empty where it is no gRPC call
	const struct policy_request *request;
};

// What tells this call from others under that limit; empty without `per`.
struct str limit_key(const struct config_split *split, const struct route *route,
        const struct limit_facts *facts, struct arena *arena);
// What the call costs, in tokens: from 1 to what the limit's `cost` says at most.
uint64_t limit_cost(
        const struct config_cost *cost, const struct limit_facts *facts, struct arena *arena);

// Places, in places.c: what compiling makes of ceilings on calls and connections.
void places_compile(
        struct route *route, struct str key, struct arena *arena, struct config_problems *problems);
void places_bind(struct policy_listener *listener, struct bucket_store *store, struct arena *arena);
void places_unbind(struct policy_listener *listener);
// Takes a place of every ceiling, or none; false where one is reached: the decision says which.
MUST_USE bool places_take(const struct route *route, const struct limit_facts *facts,
        struct arena *arena, struct policy_decision *decision);

// What calls pass on, in flows.c.
void flows_compile(
        struct route *route, struct str key, struct arena *arena, struct config_problems *problems);
void flows_bind(struct route *route, struct bucket_store *store, int64_t now_ns);
void flows_unbind(struct route *route);
void flows_assess(const struct route *route, const struct limit_facts *facts, struct arena *arena,
        struct policy_decision *decision);

// What a call pays, in charge.c. Takes the tokens, or with `take` false only looks for them; where
// limits are shared, looks and leaves the verdict open. False where a limit refuses: the decision
// says which.
MUST_USE bool charge(const struct route *route, const struct limit_facts *facts, bool take,
        int64_t now_ns, struct arena *arena, struct policy_decision *decision);

#endif
