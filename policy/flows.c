// What calls pass on by time: a route's `flow_limits`. Bytes and messages pay as they pass, in
// pieces: small enough that callers who share a bucket take turns, and never more than a bucket
// holds.
#include "base/buffer.h"
#include "base/clock.h"
#include "conf/value.h"
#include "policy/compiled.h"

enum { PIECE_MAX = 16 * 1024, PIECES_A_SECOND = 10 };

static const struct config_rate *rate_of(const struct config_flow_limit *limit)
{
	return limit->bytes.count ? &limit->bytes : &limit->messages;
}

static bool is_known(const struct config_flow_limit *limit)
{
	return rate_of(limit)->count && limit->burst;
}

static uint64_t piece_of(const struct config_flow_limit *limit)
{
	if (!limit->bytes.count)
		return 0;
	unsigned __int128 fit = (unsigned __int128)limit->bytes.count * NS_PER_S /
	                        (uint64_t)limit->bytes.period_ns / PIECES_A_SECOND;
	uint64_t piece = fit > PIECE_MAX ? PIECE_MAX : fit > 0 ? (uint64_t)fit : 1;
	return piece < limit->burst ? piece : limit->burst;
}

static struct str of_direction(const struct config_flow_limit *limit)
{
	return limit->direction == FLOW_REQUESTS ? STR(" of requests") : STR(" of responses");
}

// `who`: the pattern it is for, where it is an override.
static struct str describe(
        const struct config_flow_limit *limit, struct str who, struct arena *arena)
{
	struct buffer text = {0};
	if (limit->bytes.count) {
		value_write_byte_rate(limit->bytes.count, limit->bytes.period_ns, &text);
		buffer_append_str(&text, STR(" burst "));
		value_write_size(limit->burst, &text);
	} else {
		value_write_rate(limit->messages.count, limit->messages.period_ns, &text);
		buffer_printf(&text, " messages burst %llu", (unsigned long long)limit->burst);
	}
	buffer_append_str(&text, of_direction(limit));
	limits_describe_split(&limit->split, &text);
	if (who.len)
		buffer_printf(&text, ", for %.*s", STR_FMT(who));
	if (limit->shadow)
		buffer_append_str(&text, limit->on_excess == EXCESS_PAUSE ? STR(": would pause")
		                                                          : STR(": would refuse"));
	struct str described = arena_str(arena, buffer_str(&text));
	buffer_fini(&text);
	return described;
}

// Whether whatever `other` lets pass `limit` does too: it has no more to say. What waits for one
// has paid all others already, so one that rejects bounds how much may wait. What overrides say is
// not looked at.
static bool comes_first(
        const struct config_flow_limit *other, const struct config_flow_limit *limit)
{
	bool queues = other->on_excess == EXCESS_PAUSE && limit->on_excess == EXCESS_REJECT;
	return is_known(other) && !other->shadow && !queues && !other->override_count &&
	       !limit->override_count && other->direction == limit->direction &&
	       !other->bytes.count == !limit->bytes.count &&
	       limits_split_within(&other->split, &limit->split) && other->burst <= limit->burst &&
	       limits_rate_within(rate_of(other), rate_of(limit));
}

static void check_fires(const struct config_route *route, size_t which, struct str key,
        struct config_problems *problems)
{
	const struct config_flow_limit *limits = route->flow_limits;
	for (size_t i = 0; i < route->flow_limit_count; i++) {
		if (i == which || !comes_first(&limits[i], &limits[which]))
			continue;
		if (i > which && comes_first(&limits[which], &limits[i]))
			continue;  // the same twice: the second is the one too many
		config_problem_add(problems, limits[which].mark, key,
		        "never fires: flow_limits[%zu] of this route lets no more pass; expected a "
		        "lower rate or burst, or none",
		        i);
		return;
	}
}

static void compile_limit(struct flow_limit *limit, struct str who, struct str key,
        struct arena *arena, struct config_problems *problems)
{
	const struct config_flow_limit *config = limit->config;
	const struct config_rate *rate = rate_of(config);
	// With room for as much again, which pauses may owe.
	struct bucket_rate twice = {rate->count, rate->period_ns, 2 * config->burst};
	limit->detail = describe(config, who, arena);
	limit->piece = piece_of(config);
	if (!bucket_rate_valid(twice))
		config_problem_add(problems, config->mark, key,
		        "cannot be counted exactly: the burst takes too long to refill at such a "
		        "rate; expected a smaller burst or a rounder rate");
}

static void compile_overrides(struct flow_limit *limit, struct str key, struct arena *arena,
        struct config_problems *problems)
{
	limit->overrides = arena_zalloc(arena, limit->whom.count * sizeof(*limit->overrides));
	for (size_t i = 0; i < limit->whom.count; i++) {
		const struct config_flow_override *override = &limit->config->overrides[i];
		struct flow_limit *compiled = &limit->overrides[i];
		compiled->config = &override->limit;
		compiled->rule = arena_printf(
		        arena, "%.*s.overrides[%zu]", STR_FMT(limit->rule), i);
		if (is_known(compiled->config))
			compile_limit(compiled, override->identity.text,
			        arena_printf(arena, "%.*s.overrides[%zu]", STR_FMT(key), i), arena,
			        problems);
	}
}

void flows_compile(
        struct route *route, struct str key, struct arena *arena, struct config_problems *problems)
{
	const struct config_route *config = route->config;
	route->flow_limit_count = config->flow_limit_count;
	for (size_t i = 0; i < config->flow_limit_count; i++) {
		const struct config_flow_limit *limit = &config->flow_limits[i];
		struct flow_limit *compiled = &route->flow_limits[i];
		if (!is_known(limit))
			continue;  // the reader has complained
		compiled->config = limit;
		compiled->rule = arena_printf(arena, "flow_limits[%zu]", i);
		route->shadow_count += limit->shadow;
		struct str place = arena_printf(
		        arena, "%.*s.%.*s", STR_FMT(key), STR_FMT(compiled->rule));
		compile_limit(compiled, STR(""), place, arena, problems);
		check_fires(config, i, place, problems);
		compile_overrides(compiled, place, arena, problems);
	}
}

static void bind_bucket(
        struct flow_limit *limit, struct str name, struct bucket_store *store, int64_t now_ns)
{
	const struct config_flow_limit *config = limit->config;
	const struct config_rate *rate = rate_of(config);
	limit->bucket = bucket_limit_get(store, name,
	        (struct bucket_rate){rate->count, rate->period_ns, config->burst},
	        config->split.per_count > 0, config->split.max_keys, now_ns);
}

// `edge/user.Users/*/flow_limits[0] bytes of requests`: tokens of one kind are none of another. An
// override is known by its pattern.
void flows_bind(struct route *route, struct bucket_store *store, int64_t now_ns)
{
	for (size_t i = 0; i < route->flow_limit_count; i++) {
		struct flow_limit *limit = &route->flow_limits[i];
		struct buffer name = {0};
		limits_name(route, &name);
		buffer_printf(&name, "/%.*s %s%.*s", STR_FMT(limit->rule),
		        limit->config->bytes.count ? "bytes" : "messages",
		        STR_FMT(of_direction(limit->config)));
		bind_bucket(limit, buffer_str(&name), store, now_ns);
		size_t len = buffer_len(&name);
		for (size_t k = 0; k < limit->whom.count; k++) {
			buffer_printf(&name, " %.*s", STR_FMT(limit->whom.items[k].text));
			bind_bucket(&limit->overrides[k], buffer_str(&name), store, now_ns);
			buffer_cut(&name, len);
		}
		buffer_fini(&name);
	}
}

void flows_unbind(struct route *route)
{
	for (size_t i = 0; i < route->flow_limit_count; i++) {
		struct flow_limit *limit = &route->flow_limits[i];
		bucket_limit_unref(limit->bucket);
		for (size_t k = 0; limit->overrides && k < limit->whom.count; k++)
			bucket_limit_unref(limit->overrides[k].bucket);
	}
}

static const struct flow_limit *limit_for(
        const struct flow_limit *limit, const struct spiffe_id *identity)
{
	size_t override = override_for(&limit->whom, identity);
	return override < limit->whom.count ? &limit->overrides[override] : limit;
}

void flows_assess(const struct route *route, const struct limit_facts *facts, struct arena *arena,
        struct policy_decision *decision)
{
	if (!route->flow_limit_count)
		return;
	decision->flow_count = route->flow_limit_count;
	decision->flows = arena_alloc(arena, decision->flow_count * sizeof(*decision->flows));
	for (size_t i = 0; i < decision->flow_count; i++) {
		const struct flow_limit *limit = limit_for(&route->flow_limits[i], facts->identity);
		CHECK(limit->bucket);  // a policy compiled to be checked never decides
		decision->flows[i] = (struct policy_flow){
		        .config = limit->config,
		        .rule = limit->rule,
		        .detail = limit->detail,
		        .piece = limit->piece,
		        .claim = {.limit = limit->bucket,
		                .key = limit_key(&limit->config->split, route, facts, arena)},
		};
	}
}

static bool concerns(const struct policy_flow *flow, bool shadow,
        enum config_flow_direction direction, bool messages)
{
	return flow->config->direction == direction && !flow->config->bytes.count == messages &&
	       flow->config->shadow == shadow;
}

// All that reject, or none.
static int64_t take(const struct policy_decision *decision, enum config_flow_direction direction,
        bool messages, uint64_t count, int64_t now_ns, size_t *refused_by)
{
	struct bucket_claim claims[CONFIG_FLOW_LIMITS_MAX];
	size_t flows[CONFIG_FLOW_LIMITS_MAX], claim_count = 0, refused;
	for (size_t i = 0; i < decision->flow_count; i++) {
		const struct policy_flow *flow = &decision->flows[i];
		if (!concerns(flow, false, direction, messages) ||
		        flow->config->on_excess != EXCESS_REJECT)
			continue;
		flows[claim_count] = i;
		claims[claim_count] = flow->claim;
		claims[claim_count++].tokens = count;
	}
	int64_t wait_ns = bucket_take_all(claims, claim_count, now_ns, &refused);
	*refused_by = wait_ns ? flows[refused] : 0;
	return wait_ns;
}

// By limits that are no mere trial.
static struct policy_passage pass(const struct policy_decision *decision,
        enum config_flow_direction direction, bool messages, uint64_t count, int64_t left_ns,
        int64_t now_ns)
{
	const int64_t most_ns = (int64_t)BUCKET_BORROW_S * NS_PER_S;
	struct policy_passage passage = {0};
	size_t by;
	passage.wait_ns = take(decision, direction, messages, count, now_ns, &by);
	if (passage.wait_ns) {
		passage.refused = true;
		passage.by = by;
		return passage;
	}
	for (size_t i = 0; i < decision->flow_count; i++) {
		const struct policy_flow *flow = &decision->flows[i];
		if (!concerns(flow, false, direction, messages) ||
		        flow->config->on_excess != EXCESS_PAUSE)
			continue;
		struct bucket_claim claim = flow->claim;
		claim.tokens = count;
		int64_t wait_ns = bucket_borrow(&claim, left_ns, now_ns);
		if (wait_ns < 0) {
			// Of a huge rate less than a minute is as much as can be counted.
			bool too_late = -wait_ns <= most_ns && -wait_ns > left_ns;
			return (struct policy_passage){-wait_ns, !too_late, too_late, i};
		}
		if (wait_ns > passage.wait_ns) {
			passage.wait_ns = wait_ns;
			passage.by = i;
		}
	}
	return passage;
}

// In pieces as it would pay in force, up to the first that exceeds.
static int64_t excess_ns(const struct policy_flow *flow, uint64_t count, int64_t now_ns)
{
	struct bucket_claim claim = flow->claim;
	size_t refused_by;
	int64_t wait_ns = 0;
	for (; count && !wait_ns; count -= claim.tokens) {
		claim.tokens = flow->piece && flow->piece < count ? flow->piece : count;
		wait_ns = bucket_take_all(&claim, 1, now_ns, &refused_by);
	}
	return wait_ns;
}

static void cast_shadow(struct policy_decision *decision, size_t index, int64_t wait_ns)
{
	struct policy_flow *flow = &decision->flows[index];
	if (flow->exceeded)
		return;
	flow->exceeded = true;
	decision->shadows[decision->shadow_count++] = (struct policy_shadow){
	        .kind = POLICY_FLOW_LIMIT,
	        .limit_index = index,
	        .reason = REASON_rate_limited,
	        .rule = flow->rule,
	        .detail = flow->detail,
	        .wait_ns = wait_ns,
	};
}

// Of what passes, after so long. A call that a shadow would have ended is none of its any more: it
// would not be there to take tokens.
static uint32_t cast_shadows(struct policy_decision *decision, enum config_flow_direction direction,
        bool messages, uint64_t count, int64_t paused_ns, int64_t now_ns)
{
	uint32_t exceeded = 0;
	for (size_t i = 0; i < decision->flow_count; i++) {
		const struct policy_flow *flow = &decision->flows[i];
		bool rejects = flow->config->on_excess == EXCESS_REJECT;
		if (!concerns(flow, true, direction, messages) || (rejects && flow->exceeded))
			continue;
		int64_t wait_ns = excess_ns(flow, count, now_ns);
		if (wait_ns <= (rejects ? 0 : paused_ns))
			continue;
		exceeded |= UINT32_C(1) << i;
		cast_shadow(decision, i, wait_ns);
	}
	return exceeded;
}

struct policy_passage policy_pass(struct policy_decision *decision,
        enum config_flow_direction direction, bool messages, uint64_t count, int64_t left_ns,
        int64_t now_ns)
{
	struct policy_passage passage = pass(decision, direction, messages, count, left_ns, now_ns);
	if (decision->shadows && !passage.refused && !passage.too_late)
		passage.exceeded = cast_shadows(
		        decision, direction, messages, count, passage.wait_ns, now_ns);
	return passage;
}
