#include "gateway/upstream_proxy.h"

#include "gateway/net/socket.h"
#include "gateway/proxy_header.h"

void upstream_proxy_greet(
        const struct pool *pool, struct link *link, const struct downstream *client)
{
	bool encrypted = pool_labels(pool)->tls;
	int version = pool_config(pool)->proxy_header == PROXY_HEADER_V1 ? 1 : 2;
	struct sockaddr_storage from = {.ss_family = AF_UNSPEC}, to = from;
	if (client) {
		memcpy(&from, &client->client, sizeof(client->client));
		socket_own(&client->link.handle.any, &to);
	}
	proxy_header_write(version, &from, &to, encrypted ? &link->wire : &link->plain);
}

struct upstream *upstream_proxy_find(
        const struct pool *pool, size_t endpoint, const struct downstream *client)
{
	LIST_EACH (&client->upstreams, node) {
		struct upstream *upstream = LIST_ITEM(node, struct upstream, own);
		if (upstream->pool == pool && upstream->endpoint == endpoint &&
		        upstream_welcomes(upstream))
			return upstream;
	}
	return NULL;
}

void upstream_proxy_end(struct downstream *client)
{
	LIST_EACH (&client->upstreams, node) {
		struct upstream *upstream = LIST_ITEM(node, struct upstream, own);
		list_remove(&upstream->own);
		upstream->codec->shutting_down = true;
		if (!upstream->codec->stream_count)
			upstream_close(upstream, ABORT_CLOSED);
	}
}
