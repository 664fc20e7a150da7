// Which connections to an endpoint have room for a call, and where none may be made, how there is.
#include "gateway/upstream.h"
#include "gateway/upstream_proxy.h"

struct upstream *upstream_find(
        const struct pool *pool, size_t endpoint, const struct downstream *client)
{
	if (upstream_proxy_wanted(pool))
		return upstream_proxy_find(pool, endpoint, client);
	const struct list *head = &pool->endpoints[endpoint].roomy;
	for (struct list *node = head->previous; node != head; node = node->previous) {
		struct upstream *upstream = LIST_ITEM(node, struct upstream, roomy);
		if (upstream_welcomes(upstream))
			return upstream;
	}
	return NULL;
}

bool upstream_at_ceiling(const struct pool *pool, size_t endpoint)
{
	return pool->ceiling && pool->endpoints[endpoint].endpoint->connections >= pool->ceiling;
}

bool upstream_has_room(const struct pool *pool, size_t endpoint, const struct downstream *client)
{
	return !upstream_at_ceiling(pool, endpoint) || upstream_find(pool, endpoint, client);
}

static struct upstream *find_idle(const struct pool *pool, const struct endpoint *endpoint)
{
	for (size_t i = 0; i < pool->endpoint_count; i++) {
		if (pool->endpoints[i].endpoint != endpoint)
			continue;
		LIST_EACH (&pool->endpoints[i].roomy, node) {
			struct upstream *upstream = LIST_ITEM(node, struct upstream, roomy);
			if (!upstream->codec->stream_count)
				return upstream;
		}
	}
	return NULL;
}

static bool close_an_idle_one(const struct endpoint *endpoint)
{
	LIST_EACH (&endpoint->worker->pools, node) {
		struct pool *pool = LIST_ITEM(node, struct pool, node);
		if (pool_labels(pool)->label != endpoint->backend)
			continue;
		struct upstream *idle = find_idle(pool, endpoint);
		if (!idle)
			continue;
		upstream_close(idle, ABORT_CLOSED);
		return true;
	}
	return false;
}

size_t upstream_make_room(const struct pool *pool, size_t endpoint, size_t wanted)
{
	const struct endpoint *full = pool->endpoints[endpoint].endpoint;
	// Idle ones of its own would be room.
	bool shared = full->holders > 1 || upstream_proxy_wanted(pool);
	while (shared && full->closing < wanted && close_an_idle_one(full))
		;
	return full->closing;
}
