// What the tests of `cost` share: one route with the limits told, called with a word in x-cost or
// a body of some length, and what its buckets have left then.
#ifndef TESTS_POLICY_COST_GATE_H
#define TESTS_POLICY_COST_GATE_H

#include "tests/policy/bucket_fixture.h"
#include "tests/policy/policy_fixture.h"

#define WEB "spiffe://cluster.local/web"
#define BATCH "spiffe://cluster.local/batch"
#define TAIL                                                                                       \
	"redis: {address: 127.0.0.1:6379}\n"                                                       \
	"backends: [{name: b, protocol: http1, endpoints: ['127.0.0.1:1']}]\n"
#define BY_HEADER "cost: {header: X-Cost, max: 8}"

struct gate {
	struct fixture fixture;
	struct bucket_store *store;
	struct arena arena;
	struct policy_decision decision;
	bool wants_quotas;
};

// The limits of the one route.
static inline void open_gate(struct gate *gate, const char *limits)
{
	char routes[1024];
	*gate = (struct gate){.store = bucket_store_new()};
	snprintf(routes, sizeof(routes), "- match: {path: /*}\n  backend: b\n  rate_limits: [%s]\n",
	        limits);
	fixture_compile(&gate->fixture, gate->store, NAMES_ALL, routes, TAIL);
}

static inline void close_gate(struct gate *gate)
{
	arena_fini(&gate->arena);
	fixture_free(&gate->fixture);
	bucket_store_free(gate->store);
}

static inline struct str header_of(const void *headers, struct str name, struct arena *arena)
{
	(void)arena;
	assert_true(str_eq(name, STR("x-cost")));
	return *(const struct str *)headers;
}

static inline enum reason call(struct gate *gate, const char *identity, struct str said,
        int64_t body_bytes, int64_t now_ns)
{
	const struct policy_peer peer = {.uri = str_from(identity)};
	const struct policy_request request = {.method = STR("POST"),
	        .path = STR("/x"),
	        .host = STR("localhost"),
	        .source_ip = STR("192.0.2.1"),
	        .wants_quotas = gate->wants_quotas,
	        .body_bytes = body_bytes,
	        .header = header_of,
	        .headers = &said};
	struct policy_identity caller;
	policy_identify(gate->fixture.policy, 0, &peer, &gate->arena, &caller);
	policy_decide(
	        gate->fixture.policy, 0, &caller, &request, now_ns, &gate->arena, &gate->decision);
	return gate->decision.reason;
}

static inline bool passes(struct gate *gate, const char *cost, int64_t now_ns)
{
	enum reason reason = call(gate, WEB, str_from(cost), 0, now_ns);
	assert_true(reason == REASON_NONE || reason == REASON_rate_limited);
	return reason == REASON_NONE;
}

struct wanted_view {
	const char *end;
	struct bucket_view view;
};

static inline void keep_if_wanted(const struct bucket_view *view, void *user)
{
	struct wanted_view *wanted = user;
	if (str_ends(view->name, str_from(wanted->end)))
		wanted->view = *view;
}

static inline double left_of(const struct gate *gate, const char *limit, int64_t now_ns)
{
	struct wanted_view wanted = {.end = limit};
	bucket_store_each(gate->store, now_ns, keep_if_wanted, &wanted);
	assert_int_not_equal(wanted.view.name.len, 0);
	return wanted.view.fill;
}

static inline void assert_left(const struct gate *gate, double first, double second)
{
	assert_true(left_of(gate, "rate_limits[0]", 0) == first);
	assert_true(left_of(gate, "rate_limits[1]", 0) == second);
}

#endif
