#include "conf/schema_row.h"

enum {
	OVERRIDES_MAX = 100,
	PER_MAX = ARRAY_LEN(((struct config_split *)NULL)->per),
};

static const char *const stores[] = {"local", "redis", NULL};
static const char *const store_failures[] = {"local", "allow", "deny", NULL};

#define WHOM "A SPIFFE pattern of those it is for; the first override that matches counts."
#define OWN_BUCKETS                                                                                \
	"Other numbers for some callers. They have buckets of their own, split as the limit's "    \
	"`per` says: one for each of them only where that names `identity`."

static const struct schema_key override_keys[] = {
        {"identity", .presence = PRESENCE_REQUIRED, TYPE(type_pattern),
                AT(config_override, identity), DOC(WHOM)},
        {"rate", .presence = PRESENCE_REQUIRED, TYPE(type_rate), AT(config_override, limit.rate),
                RANGE(1, 1000000000), DOC("Tokens refilled for them.")},
        {"burst", .presence = PRESENCE_REQUIRED, TYPE(type_count), AT(config_override, limit.burst),
                RANGE(1, 1000000000), DOC("Their tokens at the start and at most.")},
};

static const struct schema_object schema_override = {DOC(OWN_BUCKETS),
        .size = sizeof(struct config_override), KEYS(override_keys), .check = check_override};

static const struct schema_key cost_keys[] = {
        {"header", .presence = PRESENCE_OPTIONAL, TYPE(type_field_name), AT(config_cost, header),
                DOC("The request's header that says how many: a whole number from 1 to `max`. "
                    "It is its sender's word.")},
        {"body", .presence = PRESENCE_OPTIONAL, TYPE(type_size), AT(config_cost, body),
                RANGE(1, UINT64_C(1) << 40), .shown = shown_cost_body,
                DOC("One for each so many bytes of the body, the last ones too, by its "
                    "`content-length`; one for a request without a body, and `max` for a "
                    "WebSocket.")},
        {"max", .presence = PRESENCE_REQUIRED, TYPE(type_count), AT(config_cost, max),
                RANGE(2, 1000000000), .shown = shown_cost_max,
                DOC("What a call costs at most, and what it costs that does not say: without the "
                    "header, with another text in it, with a body of unknown length.")},
};

static const struct schema_object schema_cost = {
        DOC("How many tokens a call pays; either `header` or `body`."),
        .size = sizeof(struct config_cost), KEYS(cost_keys), .check = check_cost};

static const struct schema_key rate_limit_keys[] = {
        {"rate", .presence = PRESENCE_REQUIRED, TYPE(type_rate), AT(config_rate_limit, rate),
                RANGE(1, 1000000000), DOC("Tokens refilled, continuously.")},
        {"burst", .presence = PRESENCE_REQUIRED, TYPE(type_count), AT(config_rate_limit, burst),
                RANGE(1, 1000000000), DOC("Tokens at the start and at most.")},
        {"per", .shape = SHAPE_TEXTS, .presence = PRESENCE_OPTIONAL, TYPE(type_per),
                AT(config_rate_limit, split.per_names), RANGE(1, PER_MAX),
                DOC("One bucket for each combination of `identity`, `method`, `source_ip`, "
                    "`header:NAME`; without the key the route has one.")},
        {"cost", .shape = SHAPE_OBJECT, .presence = PRESENCE_OPTIONAL, OBJECT(schema_cost),
                AT(config_rate_limit, cost),
                DOC("Calls that cost more than others; without the key each costs one token.")},
        {"overrides", .shape = SHAPE_OBJECTS, .presence = PRESENCE_OPTIONAL,
                OBJECT(schema_override), AT(config_rate_limit, overrides),
                COUNT_AT(config_rate_limit, override_count), RANGE(1, OVERRIDES_MAX),
                DOC("Other numbers for some identities.")},
        {"shadow", TYPE(type_flag), AT(config_rate_limit, shadow), .fallback = "false",
                DOC("A trial: what the limit would refuse passes, is counted as `would_refuse` and "
                    "leaves an audit record of event `shadowed`. It takes tokens only of calls "
                    "that pass all the others.")},
        {"max_keys", TYPE(type_count), AT(config_rate_limit, split.max_keys), RANGE(1, 10000000),
                .fallback = "10000", .shown = shown_split,
                DOC("Buckets kept with `per`; beyond them newcomers share one.")},
        {"store", TYPE(type_choice), AT(config_rate_limit, store), .choices = stores,
                .fallback = "local",
                DOC("Where the bucket lives: `local`, shared by all workers of this process, or "
                    "`redis`, shared by all gateways that use the same server, prefix and names.")},
        {"on_failure", TYPE(type_choice), AT(config_rate_limit, on_failure),
                .choices = store_failures, .fallback = "local", .shown = shown_shared,
                DOC("What counts while Redis does not answer: `local`, a bucket of this process; "
                    "`allow`, nothing; `deny`, the call is refused as `overloaded`.")},
        {"lease", TYPE(type_count), AT(config_rate_limit, lease), RANGE(1, 1000000),
                .fallback = "1", .shown = shown_shared,
                DOC("Tokens that a worker takes from Redis at once: the next calls of the same "
                    "bucket wait for nobody. What is not used lapses after the time in which as "
                    "many are refilled, a second at least; so in any time at most `burst` + "
                    "`rate` and a lease for each worker of the fleet pass.")},
        {"fleet", TYPE(type_count), AT(config_rate_limit, fleet), RANGE(1, 100000), .fallback = "1",
                DOC("Gateways that share the limit without asking each other: a bucket of this "
                    "process gets rate and burst divided by it, rounded down. With `store: redis` "
                    "that is the one which counts when Redis does not answer.")},
};

const struct schema_object schema_rate_limit = {
        DOC("A token bucket, or one for each caller; it decides as `golang.org/x/time/rate` does. "
            "All limits of a route must have what the call costs, and none is taken unless all "
            "have."),
        .size = sizeof(struct config_rate_limit), KEYS(rate_limit_keys), .check = check_rate_limit};

static const struct schema_key call_override_keys[] = {
        {"identity", .presence = PRESENCE_REQUIRED, TYPE(type_pattern),
                AT(config_call_override, identity), DOC(WHOM)},
        {"calls", .presence = PRESENCE_REQUIRED, TYPE(type_count),
                AT(config_call_override, limit.calls), RANGE(1, 1000000000),
                DOC("So many of theirs may be under way at once.")},
};

static const struct schema_object schema_call_override = {
        DOC("Another number for some callers. They are counted by themselves, split as the limit's "
            "`per` says: each of them only where that names `identity`."),
        .size = sizeof(struct config_call_override), KEYS(call_override_keys),
        .check = check_call_override};

static const struct schema_key call_limit_keys[] = {
        {"calls", .presence = PRESENCE_REQUIRED, TYPE(type_count), AT(config_call_limit, calls),
                RANGE(1, 1000000000),
                DOC("So many may be under way at once, from the verdict to the end of the answer; "
                    "what is more is refused as `overloaded`.")},
        {"per", .shape = SHAPE_TEXTS, .presence = PRESENCE_OPTIONAL, TYPE(type_per),
                AT(config_call_limit, split.per_names), RANGE(1, PER_MAX),
                DOC("One count for each combination of `identity`, `method`, `source_ip`, "
                    "`header:NAME`; without the key the route has one.")},
        {"overrides", .shape = SHAPE_OBJECTS, .presence = PRESENCE_OPTIONAL,
                OBJECT(schema_call_override), AT(config_call_limit, overrides),
                COUNT_AT(config_call_limit, override_count), RANGE(1, OVERRIDES_MAX),
                DOC("Another number for some identities.")},
        {"shadow", TYPE(type_flag), AT(config_call_limit, shadow), .fallback = "false",
                DOC("A trial: a call over the limit passes, is counted as `would_refuse` and "
                    "leaves an audit record of event `shadowed`. It is not among those that are "
                    "under way then, as it would not be there; nor is a call that anything else "
                    "refuses.")},
        {"max_keys", TYPE(type_count), AT(config_call_limit, split.max_keys), RANGE(1, 10000000),
                .fallback = "10000", .shown = shown_call_split,
                DOC("Callers counted with `per` at once; beyond them newcomers share one count.")},
};

const struct schema_object schema_call_limit = {
        DOC("How many calls may be under way at once, over all workers of this process."),
        .size = sizeof(struct config_call_limit), KEYS(call_limit_keys), .check = check_call_limit};

static const char *const directions[] = {"requests", "responses", NULL};
static const char *const excesses[] = {"pause", "reject", NULL};

static const struct schema_key flow_override_keys[] = {
        {"identity", .presence = PRESENCE_REQUIRED, TYPE(type_pattern),
                AT(config_flow_override, identity), DOC(WHOM)},
        {"messages", .presence = PRESENCE_OPTIONAL, TYPE(type_rate),
                AT(config_flow_override, limit.messages), RANGE(1, 1000000000),
                DOC("Their messages, of a limit that counts messages.")},
        {"bytes", .presence = PRESENCE_OPTIONAL, TYPE(type_byte_rate),
                AT(config_flow_override, limit.bytes), RANGE(1, UINT64_C(1) << 40),
                DOC("Their bytes, of a limit that counts bytes.")},
        {"burst", .presence = PRESENCE_REQUIRED, TYPE(type_size),
                AT(config_flow_override, limit.burst), RANGE(1, UINT64_C(1) << 40),
                DOC("Of theirs may pass at once.")},
};

static const struct schema_object schema_flow_override = {DOC(OWN_BUCKETS),
        .size = sizeof(struct config_flow_override), KEYS(flow_override_keys),
        .check = check_flow_override};

static const struct schema_key flow_limit_keys[] = {
        {"messages", .presence = PRESENCE_OPTIONAL, TYPE(type_rate),
                AT(config_flow_limit, messages), RANGE(1, 1000000000),
                DOC("Messages of gRPC calls, streams or not; of a `grpc` route.")},
        {"bytes", .presence = PRESENCE_OPTIONAL, TYPE(type_byte_rate), AT(config_flow_limit, bytes),
                RANGE(1, UINT64_C(1) << 40),
                DOC("Bytes of bodies, of WebSockets too; heads do not count.")},
        {"burst", .presence = PRESENCE_REQUIRED, TYPE(type_size), AT(config_flow_limit, burst),
                RANGE(1, UINT64_C(1) << 40),
                DOC("Messages or bytes that may pass at once. What arrives is passed on in pieces "
                    "of at most so many bytes, and pauses end every 8 ms or so: with less than "
                    "10 ms of the rate, the rate is not reached.")},
        {"direction", TYPE(type_choice), AT(config_flow_limit, direction), .choices = directions,
                .fallback = "requests", DOC("What callers send, or what backends answer.")},
        {"on_excess", TYPE(type_choice), AT(config_flow_limit, on_excess), .choices = excesses,
                .fallback = "pause",
                DOC("`pause` passes it on once there are tokens, first come first served, and the "
                    "sender is slowed by flow control; who would wait for more than a minute is "
                    "refused. `reject` ends the call as `rate_limited`: with 429 or "
                    "RESOURCE_EXHAUSTED, in trailers where an answer to a gRPC call has begun; "
                    "another answer that has begun is broken off. Timeouts of calls and requests "
                    "go on, `stream_idle` and `per_try_timeout` do not.")},
        {"per", .shape = SHAPE_TEXTS, .presence = PRESENCE_OPTIONAL, TYPE(type_per),
                AT(config_flow_limit, split.per_names), RANGE(1, PER_MAX),
                DOC("One bucket for each combination of `identity`, `method`, `source_ip`, "
                    "`header:NAME`; without the key the route has one.")},
        {"overrides", .shape = SHAPE_OBJECTS, .presence = PRESENCE_OPTIONAL,
                OBJECT(schema_flow_override), AT(config_flow_limit, overrides),
                COUNT_AT(config_flow_limit, override_count), RANGE(1, OVERRIDES_MAX),
                DOC("Other numbers for some identities.")},
        {"shadow", TYPE(type_flag), AT(config_flow_limit, shadow), .fallback = "false",
                DOC("A trial: what the limit would keep back passes at once and takes no tokens, "
                    "is counted as `would_pause` or `would_refuse`, as `on_excess` says, and the "
                    "first of a call leaves an audit record of event `shadowed`. A call that "
                    "would have ended there takes no more tokens. What another limit keeps back "
                    "as long, or refuses, is not counted.")},
        {"max_keys", TYPE(type_count), AT(config_flow_limit, split.max_keys), RANGE(1, 10000000),
                .fallback = "10000", .shown = shown_flow_split,
                DOC("Buckets kept with `per`; beyond them newcomers share one.")},
};

const struct schema_object schema_flow_limit = {
        DOC("How much calls may pass on by time: a token bucket, of messages or of bytes, over all "
            "workers of this process."),
        .size = sizeof(struct config_flow_limit), KEYS(flow_limit_keys), .check = check_flow_limit};
