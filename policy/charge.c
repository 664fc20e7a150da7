// What a call pays. All limits of its route must have its tokens, and none is taken unless all
// have. Where some are shared the buckets of this process are only looked at first, so that nobody
// is asked in vain; they pay when the store has answered. Shadows come last and refuse nobody.
#include "policy/compiled.h"

struct policy_toll {
	const struct route *route;
	struct arena *arena;
	bool wants_quotas;
	const struct route_limit *limits[BUCKET_CLAIMS_MAX];  // as they are for this caller
	struct bucket_claim claims[BUCKET_CLAIMS_MAX];
};

static const struct route_limit *limit_for(
        const struct route_limit *limit, const struct spiffe_id *identity)
{
	size_t override = override_for(&limit->whom, identity);
	return override < limit->whom.count ? &limit->overrides[override] : limit;
}

static void assess(struct policy_toll *toll, const struct route *route,
        const struct limit_facts *facts, struct arena *arena)
{
	toll->route = route;
	toll->arena = arena;
	toll->wants_quotas = facts->request->wants_quotas;
	for (size_t i = 0; i < route->limit_count; i++) {
		const struct route_limit *limit = limit_for(&route->limits[i], facts->identity);
		CHECK(limit->bucket);  // a policy compiled to be checked never decides
		toll->limits[i] = limit;
		toll->claims[i] = (struct bucket_claim){.limit = limit->bucket,
		        .key = limit_key(&limit->config->split, route, facts, arena),
		        .tokens = limit_cost(&limit->config->cost, facts, arena)};
	}
}

static void tell(struct policy_decision *decision, const struct policy_toll *toll, size_t limit,
        struct bucket_left left)
{
	if (!toll->wants_quotas)
		return;
	const struct config_rate_limit *config = toll->limits[limit]->config;
	unsigned __int128 refill_ns = (unsigned __int128)config->burst *
	                              (uint64_t)config->rate.period_ns / config->rate.count;
	if (!decision->quotas)
		decision->quotas = arena_alloc(
		        toll->arena, toll->route->limit_count * sizeof(*decision->quotas));
	decision->quotas[decision->quota_count++] = (struct policy_quota){
	        limit, config->burst, (int64_t)refill_ns, left};
}

// For the audit record: the limit, and what the call was to pay where calls differ in that.
static struct str detail_of(const struct policy_toll *toll, size_t limit)
{
	struct str detail = toll->limits[limit]->detail;
	if (!toll->limits[limit]->config->cost.max)
		return detail;
	return arena_printf(toll->arena, "%.*s: this call costs %llu", STR_FMT(detail),
	        (unsigned long long)toll->claims[limit].tokens);
}

// A caller that is refused is told of that limit alone, for the rest would have to be asked for:
// `left` of it may do for a cheaper call.
static void refuse(struct policy_decision *decision, const struct policy_toll *toll, size_t limit,
        uint64_t left, int64_t wait_ns)
{
	decision->reason = REASON_rate_limited;
	decision->crowd = POLICY_UNCROWDED;
	decision->retry_after_ns = wait_ns;
	decision->limit_index = (int)limit;
	decision->matched_rule = toll->limits[limit]->rule;
	decision->detail = detail_of(toll, limit);
	decision->quota_count = 0;
	tell(decision, toll, limit, (struct bucket_left){left, wait_ns, wait_ns});
}

static bool is_shared(const struct policy_toll *toll, size_t limit)
{
	return toll->limits[limit]->config->store == STORE_REDIS;
}

static bool is_shadow(const struct policy_toll *toll, size_t limit)
{
	return toll->limits[limit]->config->shadow;
}

static const struct policy_claim *asked(const struct policy_decision *decision, size_t limit)
{
	for (size_t i = 0; i < decision->claim_count; i++)
		if (decision->claims[i].limit_index == limit)
			return &decision->claims[i];
	return NULL;
}

// Whether a bucket of this process counts: a shared limit's own does where nobody else answered.
static bool counts_here(
        const struct policy_decision *decision, const struct policy_toll *toll, size_t limit)
{
	const struct policy_claim *claim = asked(decision, limit);
	if (!claim)
		return !is_shared(toll, limit);
	return claim->answer == POLICY_FAILED && claim->config->on_failure == STORE_FAILURE_LOCAL;
}

static bool pay_here(
        struct policy_toll *toll, bool take, int64_t now_ns, struct policy_decision *decision)
{
	struct bucket_claim claims[BUCKET_CLAIMS_MAX];
	size_t limits[BUCKET_CLAIMS_MAX], count = 0, refused_by;
	for (size_t i = 0; i < toll->route->limit_count; i++) {
		if (is_shadow(toll, i) || !counts_here(decision, toll, i))
			continue;
		limits[count] = i;
		claims[count++] = toll->claims[i];
	}
	int64_t wait_ns = take ? bucket_take_all(claims, count, now_ns, &refused_by)
	                       : bucket_would_refuse(claims, count, now_ns, &refused_by);
	if (wait_ns)
		refuse(decision, toll, limits[refused_by],
		        bucket_claim_left(&claims[refused_by]).tokens, wait_ns);
	for (size_t i = 0; toll->wants_quotas && take && !wait_ns && i < count; i++)
		tell(decision, toll, limits[i], bucket_claim_left(&claims[i]));
	return wait_ns == 0;
}

static void add_shadow(struct policy_decision *decision, const struct policy_toll *toll,
        size_t limit, int64_t wait_ns)
{
	decision->shadows[decision->shadow_count++] = (struct policy_shadow){
	        .kind = POLICY_RATE_LIMIT,
	        .limit_index = limit,
	        .reason = REASON_rate_limited,
	        .rule = toll->limits[limit]->rule,
	        .detail = detail_of(toll, limit),
	        .wait_ns = wait_ns,
	};
}

// Once the call passes.
static void cast_shadows(struct policy_toll *toll, int64_t now_ns, struct policy_decision *decision)
{
	size_t refused_by;
	for (size_t i = 0; i < toll->route->limit_count; i++) {
		if (!is_shadow(toll, i))
			continue;
		const struct policy_claim *claim = asked(decision, i);
		int64_t wait_ns = 0;
		if (counts_here(decision, toll, i))
			wait_ns = bucket_take_all(&toll->claims[i], 1, now_ns, &refused_by);
		if (wait_ns || (claim && claim->answer == POLICY_REFUSED))
			add_shadow(decision, toll, i, wait_ns);
	}
}

static void leave_open(
        struct policy_toll *toll, struct arena *arena, struct policy_decision *decision)
{
	const struct route *route = toll->route;
	decision->toll = toll;
	decision->claims = arena_zalloc(arena, route->shared_count * sizeof(*decision->claims));
	for (size_t i = 0; i < route->limit_count; i++)
		if (is_shared(toll, i))
			decision->claims[decision->claim_count++] = (struct policy_claim){
			        .config = toll->limits[i]->config,
			        .name = toll->limits[i]->name,
			        .key = toll->claims[i].key,
			        .tokens = toll->claims[i].tokens,
			        .limit_index = i,
			        .shadow = is_shadow(toll, i),
			};
}

bool charge(const struct route *route, const struct limit_facts *facts, bool take, int64_t now_ns,
        struct arena *arena, struct policy_decision *decision)
{
	struct policy_toll here, *toll = &here;
	bool open = take && route->shared_count;
	if (open)
		toll = arena_alloc(arena, sizeof(*toll));
	assess(toll, route, facts, arena);
	if (!pay_here(toll, take && !open, now_ns, decision))
		return false;
	if (open)
		leave_open(toll, arena, decision);
	else if (take && route->shadow_count)
		cast_shadows(toll, now_ns, decision);
	return true;
}

// The one to tell the caller of: where several refused, the longest wait.
static const struct policy_claim *refused_claim(const struct policy_decision *decision)
{
	const struct policy_claim *longest = NULL;
	for (size_t i = 0; i < decision->claim_count; i++) {
		const struct policy_claim *claim = &decision->claims[i];
		if (claim->answer == POLICY_REFUSED && !claim->shadow &&
		        (!longest || claim->wait_ns > longest->wait_ns))
			longest = claim;
	}
	return longest;
}

static const struct policy_claim *denied_claim(const struct policy_decision *decision)
{
	for (size_t i = 0; i < decision->claim_count; i++)
		if (decision->claims[i].answer == POLICY_FAILED && !decision->claims[i].shadow &&
		        decision->claims[i].config->on_failure == STORE_FAILURE_DENY)
			return &decision->claims[i];
	return NULL;
}

static void close_claims(struct policy_decision *decision)
{
	for (size_t i = 0; i < decision->claim_count; i++) {
		const struct policy_claim *claim = &decision->claims[i];
		if (claim->answer == POLICY_GRANTED && !claim->shadow)
			tell(decision, decision->toll, claim->limit_index, claim->left);
		if (claim->answer == POLICY_GRANTED || claim->answer == POLICY_REFUSED)
			bucket_limit_count(decision->toll->claims[claim->limit_index].limit,
			        claim->answer == POLICY_GRANTED);
	}
}

void policy_settle(struct policy_decision *decision, int64_t now_ns, struct arena *arena)
{
	struct policy_toll *toll = decision->toll;
	const struct policy_claim *claim = refused_claim(decision);
	if (claim) {
		bucket_limit_count(toll->claims[claim->limit_index].limit, false);
		refuse(decision, toll, claim->limit_index, 0, claim->wait_ns);
		return;
	}
	for (size_t i = 0; i < decision->claim_count; i++)
		CHECK(decision->claims[i].answer != POLICY_UNANSWERED);
	if ((claim = denied_claim(decision))) {
		decision->reason = REASON_overloaded;
		decision->matched_rule = toll->limits[claim->limit_index]->rule;
		decision->detail = arena_printf(arena, "the limit store did not answer: %s (%.*s)",
		        claim->failure, STR_FMT(toll->limits[claim->limit_index]->detail));
		return;
	}
	if (!pay_here(toll, true, now_ns, decision))
		return;
	close_claims(decision);
	cast_shadows(toll, now_ns, decision);
}
