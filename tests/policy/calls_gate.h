// What the tests of call limits and flow limits share: one gRPC route with the limits told, and a
// few calls that may be under way at once. One gate a test.
#ifndef TESTS_POLICY_CALLS_GATE_H
#define TESTS_POLICY_CALLS_GATE_H

#include "tests/policy/bucket_fixture.h"
#include "tests/policy/policy_fixture.h"

#define CART "spiffe://cluster.local/cart"
#define SHOP "spiffe://cluster.local/shop"
#define TAIL                                                                                       \
	"redis: {address: 127.0.0.1:6379}\n"                                                       \
	"backends: [{name: b, protocol: h2, endpoints: ['127.0.0.1:1']}]\n"

enum { CALLS = 4 };

struct gate {
	struct fixture fixture;
	struct bucket_store *store;
	struct arena arena;
	struct policy_decision calls[CALLS];
};

static inline void compile(struct fixture *fixture, struct bucket_store *store, const char *limits)
{
	char routes[1024];
	snprintf(routes, sizeof(routes), "- {match: {grpc: 'a.B/*'}, backend: b, %s}\n", limits);
	fixture_compile(fixture, store, NAMES_ALL, routes, TAIL);
}

// One route with these limits.
static inline void open_gate(struct gate *gate, const char *limits)
{
	*gate = (struct gate){.store = bucket_store_new()};
	compile(&gate->fixture, gate->store, limits);
}

// The same limits otherwise, for calls that come from now on.
static inline void reload(struct gate *gate, const char *limits)
{
	struct fixture next;
	compile(&next, gate->store, limits);
	fixture_free(&gate->fixture);
	gate->fixture = next;
}

static inline void close_gate(struct gate *gate)
{
	for (size_t i = 0; i < CALLS; i++)
		policy_leave(&gate->calls[i]);
	arena_fini(&gate->arena);
	fixture_free(&gate->fixture);
	bucket_store_free(gate->store);
}

static inline struct policy_decision *call(struct gate *gate, size_t number, const char *caller)
{
	const struct policy_peer peer = {.uri = str_from(caller)};
	const struct policy_request request = {.grpc = true,
	        .method = STR("POST"),
	        .path = STR("/a.B/C"),
	        .host = STR("localhost"),
	        .source_ip = STR("192.0.2.1")};
	struct policy_identity identity;
	struct policy_decision *decision = &gate->calls[number];
	policy_leave(decision);
	policy_identify(gate->fixture.policy, 0, &peer, &gate->arena, &identity);
	policy_decide(gate->fixture.policy, 0, &identity, &request, 0, &gate->arena, decision);
	return decision;
}

static inline void assert_passes(
        struct gate *gate, size_t number, const char *caller, size_t shadows)
{
	const struct policy_decision *decision = call(gate, number, caller);
	assert_int_equal(decision->reason, REASON_NONE);
	assert_int_equal(decision->shadow_count, shadows);
}

#endif
