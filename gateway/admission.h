// Which calls a backend with a `concurrency` limit gets: a place for each, from its forwarding to
// the head of its answer. Whom there is no place for is told at once instead of waiting, by the
// policy (policy_request.room), before it pays. A place whose request is still coming after a
// second is given up, so that slow clients keep nobody out, and taken again once the request is
// whole; only from then on it is the backend's time that counts. The limits are the worker's own,
// one for each backend by name; they outlive reloads as long as backend and settings stay. Owned by
// the worker; its thread only. It answers nobody and never waits.
#ifndef GATEWAY_ADMISSION_H
#define GATEWAY_ADMISSION_H

#include "gateway/concurrency.h"
#include "policy/policy.h"

struct admission;  // opaque: of one backend
struct exchange;
struct list;
struct snapshot;
struct worker;

// The snapshot's backends and no others.
void admissions_use(struct worker *worker, const struct snapshot *snapshot);
void admissions_free(struct worker *worker);

// Whether the backend that was chosen takes one more call, or why not; none chosen: the gateway
// answers itself.
MUST_USE enum policy_crowd admission_room(struct exchange *exchange);
// It takes this one, which is being forwarded.
void admission_enter(struct exchange *exchange);
// The rest does nothing where there is no place.
void admission_whole(struct exchange *exchange);     // the request is
void admission_answered(struct exchange *exchange);  // the answer's head is there, statuses noted
void admission_failed(struct exchange *exchange, const char *cause);  // of exchange_fail
// The call is over before that: its client has left, or was refused after all.
void admission_leave(struct exchange *exchange, enum concurrency_end end);

#endif
