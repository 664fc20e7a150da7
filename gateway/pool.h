// A worker's way to one backend of one configuration: its endpoints, which of them is next, and the
// connections that are open to each (upstream.h). Those of the configuration in force are all there
// from its first moment, for they carry what is known of the endpoints over from the ones before;
// one of a configuration that was replaced lives until its calls are over. Owned by the worker; its
// thread only.
#ifndef GATEWAY_POOL_H
#define GATEWAY_POOL_H

#include "gateway/balance.h"
#include "gateway/endpoint.h"
#include "gateway/worker.h"

struct pool_endpoint {
	struct endpoint *endpoint;
	struct health_check *check;  // NULL: there is none
	struct list roomy;           // the connections that may have room, last used last
	size_t pending;              // calls that wait for this one and no other
};

struct pool {
	struct list node;       // in worker->pools
	struct list left_over;  // in worker->pools_retired, once it is
	struct worker *worker;
	struct snapshot *snapshot;  // whose backend this is: in force, the newest that has the same
	size_t backend;             // index there
	enum pool_use { POOL_OF_CALLS, POOL_OF_MIRROR } use;  // copies (mirror.h) go by themselves
	struct balance_endpoint *balance;  // by endpoint, as are those at the end
	struct list connections;           // those that may be used
	size_t upstream_count;             // with those being closed
	unsigned repeats;                  // calls under way that a route's `retry` made again
	unsigned waiting;                  // of them, those that are between two attempts
	size_t ceiling;       // connections to each endpoint of this worker; 0: there is none
	struct list pending;  // calls that wait for one (pending.h)
	size_t pending_count, pending_most;
	size_t pending_anywhere;  // of them, for whom any will do
	uint32_t peer_streams;    // what its connections were allowed last; 0: not known yet
	uint64_t health_changes;  // the worker's, when the weights were set
	int64_t weigh_ns;         // when they change by themselves
	bool panic;               // all are out, so all are asked
	bool retired;
	bool serving;  // those who wait: it stays
	size_t endpoint_count;
	struct pool_endpoint endpoints[];
};

// What a choice goes by, kept by the request from one attempt to the next; zeroed before the first.
enum { POOL_TRIES_MAX = 4 };
enum { POOL_REPEATS_FREE = 3 };  // may be under way whatever the budget
struct pool_request {
	struct downstream *client;  // whose call it is; NULL: nobody's
	bool hashed;                // there is a hash to go by
	uint64_t hash;
	uint32_t tried[POOL_TRIES_MAX];  // endpoints; the last is that of the attempt under way
	unsigned tried_count;
	bool queued;  // has waited for its turn
	bool anew;    // only a new connection will do, others may be stale
	// Said by pool_choose: there is no connection for it now, at an endpoint it is bound to or
	// not.
	bool full, bound;
	size_t busy;
};

const struct config_backend *pool_config(const struct pool *pool);
const struct snapshot_backend *pool_labels(const struct pool *pool);
struct pool *pool_of(
        struct worker *worker, struct snapshot *snapshot, size_t backend, enum pool_use use);
// The endpoint for the next attempt, also added to those tried: one that was not yet, where there
// is one, else another than the last. Where the pool has a ceiling, it is one with room; or none
// has any, nothing was added, and `full` is set.
size_t pool_choose(struct pool *pool, struct pool_request *request);
// Whether a connection has room for the call now, whoever may wait for it.
MUST_USE bool pool_has_room(struct pool *pool, const struct pool_request *request);
// Whether any connection to any endpoint will do for the call: where it finds none, nobody does.
bool pool_takes_anywhere(const struct pool *pool, const struct pool_request *request);
// Whether a call that comes now would find no connection and too many others waiting.
MUST_USE bool pool_would_refuse(struct pool *pool, const struct pool_request *request);
// How many connections may soon be made for the call: as many as are being closed where it may go,
// and as are idle there without being good for it. And closes one of the latter, where none is.
size_t pool_room_to_come(struct pool *pool, const struct pool_request *request);
void pool_make_room(struct pool *pool, const struct pool_request *request);
void pool_weigh(struct pool *pool);  // by what is known now of its endpoints
// How an attempt at the endpoint ended: what says nothing of it is not told.
void pool_report(struct pool *pool, size_t endpoint, bool good);
// Whether one more call may be repeated, when they may be `budget` of a hundred of those under way;
// it is counted, and holds the pool until it is told to end.
MUST_USE bool pool_repeat_begins(struct pool *pool, unsigned budget);
void pool_repeat_ends(struct pool *pool);
// Takes over the connections of one of the same backend that is not in force any more, as far as
// they go where this one's would.
void pool_adopt(struct pool *pool, struct pool *former);
void pool_free_if_empty(struct pool *pool);

void pools_renew(struct worker *worker);  // the snapshot is the first, or changed
void pools_close(struct worker *worker);  // no downstream is left
void pools_rest(struct worker *worker);   // nor an upstream: the loop ends
void pools_free(struct worker *worker);   // the loop has ended

#endif
