// What may pass: the compiled routes, patterns and limits of one configuration, and the one
// function that decides. Immutable after policy_compile but for the buckets, which are shared over
// workers and reloads. `decide` is pure apart from taking tokens: no clock, no sockets, no TLS;
// `explain` runs the very same code. Default deny. Any thread.
#ifndef POLICY_POLICY_H
#define POLICY_POLICY_H

#include <stdint.h>

#include "base/arena.h"
#include "base/reason.h"
#include "base/str.h"
#include "conf/config.h"
#include "policy/bucket.h"
#include "policy/spiffe.h"
#include "policy/tally.h"

struct policy;

// Compiles every listener's patterns, routes and limits, and backends' patterns; problems (bad
// patterns, unreachable routes, `allow` patterns that no listener pattern can satisfy, limits that
// never fire) are added with their place. NULL when there was any. Borrows `config`, which must
// outlive it. Buckets come from `store`; NULL for a mere check.
MUST_USE struct policy *policy_compile(
        const struct config *config, struct bucket_store *store, struct config_problems *problems);
void policy_free(struct policy *policy);

// What is known of the caller since the handshake. Made once a connection, checked again with every
// request.
struct policy_peer {
	enum reason reason;  // REASON_NONE: the chain verified and carries exactly one URI SAN
	struct str detail;   // for the audit record
	struct str uri;      // the URI SAN as presented, where there is exactly one
};

// The verdict on the identity alone: whom the listener lets in. `alert` mode asks it inside the
// handshake.
struct policy_identity {
	enum reason reason;
	struct str detail;    // why, with the nearest pattern; in the caller's arena
	struct spiffe_id id;  // valid where reason is REASON_NONE or identity_not_allowed
};
// The listener that stands for `admin.tls`; of that one nothing but identities is asked.
#define POLICY_ADMIN SIZE_MAX
void policy_identify(const struct policy *policy, size_t listener, const struct policy_peer *peer,
        struct arena *arena, struct policy_identity *identity);
// The same of a server: whether it is one of the backend's, by `match_subject_alt_names`.
void policy_identify_server(const struct policy *policy, size_t backend,
        const struct policy_peer *peer, struct arena *arena, struct policy_identity *identity);

// Why a backend takes no more calls: it has as many under way as it may, or as many wait already
// for its connections.
enum policy_crowd { POLICY_UNCROWDED, POLICY_CALLS, POLICY_QUEUED };
#define POLICY_QUEUE_DETAIL "the backend's connections are all busy, and as many calls wait as may"

struct policy_request {
	bool grpc;           // content-type begins with application/grpc
	struct str method;   // HTTP method
	struct str path;     // normalised, without the query
	struct str host;     // without port, lower case
	bool websocket;      // asks for the upgrade
	bool too_large;      // announces a body over the listener's `limits.body_bytes`
	int64_t body_bytes;  // as announced; -1: that is not known
	bool wants_quotas;   // the caller is to be told what is left
	struct str source_ip;
	// The value of a header, for `per` and `cost`; repeated fields are joined with ',';
	// empty when absent.
	struct str (*header)(const void *headers, struct str name, struct arena *arena);
	const void *headers;
	// Whether the backend of the route found takes one more call, or why not; NULL: nobody
	// knows of any limit.
	enum policy_crowd (*room)(void *caller);
	void *caller;
};

// A limit with `store: redis`: whether its bucket has a token only the store of the fleet can say.
enum policy_answer { POLICY_UNANSWERED, POLICY_GRANTED, POLICY_REFUSED, POLICY_FAILED };

struct policy_claim {
	const struct config_rate_limit *config;
	struct str name;     // of the limit: the same in every gateway of the fleet
	struct str key;      // tells its buckets apart; arbitrary bytes
	uint64_t tokens;     // wanted, >= 1
	size_t limit_index;  // among the route's
	bool shadow;         // a refusal of its refuses nothing; wait_ns is not asked for
	// By whoever asks: the answer; how long the call could not pass where it is a refusal;
	// why there is none where that failed, a constant.
	enum policy_answer answer;
	int64_t wait_ns;
	const char *failure;
	struct bucket_left left;  // where it is granted, as far as is known
};

struct policy_toll;  // opaque: what the call still has to pay here

enum policy_limit { POLICY_RATE_LIMIT, POLICY_CALL_LIMIT, POLICY_FLOW_LIMIT };

// A limit with `shadow: true` that would have refused a call which passes, or kept it back.
struct policy_shadow {
	enum policy_limit kind;
	size_t limit_index;  // among the route's of that kind
	enum reason reason;
	struct str rule, detail;
	int64_t wait_ns;  // 0: not known
};

// What a caller has left of a limit that let it pass, or that refused it.
struct policy_quota {
	size_t limit_index;
	uint64_t burst;
	int64_t refill_ns;  // an empty bucket is full after that
	struct bucket_left left;
};

// The places a call takes up while it is under way.
struct policy_places {
	struct tally_place of[CONFIG_CALL_LIMITS_MAX];
};

// One of the route's `flow_limits`, as it is for this call.
struct policy_flow {
	const struct config_flow_limit *config;
	struct str rule, detail;
	struct bucket_claim claim;
	uint64_t piece;  // bytes that are paid for at once; 0: it counts messages
	bool exceeded;   // a shadow that has said so
};

struct policy_decision {
	enum reason reason;                // REASON_NONE: allowed
	const struct config_route *route;  // NULL when none matched
	size_t route_index;
	struct str policy_name;  // `edge/user.UserService/Login`: listener, and the route's pattern
	struct str matched_rule;      // `rate_limits[0]`, `allow`, `upgrade`,
	                              // `match_subject_alt_names`, `routes`
	struct str detail;            // for the audit record alone
	struct str rpc_method;        // `/pkg.Service/Method` of a gRPC call
	int64_t retry_after_ns;       // > 0 where reason is rate_limited
	int limit_index;              // which rate limit refused, -1 otherwise
	int call_limit_index;         // which call limit did, likewise
	enum policy_crowd crowd;      // why the backend had no room; no limit refused
	struct policy_places places;  // policy_leave gives them back
	struct policy_quota *quotas;  // where the request wants them
	size_t quota_count;
	struct policy_shadow *shadows;  // NULL: the route has none
	size_t shadow_count;            // each limit is there once at most
	// Not 0 where the verdict is still open: `reason` is REASON_NONE, and no token was taken.
	size_t claim_count;
	struct policy_claim *claims;
	struct policy_toll *toll;
	struct policy_flow *flows;  // where the call passes: what is still to be paid on the way
	size_t flow_count;
};

// The whole verdict in order: identity, route, access list, what the route takes, places of
// `call_limits`, room at the backend, limits. A refusal takes no token and no place. Text lives in
// `arena` or in the policy. `now_ns` is monotonic.
void policy_decide(const struct policy *policy, size_t listener,
        const struct policy_identity *identity, const struct policy_request *request,
        int64_t now_ns, struct arena *arena, struct policy_decision *decision);
// Closes an open verdict, once every claim is answered or one is refused, which ends the matter:
// takes the tokens of this process's buckets, those among them that stand in for claims that
// failed. Where that refuses, the tokens that were granted are the asker's to give back. The
// policy, and the arena and request of the decision, are those of policy_decide and still alive.
void policy_settle(struct policy_decision *decision, int64_t now_ns, struct arena *arena);

// Pays for a message of a call that passed, or for a piece of its body: how long that has to wait,
// and whether it may not pass at all (then: how long no other could, at least). What waits is paid
// for, first come first served; but for what would wait longer than the `left_ns` that the call
// has. It would take the tokens of others, and pass never. Shadows that would have kept it back for
// longer join those of the decision, each the first time that it does.
struct policy_passage {
	int64_t wait_ns;
	bool refused;
	bool too_late;
	size_t by;          // which of the flows; where wait_ns > 0
	uint32_t exceeded;  // those shadows: a bit for each of the flows
};
MUST_USE struct policy_passage policy_pass(struct policy_decision *decision,
        enum config_flow_direction direction, bool messages, uint64_t count, int64_t left_ns,
        int64_t now_ns);

// The verdict that there is no room: where the backend filled up while claims were open.
void policy_refuse_crowded(struct policy_decision *decision, enum policy_crowd crowd);

// The call is over, or is refused after all: then no limit was tried out on it. Idempotent.
void policy_leave(struct policy_decision *decision);

// Counts a connection of the listener with others of its address, or of its identity: past the
// ceiling a few more are told so, and beyond those it is not even counted. Who is told takes
// nobody's room; who is `served` already is counted past any ceiling.
enum policy_room { POLICY_ROOM, POLICY_FULL, POLICY_OVERFULL };
static inline uint64_t policy_told(uint64_t ceiling)
{
	return ceiling / 8 + 16;
}
MUST_USE enum policy_room policy_count_address(const struct policy *policy, size_t listener,
        struct str source_ip, struct tally_place *place);
MUST_USE enum policy_room policy_count_identity(const struct policy *policy, size_t listener,
        const struct spiffe_id *identity, bool served, struct tally_place *place);

#endif
