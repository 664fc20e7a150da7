// What a call pays. All limits of its route must have a token, and none is taken unless all have.
// Where some are shared the buckets of this process are only looked at first, so that nobody is
// asked in vain; they pay when the store has answered.
#include "policy/compiled.h"

struct policy_toll {
	const struct route *route;
	struct bucket_claim claims[];  // of every limit, in order
};

static void refuse(
        struct policy_decision *decision, const struct route *route, size_t limit, int64_t wait_ns)
{
	decision->reason = REASON_rate_limited;
	decision->crowded = false;
	decision->retry_after_ns = wait_ns;
	decision->limit_index = (int)limit;
	decision->matched_rule = route->limits[limit].rule;
	decision->detail = route->limits[limit].detail;
}

static struct bucket_claim claim_of(const struct route *route, size_t limit,
        const struct limit_facts *facts, struct arena *arena)
{
	CHECK(route->limits[limit].bucket);  // a policy compiled to be checked never decides
	return (struct bucket_claim){
	        route->limits[limit].bucket, limit_key(&route->limits[limit], route, facts, arena)};
}

static bool is_shared(const struct route *route, size_t limit)
{
	return route->limits[limit].config->store == STORE_REDIS;
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
        const struct policy_decision *decision, const struct route *route, size_t limit)
{
	const struct policy_claim *claim = asked(decision, limit);
	if (!claim)
		return !is_shared(route, limit);
	return claim->answer == POLICY_FAILED && claim->config->on_failure == STORE_FAILURE_LOCAL;
}

static bool pay_here(
        struct policy_toll *toll, bool take, int64_t now_ns, struct policy_decision *decision)
{
	const struct route *route = toll->route;
	struct bucket_claim claims[BUCKET_CLAIMS_MAX];
	size_t limits[BUCKET_CLAIMS_MAX], count = 0, refused_by;
	for (size_t i = 0; i < route->limit_count; i++) {
		if (!counts_here(decision, route, i))
			continue;
		limits[count] = i;
		claims[count++] = toll->claims[i];
	}
	int64_t wait_ns = take ? bucket_take_all(claims, count, now_ns, &refused_by)
	                       : bucket_would_refuse(claims, count, now_ns, &refused_by);
	if (wait_ns)
		refuse(decision, route, limits[refused_by], wait_ns);
	return wait_ns == 0;
}

static void leave_open(
        struct policy_toll *toll, struct arena *arena, struct policy_decision *decision)
{
	const struct route *route = toll->route;
	decision->toll = toll;
	decision->claims = arena_zalloc(arena, route->shared_count * sizeof(*decision->claims));
	for (size_t i = 0; i < route->limit_count; i++)
		if (is_shared(route, i))
			decision->claims[decision->claim_count++] = (struct policy_claim){
			        .config = route->limits[i].config,
			        .name = route->limits[i].name,
			        .key = toll->claims[i].key,
			        .limit_index = i,
			};
}

static bool charge_shared(const struct route *route, const struct limit_facts *facts, bool take,
        int64_t now_ns, struct arena *arena, struct policy_decision *decision)
{
	struct policy_toll *toll = arena_alloc(
	        arena, sizeof(*toll) + route->limit_count * sizeof(*toll->claims));
	toll->route = route;
	for (size_t i = 0; i < route->limit_count; i++)
		toll->claims[i] = claim_of(route, i, facts, arena);
	if (!pay_here(toll, false, now_ns, decision))
		return false;
	if (take)
		leave_open(toll, arena, decision);
	return true;
}

bool charge(const struct route *route, const struct limit_facts *facts, bool take, int64_t now_ns,
        struct arena *arena, struct policy_decision *decision)
{
	if (route->shared_count)
		return charge_shared(route, facts, take, now_ns, arena, decision);
	struct bucket_claim claims[BUCKET_CLAIMS_MAX];
	size_t refused_by;
	for (size_t i = 0; i < route->limit_count; i++)
		claims[i] = claim_of(route, i, facts, arena);
	int64_t wait_ns = take ? bucket_take_all(claims, route->limit_count, now_ns, &refused_by)
	                       : bucket_would_refuse(
	                                 claims, route->limit_count, now_ns, &refused_by);
	if (wait_ns)
		refuse(decision, route, refused_by, wait_ns);
	return wait_ns == 0;
}

// The one to tell the caller of: where several refused, the longest wait.
static const struct policy_claim *refused_claim(const struct policy_decision *decision)
{
	const struct policy_claim *longest = NULL;
	for (size_t i = 0; i < decision->claim_count; i++) {
		const struct policy_claim *claim = &decision->claims[i];
		if (claim->answer == POLICY_REFUSED &&
		        (!longest || claim->wait_ns > longest->wait_ns))
			longest = claim;
	}
	return longest;
}

static const struct policy_claim *denied_claim(const struct policy_decision *decision)
{
	for (size_t i = 0; i < decision->claim_count; i++)
		if (decision->claims[i].answer == POLICY_FAILED &&
		        decision->claims[i].config->on_failure == STORE_FAILURE_DENY)
			return &decision->claims[i];
	return NULL;
}

void policy_settle(struct policy_decision *decision, int64_t now_ns, struct arena *arena)
{
	struct policy_toll *toll = decision->toll;
	const struct route_limit *limits = toll->route->limits;
	for (size_t i = 0; i < decision->claim_count; i++)
		CHECK(decision->claims[i].answer != POLICY_UNANSWERED);
	const struct policy_claim *claim = refused_claim(decision);
	if (claim) {
		bucket_limit_count(limits[claim->limit_index].bucket, false);
		refuse(decision, toll->route, claim->limit_index, claim->wait_ns);
		return;
	}
	if ((claim = denied_claim(decision))) {
		decision->reason = REASON_overloaded;
		decision->matched_rule = limits[claim->limit_index].rule;
		decision->detail = arena_printf(arena, "the limit store did not answer: %s (%.*s)",
		        claim->failure, STR_FMT(limits[claim->limit_index].detail));
		return;
	}
	if (!pay_here(toll, true, now_ns, decision))
		return;
	for (size_t i = 0; i < decision->claim_count; i++)
		if (decision->claims[i].answer == POLICY_GRANTED)
			bucket_limit_count(limits[decision->claims[i].limit_index].bucket, true);
}
