// Where an exchange waits for what the fleet says of its limits.
#include "gateway/exchange.h"
#include "gateway/limit_store.h"

struct waiting {
	struct exchange *exchange;
	void (*verdict)(void *exchange);
};

static void settle(struct exchange *exchange)
{
	struct policy_decision *decision = &exchange->decision;
	struct worker *worker = exchange->downstream->worker;
	// While the fleet was asked, others came.
	enum policy_crowd crowd = admission_room(exchange);
	if (crowd == POLICY_UNCROWDED)
		policy_settle(decision, worker->turn.now_ns, &exchange->arena);
	else
		policy_refuse_crowded(decision, crowd);
	if (decision->reason == REASON_NONE)
		return;
	limit_store_give_back(worker->limits, decision->claims, decision->claim_count);
	policy_leave(decision);
}

static void on_answered(void *user)
{
	struct waiting *waiting = user;
	struct exchange *exchange = waiting->exchange;
	exchange->ask = NULL;
	exchange->state = EXCHANGE_JUDGED;
	settle(exchange);
	waiting->verdict(exchange);
}

bool exchange_ask_fleet(struct exchange *exchange, void (*verdict)(void *exchange))
{
	struct policy_decision *decision = &exchange->decision;
	struct waiting *waiting = arena_alloc(&exchange->arena, sizeof(*waiting));
	*waiting = (struct waiting){exchange, verdict};
	exchange->ask = limit_store_ask(exchange->downstream->worker->limits, decision->claims,
	        decision->claim_count, &exchange->arena, on_answered, waiting);
	if (exchange->ask)
		exchange->state = EXCHANGE_ASKING;
	else
		settle(exchange);
	return !exchange->ask;
}

void exchange_stop_asking(struct exchange *exchange)
{
	if (exchange->ask)
		limit_store_drop(exchange->ask);
	exchange->ask = NULL;
}

void exchange_leave_limits(struct exchange *exchange)
{
	exchange_stop_asking(exchange);
	policy_leave(&exchange->decision);
}

static enum metrics_decision decision_of(const struct policy_decision *decision, size_t limit)
{
	if ((int)limit == decision->limit_index)
		return METRICS_REFUSED;
	for (size_t i = 0; i < decision->shadow_count; i++)
		if (decision->shadows[i].kind == POLICY_RATE_LIMIT &&
		        decision->shadows[i].limit_index == limit)
			return METRICS_WOULD_REFUSE;
	for (size_t i = 0; i < decision->claim_count; i++)
		if (decision->claims[i].limit_index == limit &&
		        decision->claims[i].answer == POLICY_FAILED)
			return METRICS_FAILED;
	return METRICS_ALLOWED;
}

static void count_call_limit(const struct exchange *exchange, size_t limit, const char *event)
{
	const struct snapshot_listener *labels = &exchange->snapshot->listeners[exchange->listener];
	size_t route = exchange->decision.route_index;
	metrics_call_limit(exchange->downstream->worker->metrics, labels->route_labels[route],
	        labels->call_limit_labels[route][limit], event);
}

static void count_call_limits(const struct exchange *exchange)
{
	const struct policy_decision *decision = &exchange->decision;
	if (decision->call_limit_index >= 0)
		count_call_limit(exchange, (size_t)decision->call_limit_index, "refused");
	for (size_t i = 0; i < decision->shadow_count; i++)
		if (decision->shadows[i].kind == POLICY_CALL_LIMIT)
			count_call_limit(
			        exchange, decision->shadows[i].limit_index, "would_refuse");
}

void exchange_count_limits(const struct exchange *exchange)
{
	const struct policy_decision *decision = &exchange->decision;
	if (!decision->route)
		return;
	count_call_limits(exchange);
	const struct snapshot_listener *labels = &exchange->snapshot->listeners[exchange->listener];
	bool allowed = decision->reason == REASON_NONE;
	for (size_t i = 0; i < decision->route->rate_limit_count; i++) {
		enum metrics_decision made = decision_of(decision, i);
		if (allowed || made != METRICS_ALLOWED)
			metrics_limit_decision(exchange->downstream->worker->metrics,
			        labels->route_labels[decision->route_index],
			        labels->limit_labels[decision->route_index][i], made);
	}
}
