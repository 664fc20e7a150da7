// One event loop on one thread: its own listening sockets, connections, pools and counters; nothing
// shared on the request path but the buckets. Main starts workers, hands them snapshots, and tells
// them to drain or to stop; it speaks to them only through worker_offer, worker_await, worker_drain
// and worker_stop. All else here is the worker's thread only.
#ifndef GATEWAY_WORKER_H
#define GATEWAY_WORKER_H

#include <stdatomic.h>

#include "gateway/audit.h"
#include "gateway/date_field.h"
#include "gateway/memory.h"
#include "gateway/metrics.h"
#include "gateway/net/turn.h"
#include "gateway/snapshot.h"
#include "gateway/trace_lane.h"
#include "gateway/worker_listener.h"

struct worker {
	struct turn turn;
	size_t index, peers;  // which of how many
	uv_thread_t thread;
	bool threaded;
	uv_async_t bell;
	struct snapshot *snapshot;  // in force
	struct list listeners;
	struct list downstreams;
	struct list unreviewed;  // downstreams too, from before the last reload
	struct timer review;
	struct list pools;
	struct limit_store *limits;    // those of the fleet
	uint64_t health_changes;       // of endpoints, by whom pools know that they have to look
	size_t pending_count;          // calls that wait for a connection to a backend
	struct dirty room;             // there may be one for them
	struct pool **pools_in_force;  // the snapshot's, by backend; set once begun
	struct list pools_retired;     // of configurations that were replaced
	struct list admissions;        // of backends with a concurrency limit
	size_t downstream_count, upstream_count;
	size_t mirror_count;  // copies of requests on their way
	struct audit *audit;
	struct audit_lane *lane;
	struct metrics *metrics;
	const struct memory *memory;  // main's; set before the start
	struct trace_lane *spans;     // likewise; NULL: no tracing
	uint64_t random[4];
	struct date_field date;
	bool begun, draining, stopping, finished;
	void (*on_finished)(struct worker *worker);  // on the worker's thread
	void *owner;
	// The mailbox: written by main, taken by the worker when the bell rings.
	_Atomic(struct snapshot *) offered;
	atomic_bool begin_asked, drain_asked, stop_asked;
	atomic_uint_fast64_t pulse_asked, pulse;  // the last question whether it lives, and answer
	uv_mutex_t lock;                          // for those below
	uv_cond_t turned;
	const struct snapshot *serves;  // the one it took last
};

// Takes a reference on the snapshot, which has its sockets by now.
void worker_init(struct worker *worker, size_t index, size_t peers, struct snapshot *snapshot,
        struct audit *audit);
void worker_start(struct worker *worker);  // its thread, which takes no connections yet
void worker_join(struct worker *worker);   // after on_finished
void worker_fini(struct worker *worker);   // after join

// Any thread.
void worker_begin(struct worker *worker);                             // connections may come
void worker_offer(struct worker *worker, struct snapshot *snapshot);  // takes over one reference
// Blocks until it serves by that one, or the time has come.
void worker_await(struct worker *worker, const struct snapshot *snapshot, int64_t until_ns);
void worker_drain(struct worker *worker);  // no new connections; what is under way finishes
void worker_stop(struct worker *worker);   // now
// Whether it has answered the question before this one.
bool worker_has_pulse(struct worker *worker);

// Something ended: when draining and nothing is left the loop winds up.
void worker_settle(struct worker *worker);

// Some backend may have room for a call that waits: they are looked through at the turn's end.
static inline void worker_has_room(struct worker *worker)
{
	if (worker->pending_count)
		turn_mark_dirty(&worker->turn, &worker->room);
}

uint64_t worker_random(struct worker *worker);  // for ids; not for keys

#endif
