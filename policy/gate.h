// The word that guards a bucket, on a cache line of its own. For a single bucket it is the bucket:
// full_at and two flags, so that a lone claim is one compare-and-swap; whoever claims several
// buckets at once holds each by its flag, for some tens of nanoseconds and never across a system
// call. For a shard of split buckets only the flags are used. A gate that was moved has given its
// buckets to the limit that replaced it, for good. Any thread.
#ifndef POLICY_GATE_H
#define POLICY_GATE_H

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"

enum { GATE_HELD = 1, GATE_MOVED = 2, GATE_FLAGS = GATE_HELD | GATE_MOVED };

struct gate {
	_Atomic uint64_t word;
	// The latest moment anybody came with. Workers look at the clock at different moments;
	// without this a call judged a microsecond behind another would find less than there is.
	_Atomic int64_t latest_ns;
	_Atomic uint64_t granted, refused;
	char rest_of_cache_line[32];
};

static inline void gate_pause(unsigned *turns)
{
	// The holder may have been preempted: let it run.
	if (++*turns % 128 == 0)
		sched_yield();
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#endif
}

enum gate_state { GATE_TAKEN, GATE_BUSY, GATE_GONE };

static inline enum gate_state gate_try_hold(struct gate *gate, uint64_t *full_at)
{
	uint64_t word = atomic_load_explicit(&gate->word, memory_order_relaxed);
	if (word & GATE_MOVED)
		return GATE_GONE;
	if (word & GATE_HELD ||
	        !atomic_compare_exchange_weak_explicit(&gate->word, &word, word | GATE_HELD,
	                memory_order_acquire, memory_order_relaxed))
		return GATE_BUSY;
	*full_at = word;
	return GATE_TAKEN;
}

// False when the gate was moved.
MUST_USE static inline bool gate_hold(struct gate *gate, uint64_t *full_at)
{
	unsigned turns = 0;
	enum gate_state state;
	while ((state = gate_try_hold(gate, full_at)) == GATE_BUSY)
		gate_pause(&turns);
	return state == GATE_TAKEN;
}

// `word` is full_at, or GATE_MOVED.
static inline void gate_release(struct gate *gate, uint64_t word)
{
	atomic_store_explicit(&gate->word, word, memory_order_release);
}

// The time to judge by: now, but never before what another thread has already judged by.
static inline int64_t gate_now(struct gate *gate, int64_t now_ns)
{
	int64_t latest = atomic_load_explicit(&gate->latest_ns, memory_order_relaxed);
	while (now_ns > latest)
		if (atomic_compare_exchange_weak_explicit(&gate->latest_ns, &latest, now_ns,
		            memory_order_relaxed, memory_order_relaxed))
			return now_ns;
	return latest;
}

static inline void gate_count(_Atomic uint64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

#endif
