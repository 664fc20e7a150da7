// What a route of a configuration says: which requests, whose, how many, and what becomes of them.
// Part of config.h; memory is the configuration's, immutable. Any thread.
#ifndef CONF_CONFIG_ROUTE_H
#define CONF_CONFIG_ROUTE_H

#include <stdbool.h>

#include "conf/config_word.h"

// Where a bucket lives: in this process, or for the whole fleet in Redis.
enum config_store { STORE_LOCAL, STORE_REDIS };
// What counts while the shared store does not answer: a bucket of this process, nothing, or a no.
enum config_store_failure { STORE_FAILURE_LOCAL, STORE_FAILURE_ALLOW, STORE_FAILURE_DENY };

enum config_per { PER_IDENTITY, PER_METHOD, PER_SOURCE_IP, PER_HEADER };

// What tells callers apart: one count for each combination; none: one for all.
struct config_split {
	struct {
		enum config_per kind;
		struct str header;  // lower case, for PER_HEADER
	} per[8];
	size_t per_count;
	struct config_texts per_names;  // the same as written
	uint64_t max_keys;              // >= 1
};

struct config_rate {
	uint64_t count;     // tokens refilled ...
	int64_t period_ns;  // ... in this time
};

// Tokens that a call costs: by a header, or by the length of its body.
struct config_cost {
	struct config_text header;  // lower case; empty: the body counts
	uint64_t body;              // bytes that one token is for; 0: the header counts
	uint64_t max;               // 0: there is no `cost`, and every call costs one token
};

struct config_override;

struct config_rate_limit {
	struct config_rate rate;
	uint64_t burst;  // >= 1
	struct config_split split;
	enum config_store store;
	enum config_store_failure on_failure;
	uint64_t lease;  // >= 1: tokens taken from a shared store at once
	uint64_t fleet;  // >= 1: gateways among which a bucket of this process is divided
	struct config_cost cost;
	bool shadow;  // what it would refuse is counted and recorded, and passes
	struct config_override *overrides;  // the first that matches the caller counts
	size_t override_count;
	struct config_mark mark;
};

// Other numbers for some identities: the whole limit as it is for them, itself without overrides.
struct config_override {
	struct config_rate_limit limit;
	struct config_text identity;  // SPIFFE pattern
};

enum { CONFIG_CALL_LIMITS_MAX = 4, CONFIG_FLOW_LIMITS_MAX = 8 };

enum config_flow_direction { FLOW_REQUESTS, FLOW_RESPONSES };
enum config_excess { EXCESS_PAUSE, EXCESS_REJECT };

struct config_flow_override;

// What a call may send on by time: bytes of its body, or messages of a gRPC call.
struct config_flow_limit {
	struct config_rate bytes, messages;  // of one of them the count is 0
	uint64_t burst;                      // >= 1
	enum config_flow_direction direction;
	enum config_excess on_excess;
	struct config_split split;
	bool shadow;  // what it would keep back is counted and recorded, and passes
	struct config_flow_override *overrides;
	size_t override_count;
	struct config_mark mark;
};

struct config_flow_override {
	struct config_flow_limit limit;
	struct config_text identity;
};

struct config_call_override;

// Calls that may be under way at once.
struct config_call_limit {
	uint64_t calls;  // >= 1
	struct config_split split;
	bool shadow;  // what it would refuse is counted and recorded, and passes
	struct config_call_override *overrides;
	size_t override_count;
	struct config_mark mark;
};

struct config_call_override {
	struct config_call_limit limit;
	struct config_text identity;
};

// What a header's value is made of: text as it stands, or a word that the gateway knows of the
// request.
enum config_placeholder {
	PLACEHOLDER_NONE,
	PLACEHOLDER_IDENTITY,
	PLACEHOLDER_ROUTE,
	PLACEHOLDER_REQUEST_ID,
};

struct config_value_part {
	enum config_placeholder placeholder;
	struct str text;  // where it is PLACEHOLDER_NONE
};

struct config_value {
	struct str text;  // as written
	struct config_value_part *parts;
	size_t part_count;  // >= 1
};

struct config_field {
	struct config_text name;  // lower case
	struct config_value value;
};

// How a route changes the fields of a head: first `remove` and `set` take away what is there, in
// any spelling (str_same_field), then `set` and `add` put in theirs.
struct config_field_rules {
	struct config_field *set, *add;
	size_t set_count, add_count;
	struct config_texts remove;  // lower case
	bool any;
};

// One of the backends among which a route's requests are shared out.
struct config_share {
	struct config_text name;
	uint64_t weight;
	int backend;  // index into config.backends
};

// Who gets copies of a route's requests besides.
struct config_mirror {
	struct config_text backend_name;  // empty: nobody
	int backend;                      // index into config.backends
	double share;                     // 0 to 1, of the requests
};

// Where a request goes instead of where it was sent. What is empty stays as it was asked for; the
// query does in any case.
struct config_target {
	struct config_text prefix;  // takes the place of what `/api/*` matched; not beside `path`
	struct config_text path;
	struct config_text host;  // a port may follow
};

struct config_redirect {
	int status;  // 0: the route has none
	struct config_target target;
};

enum { RETRY_STATUS_FIRST = 400, RETRY_STATUS_LAST = 599, RETRY_GRPC_LAST = 16 };

// When another attempt is made at a backend that failed.
struct config_retry {
	uint64_t tries;          // in all; 0: the route has no `retry`
	struct config_texts on;  // as written; none: the usual
	uint64_t statuses[4];    // bits, from RETRY_STATUS_FIRST on
	uint32_t grpc_statuses;  // bits
	bool reset;              // the connection or stream ended before an answer
	bool timeout;            // of one try
	bool non_idempotent;     // POSTs and the like too
	int64_t per_try_timeout_ns, backoff_ns;
	uint64_t budget;  // of a hundred calls under way
	uint64_t buffer;  // bytes of a body that are kept to be sent again
};

// Whose calls are shed first when a backend is at its concurrency limit.
enum config_priority { PRIORITY_LOW, PRIORITY_NORMAL, PRIORITY_HIGH };
enum { CONFIG_PRIORITIES = PRIORITY_HIGH + 1 };

enum config_match_kind { MATCH_GRPC, MATCH_PATH };

struct config_route {
	enum config_match_kind kind;
	struct config_text pattern;   // `user.UserService/Login`, `user.*/*`, `*`; or `/api/*`
	struct config_texts methods;  // of a path match; none = any
	struct config_texts hosts;    // lower case, without port; none = any
	struct config_texts allow;    // SPIFFE patterns; none = every identity the listener accepts
	int backend;  // index into config.backends; of `backends` the first; -1: the gateway
	              // answers
	struct config_text backend_name;
	struct config_share *shares;  // `backends`
	size_t share_count;           // 0, or >= 2
	uint64_t share_weight;        // of all together, > 0 then
	enum config_priority priority;
	struct config_mark priority_mark;  // line 0: not given
	struct config_mirror mirror;
	int respond_status;  // 100..599 where backend < 0; of `redirect` too
	struct str respond_body;
	struct config_redirect redirect;
	struct config_target rewrite;
	bool rewrites;       // there is a `rewrite`
	int64_t timeout_ns;  // 0 = none
	struct config_retry retry;
	bool upgrade_websocket;
	struct config_texts upgrades;  // the same as written
	struct config_field_rules request_headers, response_headers;
	struct config_rate_limit *rate_limits;
	size_t rate_limit_count;
	struct config_call_limit *call_limits;
	size_t call_limit_count;
	struct config_flow_limit *flow_limits;
	size_t flow_limit_count;
	struct config_mark mark;
};

#endif
