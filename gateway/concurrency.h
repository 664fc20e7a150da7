// How many calls a backend takes at once before they only wait there: a limit that follows the time
// its answers take. Calls are judged by cohorts, those that began one after the other while nothing
// was changed; once all have ended, or the rest is long overdue, the limit shrinks by as much as
// they took longer than is fine, or grows while it is needed. What an answer takes unloaded is
// learnt from cohorts of which nobody was refused; while somebody is, the limit dips now and then
// for one cohort (a probe), at whole seconds of the clock, so that all workers let the backend
// breathe at the same moment. Pure arithmetic on the times it is given: no clock, no loop, no
// memory of its own. Owned by its admission (admission.h); the worker's thread. It never waits, and
// without calls never changes.
#ifndef GATEWAY_CONCURRENCY_H
#define GATEWAY_CONCURRENCY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "conf/config.h"

enum concurrency_end {
	CONCURRENCY_ANSWERED,
	// An error, no answer in time, or nobody there any more to take one. It may have come
	// without any work, or have been called off at once: one that took no longer than is fine
	// says nothing; the others took at least as long as they did.
	CONCURRENCY_FRUITLESS,
	// The backend cannot be reached or says itself that it has no room: as bad as slow can be,
	// however quick.
	CONCURRENCY_UNAVAILABLE,
	CONCURRENCY_SILENT,  // says nothing of the backend
};

struct concurrency_cohort {
	uint64_t first;  // ticket; its members' are this one and the following
	unsigned begun, ended;
	unsigned counted, unavailable;
	double sum_ns;                // of those counted
	double level, level_squared;  // sums over those begun: how many were under way then
	int64_t opened_ns;
	int64_t closed_ns;  // 0: still open
};

struct concurrency {
	struct config_concurrency config;
	double limit;
	unsigned active;
	uint64_t tickets;  // given out so far
	struct concurrency_cohort cohort;
	unsigned peak;       // of the calls under way since that was opened
	bool pressed;        // somebody was refused since
	bool was_pressed;    // and before that
	double unloaded_ns;  // what an answer takes when no other is in its way; 0: not known yet
	double mean_ns;      // what it took of late; likewise
	int64_t born_ns;
	unsigned judged;   // cohorts since the last probe
	unsigned useless;  // of them in a row: that took as long although the limit had shrunk
	bool shrunk;
	struct {
		int64_t due_ns;
		int64_t began_ns;   // 0: there is none
		int64_t clean_ns;   // when what had waited was gone; 0: it is not yet
		bool judged, done;  // this one has told what it can; one has
		double limit;
	} probe;
};

// One of so many `workers` that share the backend, and what the limits begin with.
void concurrency_init(struct concurrency *concurrency, const struct config_concurrency *config,
        size_t workers, int64_t now_ns);
// Whether a call of this priority may come; where not, it is taken as refused.
MUST_USE bool concurrency_room(
        struct concurrency *concurrency, enum config_priority priority, int64_t now_ns);
// The most calls under way, and one more, with which one of this priority still comes in.
unsigned concurrency_ceiling(const struct concurrency *concurrency, enum config_priority priority);

// A call is under way, and is not any more.
void concurrency_enter(struct concurrency *concurrency);
void concurrency_leave(struct concurrency *concurrency);
// The backend has the whole of a call: from now on it is the backend who takes time. Each ticket is
// given back once.
MUST_USE uint64_t concurrency_begin(struct concurrency *concurrency, int64_t now_ns);
void concurrency_end(struct concurrency *concurrency, uint64_t ticket, enum concurrency_end end,
        int64_t took_ns, int64_t now_ns);

#endif
