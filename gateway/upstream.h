// The way to the backends: per worker and backend a pool of connections, kept alive and, over
// HTTP/2, shared by many calls. A connection is dialled when none has room; a stream may be opened
// on it at once, its bytes wait for the connect. Whoever opens a stream becomes its user and hears
// of its end through the exchange_backend_* events. Owned by the worker; its thread only. A pool of
// a configuration that was replaced lives until its calls are over.
#ifndef GATEWAY_UPSTREAM_H
#define GATEWAY_UPSTREAM_H

#include "gateway/http/codec.h"
#include "gateway/net/link.h"
#include "gateway/worker.h"

struct pool {
	struct list node;  // in worker->pools
	struct worker *worker;
	struct snapshot *snapshot;  // whose backend this is
	size_t backend;             // index there
	size_t next_endpoint;
	struct list connections;  // those that may be used
	size_t upstream_count;    // with those being closed
	bool retired;
};

struct upstream {
	struct link link;
	struct grave grave;
	struct list node;  // in pool->connections
	struct pool *pool;
	size_t endpoint;
	struct codec *codec;
	struct timer timer;  // connect timeout, then idle or stuck
	uint64_t bytes_out;  // when the timer was set
	bool closing;
};

enum { UPSTREAM_IDLE_MS = 60 * 1000 };

// A stream to an endpoint of the backend: a connection with room, or a new one. NULL when none
// could even be begun.
MUST_USE struct stream *upstream_open(
        struct worker *worker, struct snapshot *snapshot, size_t backend);
const char *upstream_endpoint_label(const struct stream *stream);

void upstream_pools_retire(struct worker *worker);  // the snapshot changed
void upstream_pools_close(struct worker *worker);   // no downstream is left
void upstream_pools_free(struct worker *worker);

#endif
