// One worker's end of a listener: the doors at which its connections come in. It follows the
// configuration: doors open and shut as listeners come and go, and what came in by one that is gone
// is drained. It dies, after that, when nothing that came in by it is left. The worker's thread
// only.
#ifndef GATEWAY_WORKER_LISTENER_H
#define GATEWAY_WORKER_LISTENER_H

#include "gateway/listening.h"
#include "gateway/net/door.h"

struct snapshot;
struct worker;

struct worker_listener {
	struct list node;  // in worker->listeners
	struct worker *worker;
	struct listening *listening;
	const char *label;  // its name in metrics; one reference
	size_t index;       // in the configuration in force
	bool removed;       // it is not in there any more
	size_t door_count, doors_open;
	struct door *doors;
	size_t downstream_count;
};

// Before the worker takes up `next`: those that are not in it shut their doors.
void worker_listeners_leave(struct worker *worker, const struct snapshot *next);
// After that: those of the worker's snapshot that are not there yet open theirs.
void worker_listeners_join(struct worker *worker);
// A connection that came in by it is gone; frees it if it was the last of one that was removed.
void worker_listener_settle(struct worker_listener *listener);
// Takes in who is waiting already, then shuts the doors.
void worker_listeners_shut(struct worker *worker);
void worker_listeners_free(struct worker *worker);  // after the loop has ended

#endif
