// What a pool takes over of the one before it: connections that are as good for it. A reload costs
// backends no connection that it does not change.
#include "gateway/pool.h"
#include "gateway/upstream.h"

static int find(const struct pool *pool, const struct endpoint *endpoint)
{
	for (size_t i = 0; i < pool->endpoint_count; i++)
		if (pool->endpoints[i].endpoint == endpoint)
			return (int)i;
	return BALANCE_NONE;
}

static void move(struct upstream *upstream, struct pool *to, size_t endpoint)
{
	bool roomy = list_linked(&upstream->roomy);
	list_remove(&upstream->node);
	list_remove(&upstream->roomy);
	list_push(&to->connections, &upstream->node);
	if (roomy)
		list_push(&to->endpoints[endpoint].roomy, &upstream->roomy);
	upstream->pool->upstream_count--;
	upstream->pool = to;
	upstream->endpoint = endpoint;
	to->upstream_count++;
}

// Who its server may be is the new configuration's to say, if it is another one.
static bool trusts_the_same(const struct snapshot_backend *a, const struct snapshot_backend *b)
{
	return a->tls == b->tls && (!a->tls || a->policy == b->policy);
}

// A handshake that is under way asks the snapshot it began under.
static bool is_settled(const struct upstream *upstream)
{
	return !upstream->link.tls || tls_status(upstream->link.tls) == TLS_OPEN;
}

// Known endpoints are the same objects in both.
void pool_adopt(struct pool *pool, struct pool *former)
{
	bool alike = pool->use == former->use &&
	             pool_config(pool)->protocol == pool_config(former)->protocol &&
	             pool_config(pool)->proxy_header == pool_config(former)->proxy_header;
	if (!alike || !trusts_the_same(pool_labels(pool), pool_labels(former)))
		return;
	pool->peer_streams = former->peer_streams;
	LIST_EACH (&former->connections, node) {
		struct upstream *upstream = LIST_ITEM(node, struct upstream, node);
		int at = find(pool, former->endpoints[upstream->endpoint].endpoint);
		if (at != BALANCE_NONE && is_settled(upstream))
			move(upstream, pool, (size_t)at);
	}
}
