// Connections to a backend with `proxy_protocol`, which a header tells whose they are: each is made
// for one client connection, carries the requests of that alone, and ends with it. They stand in
// the pool as all others do, and in a list of their client's besides, where they are looked for.
// The worker's thread only.
#ifndef GATEWAY_UPSTREAM_PROXY_H
#define GATEWAY_UPSTREAM_PROXY_H

#include "gateway/downstream.h"
#include "gateway/upstream.h"

static inline bool upstream_proxy_wanted(const struct pool *pool)
{
	return pool_config(pool)->proxy_header != PROXY_HEADER_OFF;
}

// What comes first on a connection of such a backend, TLS or not; before anything else is written.
// `client` NULL: it is made for nobody.
void upstream_proxy_greet(
        const struct pool *pool, struct link *link, const struct downstream *client);
// The client's own connection to the endpoint that takes new calls; NULL: there is none.
struct upstream *upstream_proxy_find(
        const struct pool *pool, size_t endpoint, const struct downstream *client);
// The client is gone, its calls are over: so are its connections.
void upstream_proxy_end(struct downstream *client);

#endif
