#include "policy/compiled.h"
#include "policy/path.h"

enum { SHOWN_MAX = 256 };  // of what a caller presented, in a detail

static const struct policy_listener *listener_of(const struct policy *policy, size_t listener)
{
	if (listener == POLICY_ADMIN)
		return &policy->admin;
	CHECK(listener < policy->listener_count);
	return &policy->listeners[listener];
}

static const struct spiffe_pattern *match_any(
        const struct spiffe_pattern *patterns, size_t count, const struct spiffe_id *id)
{
	for (size_t i = 0; i < count; i++)
		if (spiffe_pattern_match(&patterns[i], id))
			return &patterns[i];
	return NULL;
}

static struct str nearest(const struct spiffe_pattern *patterns, size_t count,
        const struct spiffe_id *id, struct arena *arena)
{
	const struct spiffe_pattern *pattern = spiffe_pattern_nearest(patterns, count, id->text);
	if (!pattern)
		return STR("there is no pattern");
	return arena_printf(
	        arena, "matches none of %zu, nearest %.*s", count, STR_FMT(pattern->text));
}

static void identify(const struct policy_listener *at, const struct policy_peer *peer,
        struct arena *arena, struct policy_identity *identity)
{
	const char *why;
	*identity = (struct policy_identity){.reason = peer->reason, .detail = peer->detail};
	// First of all: what is said of a chain that did not verify is worth nothing.
	if (peer->reason != REASON_NONE)
		return;
	identity->reason = REASON_identity_missing;
	if (peer->uri.len == 0)
		return;
	identity->reason = REASON_identity_malformed;
	if (!spiffe_id_parse(peer->uri, &identity->id, &why)) {
		identity->id = (struct spiffe_id){0};
		identity->detail = arena_printf(arena, "%s: %.*s", why,
		        (int)(peer->uri.len < SHOWN_MAX ? peer->uri.len : SHOWN_MAX), peer->uri.at);
		return;
	}
	identity->reason = REASON_identity_not_allowed;
	if (!match_any(at->patterns, at->pattern_count, &identity->id)) {
		identity->detail = nearest(at->patterns, at->pattern_count, &identity->id, arena);
		return;
	}
	identity->reason = REASON_NONE;
}

void policy_identify(const struct policy *policy, size_t listener, const struct policy_peer *peer,
        struct arena *arena, struct policy_identity *identity)
{
	identify(listener_of(policy, listener), peer, arena, identity);
}

void policy_identify_server(const struct policy *policy, size_t backend,
        const struct policy_peer *peer, struct arena *arena, struct policy_identity *identity)
{
	identify(&policy->backends[backend], peer, arena, identity);
}

static bool takes_method(const struct route *route, const void *method)
{
	return route_takes_method(route, *(const struct str *)method);
}

static const struct route *find_route(const struct policy_listener *listener,
        const struct policy_request *request, const struct route_keys *keys)
{
	int number = route_index_first(
	        &listener->index, keys, request->host, takes_method, &request->method);
	return number == ROUTE_NONE ? NULL : &listener->routes[number];
}

void policy_refuse_crowded(struct policy_decision *decision, enum policy_crowd crowd)
{
	static const char *const details[CONFIG_PRIORITIES] = {
	        [PRIORITY_LOW] = "the backend nears its concurrency limit (priority low)",
	        [PRIORITY_NORMAL] = "the backend is at its concurrency limit (priority normal)",
	        [PRIORITY_HIGH] = "the backend is past its concurrency limit (priority high)",
	};
	const int64_t retry_after_ns = 1000000000;  // a limit moves within a second
	decision->reason = REASON_overloaded;
	decision->matched_rule = STR("concurrency");
	decision->detail = str_from(details[decision->route->priority]);
	if (crowd == POLICY_QUEUED) {
		decision->matched_rule = STR("circuit_breaker");
		decision->detail = STR(POLICY_QUEUE_DETAIL);
	}
	decision->retry_after_ns = retry_after_ns;
	decision->crowd = crowd;
}

// What no token buys. Where the limits refuse too, their answer comes first: it holds for whatever
// the caller sends next.
static bool route_takes(const struct config_route *route, const struct policy_request *request,
        struct policy_decision *decision)
{
	if (request->too_large) {
		decision->reason = REASON_request_too_large;
		decision->matched_rule = STR("");  // the listener's, as where the body tells
		decision->detail = STR("content-length is over limits.body_bytes");
		return false;
	}
	if (request->websocket && !route->upgrade_websocket) {
		decision->reason = REASON_route_not_allowed;
		decision->matched_rule = STR("upgrade");
		decision->detail = STR("the route has no `upgrade: [websocket]`");
		return false;
	}
	enum policy_crowd crowd = POLICY_UNCROWDED;
	if (request->room && route->backend >= 0)
		crowd = request->room(request->caller);
	if (crowd != POLICY_UNCROWDED)
		policy_refuse_crowded(decision, crowd);
	return crowd == POLICY_UNCROWDED;
}

// Each step first says how the call ends if it fails: the one way to REASON_NONE is to pass all.
static void judge(const struct policy_listener *listener, const struct policy_identity *identity,
        const struct policy_request *request, int64_t now_ns, struct arena *arena,
        struct policy_decision *decision)
{
	bool call = request->grpc && str_eq(request->method, STR("POST"));
	struct route_keys keys = route_keys_of_call(path_as_matched(request->path, arena), call);
	decision->policy_name = listener->config->name.text;
	if (call)
		decision->rpc_method = request->path;

	decision->reason = identity->reason;
	decision->detail = identity->detail;
	decision->matched_rule = identity->reason == REASON_identity_not_allowed
	                                 ? STR("match_subject_alt_names")
	                                 : STR("validation_context");
	if (identity->reason != REASON_NONE)
		return;

	decision->reason = REASON_no_route;
	decision->matched_rule = STR("routes");
	const struct route *route = find_route(listener, request, &keys);
	if (!route) {
		decision->detail = arena_printf(
		        arena, "none of %zu routes takes it", listener->route_count);
		return;
	}
	decision->route = route->config;
	decision->route_index = (size_t)(route - listener->routes);
	decision->policy_name = route->policy_name;
	if (route->shadow_count)
		decision->shadows = arena_alloc(
		        arena, route->shadow_count * sizeof(*decision->shadows));

	decision->reason = REASON_route_not_allowed;
	decision->matched_rule = route->config->allow.count ? STR("allow") : STR("routes");
	if (route->config->allow.count &&
	        !match_any(route->allow, route->allow_count, &identity->id)) {
		decision->detail = nearest(route->allow, route->allow_count, &identity->id, arena);
		return;
	}

	decision->reason = REASON_rate_limited;
	bool takes = route_takes(route->config, request, decision);
	struct limit_facts facts = {&identity->id, keys.of[ROUTE_METHOD], request};
	// Places first: whoever finds none shall not have paid.
	if (takes && !places_take(route, &facts, arena, decision))
		return;
	if (!charge(route, &facts, takes, now_ns, arena, decision)) {
		policy_leave(decision);
		return;
	}
	if (!takes)
		return;
	decision->reason = REASON_NONE;
	flows_assess(route, &facts, arena, decision);
}

void policy_decide(const struct policy *policy, size_t listener,
        const struct policy_identity *identity, const struct policy_request *request,
        int64_t now_ns, struct arena *arena, struct policy_decision *decision)
{
	*decision = (struct policy_decision){
	        .reason = REASON_no_route, .limit_index = -1, .call_limit_index = -1};
	judge(listener_of(policy, listener), identity, request, now_ns, arena, decision);
}
