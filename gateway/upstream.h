// A connection to an endpoint of a backend, kept alive and, over HTTP/2, shared by many calls. One
// is dialled when none of the pool's has room; a stream may be opened on it at once, its bytes wait
// for the connect. Whoever opens a stream becomes its user and hears of its end through the
// exchange_backend_* events. Owned by its pool; the worker's thread only.
#ifndef GATEWAY_UPSTREAM_H
#define GATEWAY_UPSTREAM_H

#include "gateway/http/codec.h"
#include "gateway/net/link.h"
#include "gateway/pool.h"

struct upstream {
	struct link link;
	struct grave grave;
	struct list node;   // in pool->connections
	struct list own;    // in those of its client, where it is in somebody's name
	struct list roomy;  // in pool->endpoints[endpoint].roomy, or in none while it has no room
	struct pool *pool;
	size_t endpoint;
	struct codec *codec;
	struct timer timer;    // connect timeout, then idle or stuck
	int64_t connected_ns;  // 0: not yet
	int64_t heard_ns;      // when the backend last said anything
	int64_t ends_ns;       // no new calls from then on: its certificate ends
	uint64_t bytes_out;    // when the timer was set
	int64_t stuck_ns;  // since when the backend takes nothing; 0: it does, or is not asked to
	bool closing;
};

enum {
	UPSTREAM_IDLE_MS = 60 * 1000,
	UPSTREAM_STUCK_MS = 10 * 1000,  // nothing taken by an HTTP/2 backend, then it is given up
	UPSTREAM_WARY_MS = 1000,        // the same, until new calls take another connection
};

// A stream to an endpoint of the pool's backend: a connection with room, or a new one. NULL when
// none could even be begun, or the pool has none to give (`full`). `label` is set to the
// endpoint's name, which lives as long as the snapshot.
MUST_USE struct stream *upstream_open(
        struct pool *pool, struct pool_request *request, const char **label);
// The connection with room for the call that was used last; NULL: there is none.
struct upstream *upstream_find(
        const struct pool *pool, size_t endpoint, const struct pool_request *request);
// Whether the endpoint has a connection with room for the call, or may get one more.
MUST_USE bool upstream_has_room(
        const struct pool *pool, size_t endpoint, const struct pool_request *request);
// How many connections to the endpoint are being closed, or may be: an idle one. Where there is no
// room, others may soon be made.
size_t upstream_room_to_come(const struct pool *pool, size_t endpoint);
// Closes such a one, the longest idle, where none is being closed; false: there is none.
bool upstream_make_room(const struct pool *pool, size_t endpoint);
// Like upstream_open, for a copy of a request, over connections that carry nothing else; its user
// hears of it through the mirror_* events. `full`: no connection was to be had.
MUST_USE struct stream *upstream_open_mirror(
        struct worker *worker, struct snapshot *snapshot, size_t backend, bool *full);
// What the attempt says of its endpoint: pool_report.
void upstream_report(const struct stream *stream, bool good);
// stream_release, for a stream that was opened here.
void upstream_release(struct stream *stream);
// A call made at `asked_ns` ran out of time. When its HTTP/2 connection has been silent for most of
// it (a new one may have said its settings), and for longer than a moment, it is dead for all one
// can tell, for a network that swallows everything says nothing: no new calls go there. However
// little time callers give their calls, they do not take the connection from others.
enum { UPSTREAM_MOMENT_MS = 100 };
void upstream_suspect(struct stream *stream, int64_t asked_ns);
// When the stream's connection was made; 0: it is not yet.
int64_t upstream_connected_ns(const struct stream *stream);

bool upstream_welcomes(const struct upstream *upstream);                // new calls
void upstream_close(struct upstream *upstream, enum stream_abort why);  // idempotent

#endif
