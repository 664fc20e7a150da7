// Which endpoint of a pool an attempt goes to.
#include "gateway/pool.h"
#include "gateway/upstream.h"

static int pick(struct pool *pool, const struct pool_request *request)
{
	switch (pool_config(pool)->balance) {
	case BALANCE_LEAST_REQUESTS:
		return balance_least_requests(
		        pool->balance, pool->endpoint_count, worker_random(pool->worker));
	case BALANCE_HASH:
		if (request->hashed)
			return balance_hash(pool_labels(pool)->table, pool->balance,
			        pool->endpoint_count, request->hash);
		break;
	case BALANCE_ROUND_ROBIN:
		break;
	}
	return balance_round_robin(pool->balance, pool->endpoint_count);
}

// Those tried are left out, but for the first `forgiven`.
static int pick_another(struct pool *pool, const struct pool_request *request, unsigned forgiven)
{
	uint32_t weights[POOL_TRIES_MAX];
	for (unsigned i = forgiven; i < request->tried_count; i++) {
		uint32_t *weight = &pool->balance[request->tried[i]].weight;
		weights[i] = *weight;
		*weight = 0;
	}
	int found = pick(pool, request);
	for (unsigned i = request->tried_count; i-- > forgiven;)
		pool->balance[request->tried[i]].weight = weights[i];
	return found;
}

static void look_again(struct pool *pool)
{
	if (pool->health_changes != pool->worker->health_changes ||
	        pool->worker->turn.now_ns >= pool->weigh_ns)
		pool_weigh(pool);
}

static bool bound(const struct pool *pool, const struct pool_request *request)
{
	return pool_config(pool)->balance == BALANCE_HASH && request->hashed;
}

// Beginning with the one chosen, the first with room; not where the last attempt failed, unless
// there is no other.
static int first_with_room(const struct pool *pool, const struct pool_request *request, size_t from)
{
	unsigned tried = request->tried_count;
	size_t last = tried ? request->tried[tried - 1] : SIZE_MAX;
	bool alone = true;
	for (size_t i = 0; i < pool->endpoint_count; i++) {
		size_t at = (from + i) % pool->endpoint_count;
		if (at == last || !pool->balance[at].weight)
			continue;
		alone = false;
		if (upstream_has_room(pool, at, request))
			return (int)at;
	}
	alone &= last != SIZE_MAX && pool->balance[last].weight;
	return alone && upstream_has_room(pool, last, request) ? (int)last : BALANCE_NONE;
}

bool pool_takes_anywhere(const struct pool *pool, const struct pool_request *request)
{
	const struct config_backend *config = pool_config(pool);
	return config->balance != BALANCE_HASH && config->proxy_header == PROXY_HEADER_OFF &&
	       !request->tried_count && !request->anew;
}

// Nobody overtakes those who wait already for the same.
static bool find_room(const struct pool *pool, const struct pool_request *request, int *found)
{
	size_t chosen = (size_t)*found;
	if (bound(pool, request))
		return (request->queued || !pool->endpoints[chosen].pending) &&
		       upstream_has_room(pool, chosen, request);
	if (pool->pending_anywhere && !request->queued)
		return false;
	int other = first_with_room(pool, request, chosen);
	if (other != BALANCE_NONE)
		*found = other;
	return other != BALANCE_NONE;
}

bool pool_has_room(struct pool *pool, const struct pool_request *request)
{
	struct pool_request asking = *request;
	look_again(pool);
	if (!bound(pool, request))
		return first_with_room(pool, request, 0) != BALANCE_NONE;
	asking.queued = true;
	(void)pool_choose(pool, &asking);
	return !asking.full;
}

// Where the call is bound to, or SIZE_MAX: it may go to any.
static size_t only_choice(struct pool *pool, const struct pool_request *request)
{
	struct pool_request asking = *request;
	if (!bound(pool, request))
		return SIZE_MAX;
	asking.queued = true;
	return pool_choose(pool, &asking);
}

static bool may_go_to(const struct pool *pool, size_t only, size_t endpoint)
{
	return only == SIZE_MAX ? pool->balance[endpoint].weight > 0 : only == endpoint;
}

size_t pool_room_to_come(struct pool *pool, const struct pool_request *request)
{
	size_t only = only_choice(pool, request), count = 0;
	for (size_t i = 0; i < pool->endpoint_count; i++)
		if (may_go_to(pool, only, i))
			count += upstream_room_to_come(pool, i);
	return count;
}

void pool_make_room(struct pool *pool, const struct pool_request *request)
{
	size_t only = only_choice(pool, request);
	for (size_t i = 0; i < pool->endpoint_count; i++)
		if (may_go_to(pool, only, i) && upstream_make_room(pool, i))
			return;
}

bool pool_would_refuse(struct pool *pool, const struct pool_request *request)
{
	struct pool_request asking = *request;
	if (!pool->ceiling || pool->pending_count < pool->pending_most)
		return false;
	if (pool->pending_count < pool->pending_most + pool_room_to_come(pool, request))
		return false;
	if (!bound(pool, request))
		return pool->pending_anywhere || !pool_has_room(pool, request);
	(void)pool_choose(pool, &asking);
	return asking.full;
}

size_t pool_choose(struct pool *pool, struct pool_request *request)
{
	unsigned tried = request->tried_count;
	look_again(pool);
	int found = pick_another(pool, request, 0);
	if (found == BALANCE_NONE && tried > 1)
		found = pick_another(pool, request, tried - 1);
	if (found == BALANCE_NONE)
		found = pick_another(pool, request, tried);
	CHECK(found != BALANCE_NONE && tried < POOL_TRIES_MAX);
	request->full = pool->ceiling && !find_room(pool, request, &found);
	if (request->full) {
		request->bound = bound(pool, request);
		request->busy = (size_t)found;
		return request->busy;
	}
	request->tried[request->tried_count++] = (uint32_t)found;
	return (size_t)found;
}
