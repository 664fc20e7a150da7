// Which backend a request is for, where a route shares them out among several.
#include "gateway/exchange.h"

// Below 2^32 for every file: so many shares of so much at most.
static uint64_t random_below(struct worker *worker, uint64_t bound)
{
	return ((worker_random(worker) >> 32) * bound) >> 32;
}

static int draw(struct worker *worker, const struct config_route *route)
{
	uint64_t left = random_below(worker, route->share_weight);
	const struct config_share *share = route->shares;
	while (left >= share->weight)
		left -= share++->weight;
	return share->backend;
}

void exchange_choose_backend(struct exchange *exchange)
{
	const struct config_route *route = exchange_route(exchange);
	int backend = route->share_count ? draw(exchange->downstream->worker, route)
	                                 : route->backend;
	exchange->backend_index = (size_t)backend;
}

const struct config_backend *exchange_backend(const struct exchange *exchange)
{
	return &exchange->snapshot->config->backends[exchange->backend_index];
}
