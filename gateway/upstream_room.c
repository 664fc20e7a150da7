// Which connections to an endpoint have room for a call, and where none may be made, how there is.
#include "gateway/upstream.h"
#include "gateway/upstream_proxy.h"

struct upstream *upstream_find(
        const struct pool *pool, size_t endpoint, const struct pool_request *request)
{
	if (request->anew)
		return NULL;
	if (upstream_proxy_wanted(pool))
		return upstream_proxy_find(pool, endpoint, request->client);
	const struct list *head = &pool->endpoints[endpoint].roomy;
	for (struct list *node = head->previous; node != head; node = node->previous) {
		struct upstream *upstream = LIST_ITEM(node, struct upstream, roomy);
		if (upstream_welcomes(upstream))
			return upstream;
	}
	return NULL;
}

static bool at_ceiling(const struct pool *pool, size_t endpoint)
{
	return pool->ceiling && pool->endpoints[endpoint].endpoint->connections >= pool->ceiling;
}

bool upstream_has_room(const struct pool *pool, size_t endpoint, const struct pool_request *request)
{
	return !at_ceiling(pool, endpoint) || upstream_find(pool, endpoint, request);
}

static struct upstream *longer_idle(struct upstream *a, struct upstream *b)
{
	return !a || b->heard_ns < a->heard_ns ? b : a;
}

static struct upstream *longest_idle(
        const struct pool *pool, const struct endpoint *endpoint, struct upstream *found)
{
	for (size_t i = 0; i < pool->endpoint_count; i++) {
		if (pool->endpoints[i].endpoint != endpoint)
			continue;
		LIST_EACH (&pool->endpoints[i].roomy, node) {
			struct upstream *upstream = LIST_ITEM(node, struct upstream, roomy);
			if (!upstream->codec->stream_count)
				found = longer_idle(found, upstream);
		}
	}
	return found;
}

// Of the pool's own those that are not good for any call, or not for this one; of others all.
static struct upstream *find_idle(const struct pool *pool, const struct endpoint *endpoint)
{
	struct upstream *found = longest_idle(pool, endpoint, NULL);
	if (endpoint->holders == 1)
		return found;
	LIST_EACH (&endpoint->worker->pools, node) {
		const struct pool *other = LIST_ITEM(node, struct pool, node);
		if (other != pool && pool_labels(other)->label == endpoint->backend)
			found = longest_idle(other, endpoint, found);
	}
	return found;
}

size_t upstream_room_to_come(const struct pool *pool, size_t endpoint)
{
	const struct endpoint *full = pool->endpoints[endpoint].endpoint;
	return full->closing + (find_idle(pool, full) != NULL);
}

bool upstream_make_room(const struct pool *pool, size_t endpoint)
{
	const struct endpoint *full = pool->endpoints[endpoint].endpoint;
	struct upstream *idle = full->closing ? NULL : find_idle(pool, full);
	if (idle)
		upstream_close(idle, ABORT_CLOSED);
	return full->closing > 0;
}
