#include <stdlib.h>

#include "base/clock.h"
#include "conf/value.h"
#include "policy/compiled.h"
#include "policy/host.h"
#include "policy/target.h"

// Also fed what `check` could only read in part (config_load_faulty): what is empty there has been
// complained of, and nothing is concluded from it.

struct compiling {
	const struct config *config;
	struct arena *arena;
	struct config_problems *problems;
};

// As many as could be parsed; true when that is all of them.
static bool compile_patterns(const struct compiling *compiling, const struct config_texts *texts,
        struct str key, struct spiffe_pattern **patterns, size_t *count)
{
	*count = 0;
	*patterns = arena_alloc(compiling->arena, texts->count * sizeof(**patterns));
	for (size_t i = 0; i < texts->count; i++) {
		const struct config_text *text = &texts->items[i];
		const char *why;
		if (spiffe_pattern_parse(text->text, &(*patterns)[*count], &why))
			++*count;
		else if (text->text.len)
			config_problem_add(compiling->problems, text->mark,
			        arena_printf(compiling->arena, "%.*s[%zu]", STR_FMT(key), i),
			        "found %s, but %s; expected a SPIFFE ID in which '*' may stand for "
			        "a segment",
			        value_quote(text->text).text, why);
	}
	return *count == texts->count;
}

static bool overlaps_any(
        const struct policy_listener *listener, const struct spiffe_pattern *pattern)
{
	for (size_t i = 0; i < listener->pattern_count; i++)
		if (spiffe_pattern_overlaps(&listener->patterns[i], pattern))
			return true;
	return false;
}

static void check_satisfiable(const struct compiling *compiling,
        const struct policy_listener *listener, const struct config_texts *texts, struct str key)
{
	for (size_t i = 0; i < texts->count; i++) {
		struct spiffe_pattern pattern;
		const char *why;
		if (!spiffe_pattern_parse(texts->items[i].text, &pattern, &why) ||
		        overlaps_any(listener, &pattern))
			continue;
		config_problem_add(compiling->problems, texts->items[i].mark,
		        arena_printf(compiling->arena, "%.*s[%zu]", STR_FMT(key), i),
		        "found %s, which nobody can satisfy: match_subject_alt_names of this "
		        "listener lets no such identity in; expected a pattern within those",
		        value_quote(texts->items[i].text).text);
	}
}

static void check_hosts(
        const struct compiling *compiling, const struct config_texts *hosts, struct str key)
{
	for (size_t i = 0; i < hosts->count; i++) {
		struct str found = hosts->items[i].text, host;
		bool valid = found.len && host_normalise(found, compiling->arena, &host);
		if (!found.len || (valid && str_eq(found, host)))
			continue;
		config_problem_add(compiling->problems, hosts->items[i].mark,
		        arena_printf(compiling->arena, "%.*s[%zu]", STR_FMT(key), i),
		        "found %s, which no request is ever compared with; expected %s",
		        value_quote(found).text,
		        valid ? value_quote(host).text : "a host without port");
	}
}

// False when the route cannot be looked for.
static bool compile_match(const struct compiling *compiling, struct route *route,
        const struct config_route *config, struct str key)
{
	const char *why;
	if (route_parse(route, config, compiling->arena, &why))
		return true;
	if (config->pattern.text.len)
		config_problem_add(compiling->problems, config->pattern.mark,
		        arena_printf(compiling->arena, "%.*s.match.%s", STR_FMT(key),
		                config->kind == MATCH_GRPC ? "grpc" : "path"),
		        "found %s, but %s", value_quote(config->pattern.text).text, why);
	return false;
}

static bool leaves_nothing(const struct route *earlier, const void *later)
{
	return route_leaves_nothing(earlier, later);
}

// `route` is not in the index yet, so whatever is found stands before it.
static int find_taker(const struct route_index *index, const struct route *route)
{
	const struct config_texts *hosts = &route->config->hosts;
	struct route_keys keys = route_keys_covering(route);
	return route_index_first(
	        index, &keys, hosts->count ? hosts->items[0].text : STR(""), leaves_nothing, route);
}

static struct config_texts one_of(const struct config_texts *texts, size_t i)
{
	return texts->count ? (struct config_texts){&texts->items[i], 1} : *texts;
}

// The last of several routes that only together leave nothing: one takes this method, another that.
static int find_takers(const struct route_index *index, const struct route *route)
{
	const struct config_texts *hosts = &route->config->hosts,
	                          *methods = &route->config->methods;
	struct config_route part = *route->config;
	struct route narrow = *route;
	narrow.config = &part;
	int last = ROUTE_NONE;
	for (size_t h = 0; h == 0 || h < hosts->count; h++)
		for (size_t m = 0; m == 0 || m < methods->count; m++) {
			part.hosts = one_of(hosts, h);
			part.methods = one_of(methods, m);
			int taker = find_taker(index, &narrow);
			if (taker == ROUTE_NONE)
				return ROUTE_NONE;
			last = taker > last ? taker : last;
		}
	return last;
}

static void check_reachable(const struct compiling *compiling, const struct route_index *index,
        const struct route *route, struct str key)
{
	int alone = find_taker(index, route);
	int last = alone == ROUTE_NONE ? find_takers(index, route) : alone;
	if (last == ROUTE_NONE)
		return;
	config_problem_add(compiling->problems, route->config->mark, key,
	        "is never reached: %sroutes[%d], %s, %s all of it first; expected it before %s, or "
	        "removed",
	        alone == ROUTE_NONE ? "those before it up to " : "", last,
	        value_quote(index->routes[last].config->pattern.text).text,
	        alone == ROUTE_NONE ? "take" : "takes", alone == ROUTE_NONE ? "those" : "that one");
}

static bool speaks_grpc(const struct config *config, const struct config_route *route)
{
	bool speaks = route->kind == MATCH_GRPC ||
	              (route->backend >= 0 &&
	                      config->backends[route->backend].protocol == PROTOCOL_H2);
	for (size_t i = 0; i < route->share_count; i++)
		speaks |= route->shares[i].backend >= 0 &&
		          config->backends[route->shares[i].backend].protocol == PROTOCOL_H2;
	return speaks;
}

static void check_overrides_matched(const struct compiling *compiling,
        const struct override_patterns *whom, const struct config_texts *texts, struct str key)
{
	for (size_t i = 0; i < whom->count; i++)
		for (size_t k = 0; k < i; k++) {
			if (!spiffe_pattern_covers(&whom->items[k], &whom->items[i]))
				continue;
			config_problem_add(compiling->problems, texts->items[i].mark,
			        arena_printf(compiling->arena, "%.*s[%zu]", STR_FMT(key), i),
			        "is never used: overrides[%zu] takes all of it first; expected it "
			        "before that one, or removed",
			        k);
			break;
		}
}

// Nobody where one of the patterns could not be parsed.
static struct override_patterns compile_whom(const struct compiling *compiling,
        const struct policy_listener *listener, const struct config_texts *texts, struct str key,
        bool patterns_known)
{
	struct spiffe_pattern *patterns;
	struct override_patterns whom = {0};
	size_t count;
	if (compile_patterns(compiling, texts, key, &patterns, &count))
		whom = (struct override_patterns){patterns, count};
	check_overrides_matched(compiling, &whom, texts, key);
	if (patterns_known)
		check_satisfiable(compiling, listener, texts, key);
	return whom;
}

// Of overrides of any kind: `size` bytes each, with the identity so far in.
static struct config_texts identities(const struct compiling *compiling, const void *overrides,
        size_t count, size_t size, size_t at)
{
	struct config_text *items = arena_alloc(compiling->arena, count * sizeof(*items));
	for (size_t i = 0; i < count; i++)
		items[i] = *(const struct config_text *)((const char *)overrides + i * size + at);
	return (struct config_texts){items, count};
}
#define IDENTITIES(compiling, limit)                                                               \
	identities(compiling, (limit)->overrides, (limit)->override_count,                         \
	        sizeof(*(limit)->overrides), offsetof(__typeof__(*(limit)->overrides), identity))

static struct str overrides_key(
        const struct compiling *compiling, struct str key, const char *list, size_t number)
{
	return arena_printf(compiling->arena, "%.*s.%s[%zu].overrides", STR_FMT(key), list, number);
}

// Of limits of all kinds, which begin with it.
static void compile_overrides(const struct compiling *compiling,
        const struct policy_listener *listener, struct route *route, struct str key,
        bool patterns_known)
{
	const struct config_route *config = route->config;
	struct arena *arena = compiling->arena;
	struct config_texts texts;
	route->limits = arena_zalloc(arena, config->rate_limit_count * sizeof(*route->limits));
	route->call_limits = arena_zalloc(
	        arena, config->call_limit_count * sizeof(*route->call_limits));
	route->flow_limits = arena_zalloc(
	        arena, config->flow_limit_count * sizeof(*route->flow_limits));
	for (size_t i = 0; i < config->rate_limit_count; i++) {
		texts = IDENTITIES(compiling, &config->rate_limits[i]);
		route->limits[i].whom = compile_whom(compiling, listener, &texts,
		        overrides_key(compiling, key, "rate_limits", i), patterns_known);
	}
	for (size_t i = 0; i < config->call_limit_count; i++) {
		texts = IDENTITIES(compiling, &config->call_limits[i]);
		route->call_limits[i].whom = compile_whom(compiling, listener, &texts,
		        overrides_key(compiling, key, "call_limits", i), patterns_known);
	}
	for (size_t i = 0; i < config->flow_limit_count; i++) {
		texts = IDENTITIES(compiling, &config->flow_limits[i]);
		route->flow_limits[i].whom = compile_whom(compiling, listener, &texts,
		        overrides_key(compiling, key, "flow_limits", i), patterns_known);
	}
}

static void compile_route(const struct compiling *compiling, struct policy_listener *listener,
        size_t number, struct str listener_key, bool patterns_known)
{
	struct arena *arena = compiling->arena;
	struct route *route = &listener->routes[number];
	const struct config_route *config = &listener->config->routes[number];
	struct str key = arena_printf(arena, "%.*s.routes[%zu]", STR_FMT(listener_key), number);
	struct str allow_key = arena_printf(arena, "%.*s.allow", STR_FMT(key));
	bool matched = compile_match(compiling, route, config, key);
	route->policy_name = arena_printf(arena, "%.*s/%.*s", STR_FMT(listener->config->name.text),
	        STR_FMT(config->pattern.text));
	route->full_methods = speaks_grpc(compiling->config, config);
	check_hosts(
	        compiling, &config->hosts, arena_printf(arena, "%.*s.match.hosts", STR_FMT(key)));
	compile_patterns(compiling, &config->allow, allow_key, &route->allow, &route->allow_count);
	if (patterns_known)
		check_satisfiable(compiling, listener, &config->allow, allow_key);
	compile_overrides(compiling, listener, route, key, patterns_known);
	limits_compile(route, key, arena, compiling->problems);
	places_compile(route, key, arena, compiling->problems);
	flows_compile(route, key, arena, compiling->problems);
	if (!matched)
		return;
	check_reachable(compiling, &listener->index, route, key);
	target_check(route, key, arena, compiling->problems);
	route_index_add(&listener->index, number);
}

static void compile_listener(const struct compiling *compiling, struct policy_listener *listener,
        const struct config_listener *config, size_t number)
{
	struct arena *arena = compiling->arena;
	const struct config_texts *names = &config->tls.match_subject_alt_names;
	struct str key = arena_printf(arena, "listeners[%zu]", number);
	struct str names_key = arena_printf(
	        arena, "%.*s.tls.validation_context.match_subject_alt_names", STR_FMT(key));
	listener->config = config;
	bool patterns_known = compile_patterns(
	        compiling, names, names_key, &listener->patterns, &listener->pattern_count);
	if (names->count == 0)
		config_problem_add(compiling->problems, config->tls.mark, names_key,
		        "is missing, so nobody would be let in; expected a list such as "
		        "[\"spiffe://cluster.local/*\"]");
	listener->route_count = config->route_count;
	listener->routes = arena_zalloc(arena, config->route_count * sizeof(*listener->routes));
	for (size_t i = 0; i < config->route_count; i++)
		listener->routes[i].config = &config->routes[i];
	route_index_init(&listener->index, listener->routes, config->route_count, arena);
	for (size_t i = 0; i < config->route_count; i++)
		compile_route(compiling, listener, i, key, patterns_known && names->count);
}

static void compile_admin(const struct compiling *compiling, struct policy_listener *admin)
{
	compile_patterns(compiling, &compiling->config->admin_tls.tls.match_subject_alt_names,
	        STR("admin.tls.match_subject_alt_names"), &admin->patterns, &admin->pattern_count);
}

static void compile_backends(const struct compiling *compiling, struct policy *policy)
{
	const struct config *config = compiling->config;
	struct arena *arena = compiling->arena;
	policy->backends = arena_zalloc(arena, config->backend_count * sizeof(*policy->backends));
	for (size_t i = 0; i < config->backend_count; i++)
		compile_patterns(compiling, &config->backends[i].tls.tls.match_subject_alt_names,
		        arena_printf(arena, "backends[%zu].tls.match_subject_alt_names", i),
		        &policy->backends[i].patterns, &policy->backends[i].pattern_count);
}

static void bind_buckets(struct policy *policy, struct bucket_store *store)
{
	int64_t now_ns = clock_monotonic_ns();
	for (size_t i = 0; i < policy->listener_count; i++) {
		places_bind(&policy->listeners[i], store, &policy->arena);
		for (size_t r = 0; r < policy->listeners[i].route_count; r++) {
			limits_bind(&policy->listeners[i].routes[r], store, &policy->arena, now_ns);
			flows_bind(&policy->listeners[i].routes[r], store, now_ns);
		}
	}
}

struct policy *policy_compile(
        const struct config *config, struct bucket_store *store, struct config_problems *problems)
{
	struct policy *policy = must_alloc(sizeof(*policy));
	struct compiling compiling = {config, &policy->arena, problems};
	policy->listener_count = config->listener_count;
	policy->listeners = arena_zalloc(
	        &policy->arena, config->listener_count * sizeof(*policy->listeners));
	for (size_t i = 0; i < config->listener_count; i++)
		compile_listener(&compiling, &policy->listeners[i], &config->listeners[i], i);
	compile_admin(&compiling, &policy->admin);
	compile_backends(&compiling, policy);
	// Also where somebody else complained: a refused file must not touch the buckets in force.
	if (problems->count) {
		policy_free(policy);
		return NULL;
	}
	if (store)
		bind_buckets(policy, store);
	return policy;
}

void policy_free(struct policy *policy)
{
	if (!policy)
		return;
	for (size_t i = 0; i < policy->listener_count; i++) {
		places_unbind(&policy->listeners[i]);
		for (size_t r = 0; r < policy->listeners[i].route_count; r++) {
			limits_unbind(&policy->listeners[i].routes[r]);
			flows_unbind(&policy->listeners[i].routes[r]);
		}
	}
	arena_fini(&policy->arena);
	free(policy);
}
