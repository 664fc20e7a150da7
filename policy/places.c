// Ceilings on what is here at once: a route's calls, a listener's connections.
#include "policy/compiled.h"

// `who`: the pattern it is for, where it is an override.
static struct str describe(
        const struct config_call_limit *limit, struct str who, struct arena *arena)
{
	struct buffer text = {0};
	buffer_printf(&text, "%llu calls at once", (unsigned long long)limit->calls);
	limits_describe_split(&limit->split, &text);
	if (who.len)
		buffer_printf(&text, ", for %.*s", STR_FMT(who));
	struct str described = arena_str(arena, buffer_str(&text));
	buffer_fini(&text);
	return described;
}

// Whether of two limits the first leaves nothing for the second to refuse; of equal ones the one
// that stands first does, or that is no mere trial. What overrides say is not looked at.
static bool comes_first(const struct config_call_limit *one, const struct config_call_limit *other)
{
	if (one->shadow || one->override_count || other->override_count ||
	        one->calls > other->calls || !limits_split_within(&one->split, &other->split))
		return false;
	return one < other || other->shadow || one->calls < other->calls ||
	       !limits_split_within(&other->split, &one->split);
}

static void check_fires(const struct route *route, size_t which, struct str key,
        struct arena *arena, struct config_problems *problems)
{
	const struct config_call_limit *limits = route->config->call_limits;
	size_t first = 0;
	while (first < route->call_limit_count &&
	        (first == which || !comes_first(&limits[first], &limits[which])))
		first++;
	if (first == route->call_limit_count)
		return;
	config_problem_add(problems, limits[which].mark,
	        arena_printf(
	                arena, "%.*s.%.*s", STR_FMT(key), STR_FMT(route->call_limits[which].rule)),
	        "never fires: call_limits[%zu] of this route always refuses first; expected fewer "
	        "calls, or none",
	        first);
}

static void compile_overrides(struct call_limit *limit, struct arena *arena)
{
	limit->overrides = arena_zalloc(arena, limit->whom.count * sizeof(*limit->overrides));
	for (size_t i = 0; i < limit->whom.count; i++) {
		const struct config_call_override *override = &limit->config->overrides[i];
		struct call_limit *compiled = &limit->overrides[i];
		compiled->config = &override->limit;
		compiled->rule = arena_printf(
		        arena, "%.*s.overrides[%zu]", STR_FMT(limit->rule), i);
		compiled->detail = describe(&override->limit, override->identity.text, arena);
	}
}

void places_compile(
        struct route *route, struct str key, struct arena *arena, struct config_problems *problems)
{
	const struct config_route *config = route->config;
	route->call_limit_count = config->call_limit_count;
	for (size_t i = 0; i < config->call_limit_count; i++) {
		struct call_limit *limit = &route->call_limits[i];
		limit->config = &config->call_limits[i];
		limit->rule = arena_printf(arena, "call_limits[%zu]", i);
		limit->detail = describe(limit->config, STR(""), arena);
		route->shadow_count += limit->config->shadow;
		compile_overrides(limit, arena);
		check_fires(route, i, key, arena, problems);
	}
}

static struct tally *of_connections(const struct policy_listener *listener, const char *what,
        struct bucket_store *store, struct arena *arena)
{
	const struct config_listener *config = listener->config;
	uint64_t most = config->limits.connections;
	// Beyond the listener's ceiling a few more come in to be told so.
	uint64_t keys = most && most < TALLY_KEYS_MAX / 2 ? most + most / 8 + 16
	                                                  : TALLY_KEYS_MAX / 256;
	return tally_get(
	        store, arena_printf(arena, "%.*s %s", STR_FMT(config->name.text), what), keys);
}

static void bind_calls(struct call_limit *limit, struct str name, struct bucket_store *store)
{
	bool split = limit->config->split.per_count > 0;
	limit->tally = tally_get(store, name, split ? limit->config->split.max_keys : 1);
}

static void bind_route(struct route *route, struct bucket_store *store)
{
	for (size_t i = 0; i < route->call_limit_count; i++) {
		struct call_limit *limit = &route->call_limits[i];
		struct buffer name = {0};
		limits_name(route, &name);
		buffer_printf(&name, "/%.*s", STR_FMT(limit->rule));
		bind_calls(limit, buffer_str(&name), store);
		size_t len = buffer_len(&name);
		for (size_t k = 0; k < limit->whom.count; k++) {
			buffer_printf(&name, " %.*s", STR_FMT(limit->whom.items[k].text));
			bind_calls(&limit->overrides[k], buffer_str(&name), store);
			buffer_cut(&name, len);
		}
		buffer_fini(&name);
	}
}

void places_bind(struct policy_listener *listener, struct bucket_store *store, struct arena *arena)
{
	if (listener->config->limits.connections_per_identity)
		listener->identities = of_connections(listener, "identities", store, arena);
	if (listener->config->limits.connections_per_address)
		listener->addresses = of_connections(listener, "addresses", store, arena);
	for (size_t r = 0; r < listener->route_count; r++)
		bind_route(&listener->routes[r], store);
}

static void unbind_calls(struct call_limit *limit)
{
	tally_unref(limit->tally);
	for (size_t i = 0; i < limit->whom.count; i++)
		tally_unref(limit->overrides[i].tally);
}

void places_unbind(struct policy_listener *listener)
{
	tally_unref(listener->identities);
	tally_unref(listener->addresses);
	for (size_t r = 0; r < listener->route_count; r++)
		for (size_t i = 0; i < listener->routes[r].call_limit_count; i++)
			unbind_calls(&listener->routes[r].call_limits[i]);
}

static const struct call_limit *limit_for(
        const struct call_limit *limit, const struct spiffe_id *identity)
{
	size_t override = override_for(&limit->whom, identity);
	return override < limit->whom.count ? &limit->overrides[override] : limit;
}

static void cast_shadow(
        const struct call_limit *limit, size_t index, struct policy_decision *decision)
{
	decision->shadows[decision->shadow_count++] = (struct policy_shadow){
	        .kind = POLICY_CALL_LIMIT,
	        .limit_index = index,
	        .reason = REASON_overloaded,
	        .rule = limit->rule,
	        .detail = limit->detail,
	};
}

bool places_take(const struct route *route, const struct limit_facts *facts, struct arena *arena,
        struct policy_decision *decision)
{
	for (size_t i = 0; i < route->call_limit_count; i++) {
		const struct call_limit *limit = limit_for(&route->call_limits[i], facts->identity);
		struct str key = limit_key(&limit->config->split, route, facts, arena);
		CHECK(limit->tally);  // a policy compiled to be checked never decides
		if (tally_enter(limit->tally, key, limit->config->calls, &decision->places.of[i]))
			continue;
		if (limit->config->shadow) {
			cast_shadow(limit, i, decision);
			continue;
		}
		policy_leave(decision);
		decision->reason = REASON_overloaded;
		decision->matched_rule = limit->rule;
		decision->detail = limit->detail;
		decision->call_limit_index = (int)i;
		return false;
	}
	return true;
}

void policy_leave(struct policy_decision *decision)
{
	decision->shadow_count = 0;
	for (size_t i = 0; i < ARRAY_LEN(decision->places.of); i++)
		tally_leave(&decision->places.of[i]);
}

// Those who are told are counted apart, under a name that no address and no identity has: who comes
// again and again would fill with them the room that others have left.
static enum policy_room count(
        struct tally *tally, struct str key, uint64_t most, struct tally_place *place)
{
	char name[1 + SPIFFE_ID_MAX] = {'\0'};
	if (!tally || tally_enter(tally, key, most, place))
		return POLICY_ROOM;
	CHECK(key.len < sizeof(name));
	memcpy(name + 1, key.at, key.len);
	struct str told = str_of(name, 1 + key.len);
	return tally_enter(tally, told, policy_told(most), place) ? POLICY_FULL : POLICY_OVERFULL;
}

enum policy_room policy_count_address(const struct policy *policy, size_t listener,
        struct str source_ip, struct tally_place *place)
{
	const struct policy_listener *at = &policy->listeners[listener];
	return count(at->addresses, source_ip, at->config->limits.connections_per_address, place);
}

enum policy_room policy_count_identity(const struct policy *policy, size_t listener,
        const struct spiffe_id *identity, bool served, struct tally_place *place)
{
	const struct policy_listener *at = &policy->listeners[listener];
	uint64_t most = at->config->limits.connections_per_identity;
	return count(at->identities, identity->text, served ? UINT64_MAX : most, place);
}
