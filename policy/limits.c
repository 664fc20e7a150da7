#include "base/buffer.h"
#include "base/clock.h"
#include "conf/value.h"
#include "policy/compiled.h"

// Redis' scripts count in doubles, in microseconds times the rate's count: exact up to 2^53.
#define SHARED_DEPTH_MAX (UINT64_C(1) << 53)

static bool has_per(const struct config_split *split, enum config_per kind, struct str header)
{
	for (size_t i = 0; i < split->per_count; i++)
		if (split->per[i].kind == kind && str_eq(split->per[i].header, header))
			return true;
	return false;
}

bool limits_split_within(const struct config_split *few, const struct config_split *many)
{
	for (size_t i = 0; i < few->per_count; i++)
		if (!has_per(many, few->per[i].kind, few->per[i].header))
			return false;
	return true;
}

bool limits_rate_within(const struct config_rate *low, const struct config_rate *high)
{
	return (unsigned __int128)low->count * (uint64_t)high->period_ns <=
	       (unsigned __int128)high->count * (uint64_t)low->period_ns;
}

// Two limits are held against each other where the same buckets would count both: one of the fleet
// may be asked in vain, and then another may refuse. Shadows refuse nothing, and what overrides say
// is not looked at.
static bool same_store(const struct config_rate_limit *a, const struct config_rate_limit *b)
{
	return a->store == b->store && a->fleet == b->fleet && a->on_failure == b->on_failure &&
	       !a->shadow && !b->shadow && !a->override_count && !b->override_count &&
	       a->cost.max == b->cost.max && a->cost.body == b->cost.body &&
	       str_eq(a->cost.header.text, b->cost.header.text);
}

// With no higher rate and no larger burst, and no finer split, `first` never has more tokens than
// `other`: both pay for the same calls. So `other` never refuses what `first` grants.
static bool always_refuses_first(
        const struct config_rate_limit *first, const struct config_rate_limit *other)
{
	return same_store(first, other) && limits_split_within(&first->split, &other->split) &&
	       first->burst <= other->burst && limits_rate_within(&first->rate, &other->rate);
}

static const char *per_name(enum config_per kind)
{
	switch (kind) {
	case PER_IDENTITY:
		return "identity";
	case PER_METHOD:
		return "method";
	case PER_SOURCE_IP:
		return "source_ip";
	case PER_HEADER:
		return "header:";
	}
	CHECK(false);
}

void limits_describe_split(const struct config_split *split, struct buffer *text)
{
	for (size_t i = 0; i < split->per_count; i++)
		buffer_printf(text, "%s%s%.*s", i ? ", " : " per ", per_name(split->per[i].kind),
		        STR_FMT(split->per[i].header));
}

static void describe_cost(const struct config_cost *cost, struct buffer *text)
{
	if (cost->body) {
		buffer_append_str(text, STR(", by "));
		value_write_size(cost->body, text);
		buffer_append_str(text, STR(" of body"));
	} else if (cost->max) {
		buffer_printf(text, ", by %.*s", STR_FMT(cost->header.text));
	}
}

// `who`: the pattern it is for, where it is an override.
static struct str describe(
        const struct config_rate_limit *limit, struct str who, struct arena *arena)
{
	struct buffer text = {0};
	value_write_rate(limit->rate.count, limit->rate.period_ns, &text);
	buffer_printf(&text, " burst %llu", (unsigned long long)limit->burst);
	limits_describe_split(&limit->split, &text);
	describe_cost(&limit->cost, &text);
	if (limit->store == STORE_REDIS)
		buffer_append_str(&text, STR(", in redis"));
	else if (limit->fleet > 1)
		buffer_printf(&text, ", divided by %llu", (unsigned long long)limit->fleet);
	if (who.len)
		buffer_printf(&text, ", for %.*s", STR_FMT(who));
	struct str described = arena_str(arena, buffer_str(&text));
	buffer_fini(&text);
	return described;
}

// Of the bucket in this process: its share, where a fleet divides the limit. A period that is too
// long for the fleet is what bucket_rate_valid complains of.
static struct bucket_rate rate_of(const struct config_rate_limit *limit)
{
	int64_t period_ns;
	if (__builtin_mul_overflow(limit->rate.period_ns, limit->fleet, &period_ns))
		period_ns = INT64_MAX;
	return (struct bucket_rate){limit->rate.count, period_ns, limit->burst / limit->fleet};
}

// False when there is nothing to conclude from: the reader has complained (config_load_faulty).
static bool is_known(const struct config_rate_limit *limit)
{
	return limit->rate.count && limit->rate.period_ns > 0 && limit->burst && limit->fleet &&
	       limit->fleet <= limit->burst;
}

static void check_fires(const struct config_route *config, size_t number, struct str key,
        struct config_problems *problems)
{
	const struct config_rate_limit *limit = &config->rate_limits[number];
	for (size_t i = 0; i < config->rate_limit_count; i++) {
		const struct config_rate_limit *other = &config->rate_limits[i];
		if (i == number || !is_known(other) || !always_refuses_first(other, limit))
			continue;
		if (i > number && always_refuses_first(limit, other))
			continue;  // the same twice: the second is the one too many
		config_problem_add(problems, limit->mark, key,
		        "never fires: rate_limits[%zu] of this route always refuses first; "
		        "expected "
		        "a lower rate or burst, or none",
		        i);
		return;
	}
}

static void check_numbers(
        const struct config_rate_limit *limit, struct str key, struct config_problems *problems)
{
	if (!bucket_rate_valid(rate_of(limit)))
		config_problem_add(problems, limit->mark, key,
		        "cannot be counted exactly: the burst takes too long to refill at such a "
		        "rate; expected a smaller burst or a rounder rate");
	else if (limit->store == STORE_REDIS &&
	         limit->burst > SHARED_DEPTH_MAX / ((uint64_t)limit->rate.period_ns / NS_PER_US))
		config_problem_add(problems, limit->mark, key,
		        "cannot be counted exactly in redis; expected a smaller burst, or a rate "
		        "by a shorter time");
	else if (limit->split.per_count && limit->split.max_keys > BUCKET_KEYS_MAX)
		config_problem_add(problems, limit->mark, key,
		        "keeps too many keys; expected max_keys of at most %d", BUCKET_KEYS_MAX);
}

static void compile_overrides(struct route_limit *limit, struct str key, struct arena *arena,
        struct config_problems *problems)
{
	limit->overrides = arena_zalloc(arena, limit->whom.count * sizeof(*limit->overrides));
	for (size_t i = 0; i < limit->whom.count; i++) {
		const struct config_override *override = &limit->config->overrides[i];
		struct route_limit *compiled = &limit->overrides[i];
		compiled->config = &override->limit;
		compiled->rule = arena_printf(
		        arena, "%.*s.overrides[%zu]", STR_FMT(limit->rule), i);
		compiled->detail = describe(&override->limit, override->identity.text, arena);
		if (is_known(&override->limit))
			check_numbers(&override->limit,
			        arena_printf(arena, "%.*s.overrides[%zu]", STR_FMT(key), i),
			        problems);
	}
}

void limits_compile(
        struct route *route, struct str key, struct arena *arena, struct config_problems *problems)
{
	const struct config_route *config = route->config;
	route->limit_count = config->rate_limit_count;
	if (config->rate_limit_count > BUCKET_CLAIMS_MAX)
		config_problem_add(problems, config->rate_limits[BUCKET_CLAIMS_MAX].mark,
		        arena_printf(arena, "%.*s.rate_limits", STR_FMT(key)),
		        "found %zu limits; expected at most %d on a route",
		        config->rate_limit_count, BUCKET_CLAIMS_MAX);
	for (size_t i = 0; i < config->rate_limit_count; i++) {
		const struct config_rate_limit *limit = &config->rate_limits[i];
		struct route_limit *compiled = &route->limits[i];
		compiled->config = limit;
		compiled->rule = arena_printf(arena, "rate_limits[%zu]", i);
		compiled->detail = describe(limit, STR(""), arena);
		struct str place = arena_printf(
		        arena, "%.*s.%.*s", STR_FMT(key), STR_FMT(compiled->rule));
		route->shared_count += limit->store == STORE_REDIS;
		route->shadow_count += limit->shadow;
		if (!is_known(limit))
			continue;
		check_numbers(limit, place, problems);
		check_fires(config, i, place, problems);
		compile_overrides(compiled, place, arena, problems);
	}
}

static void add_texts(struct buffer *name, const struct config_texts *texts)
{
	for (size_t i = 0; i < texts->count; i++)
		buffer_printf(name, "%c%.*s", i ? ',' : ' ', STR_FMT(texts->items[i].text));
}

static void bind_limit(struct route_limit *limit, struct str name, struct bucket_store *store,
        struct arena *arena, int64_t now_ns)
{
	limit->name = arena_str(arena, name);
	limit->bucket = bucket_limit_get(store, limit->name, rate_of(limit->config),
	        limit->config->split.per_count > 0, limit->config->split.max_keys, now_ns);
	bucket_limit_set_shared(limit->bucket, limit->config->store == STORE_REDIS);
}

void limits_name(const struct route *route, struct buffer *name)
{
	buffer_append_str(name, route->policy_name);
	add_texts(name, &route->config->methods);
	add_texts(name, &route->config->hosts);
}

// `edge/user.Users/Login/rate_limits[0]`, and methods and hosts where given, since routes may
// differ in those alone: two limits must never share a name. An override is known by its pattern.
void limits_bind(
        struct route *route, struct bucket_store *store, struct arena *arena, int64_t now_ns)
{
	for (size_t i = 0; i < route->limit_count; i++) {
		struct route_limit *limit = &route->limits[i];
		struct buffer name = {0};
		limits_name(route, &name);
		buffer_printf(&name, "/%.*s", STR_FMT(limit->rule));
		bind_limit(limit, buffer_str(&name), store, arena, now_ns);
		size_t len = buffer_len(&name);
		for (size_t k = 0; k < limit->whom.count; k++) {
			buffer_printf(&name, " %.*s", STR_FMT(limit->whom.items[k].text));
			bind_limit(&limit->overrides[k], buffer_str(&name), store, arena, now_ns);
			buffer_cut(&name, len);
		}
		buffer_fini(&name);
	}
}

void limits_unbind(struct route *route)
{
	for (size_t i = 0; i < route->limit_count; i++) {
		struct route_limit *limit = &route->limits[i];
		bucket_limit_unref(limit->bucket);
		for (size_t k = 0; limit->overrides && k < limit->whom.count; k++)
			bucket_limit_unref(limit->overrides[k].bucket);
	}
}

// Anybody may make up methods, and many servers treat all alike: what is neither known nor named by
// the route is one and the same, or each new word would find a full bucket.
static struct str method_word(const struct route *route, struct str method)
{
	static const char *const known[] = {
	        "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"};
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (str_eq(method, str_from(known[i])))
			return method;
	return route->config->methods.count ? method : STR("other");
}

static struct str key_part(const struct route *route, const struct limit_facts *facts,
        enum config_per kind, struct str header, struct arena *arena)
{
	const struct policy_request *request = facts->request;
	switch (kind) {
	case PER_IDENTITY:
		return facts->identity->text;
	case PER_METHOD:
		// The route is the limit's own, so an HTTP method says the rest.
		return route->full_methods && facts->full_method.len
		               ? facts->full_method
		               : method_word(route, request->method);
	case PER_SOURCE_IP:
		return request->source_ip;
	case PER_HEADER:
		return request->header(request->headers, header, arena);
	}
	CHECK(false);
}

// Each part behind its kind and length: no two combinations of values give the same bytes, nor does
// a limit whose `per` was changed by a reload find buckets of the former kind.
struct str limit_key(const struct config_split *config, const struct route *route,
        const struct limit_facts *facts, struct arena *arena)
{
	struct str parts[ARRAY_LEN(config->per)];
	size_t len = 0;
	for (size_t i = 0; i < config->per_count; i++) {
		parts[i] = key_part(
		        route, facts, config->per[i].kind, config->per[i].header, arena);
		len += 1 + sizeof(size_t) + parts[i].len;
	}
	char *key = arena_alloc(arena, len), *at = key;
	for (size_t i = 0; i < config->per_count; i++) {
		*at++ = (char)config->per[i].kind;
		memcpy(at, &parts[i].len, sizeof(size_t));
		at += sizeof(size_t);
		if (parts[i].len)
			memcpy(at, parts[i].at, parts[i].len);
		at += parts[i].len;
	}
	return str_of(key, len);
}

uint64_t limit_cost(
        const struct config_cost *cost, const struct limit_facts *facts, struct arena *arena)
{
	const struct policy_request *request = facts->request;
	uint64_t tokens;
	if (!cost->max)
		return 1;
	if (cost->body) {
		if (request->body_bytes < 0)
			return cost->max;
		uint64_t bytes = (uint64_t)request->body_bytes;
		tokens = bytes / cost->body + (bytes % cost->body > 0);
		return tokens == 0 ? 1 : tokens < cost->max ? tokens : cost->max;
	}
	struct str said = request->header(request->headers, cost->header.text, arena);
	return str_to_u64(said, cost->max, &tokens) && tokens ? tokens : cost->max;
}
