// Inside of a bucket_limit, shared by taking (bucket.c), keeping by name (bucket_store.c), carrying
// over (carry.c) and handing to another process (transfer.c). Numbers never change during a limit's
// life: other numbers make another limit, its successor, to which each gate is moved with the
// tokens behind it; whoever comes to a moved gate goes on at the successor. Counted under the
// store's mutex; the rest any thread.
#ifndef POLICY_LIMIT_H
#define POLICY_LIMIT_H

#include <pthread.h>

#include "policy/gcra.h"
#include "policy/split.h"

enum { SWEPT_NEVER = INT64_MIN };  // nobody came yet: every bucket is full, at whatever time

struct bucket_limit {
	struct gate gate;     // the one bucket; of a split limit, the overflow bucket
	struct split *split;  // NULL when not keyed
	struct gcra gcra;
	struct fingerprint seed;
	_Atomic int64_t swept_ns;
	pthread_mutex_t sweeping;
	struct bucket_limit
	        *_Atomic successor;  // one reference; set before the first gate is moved
	_Atomic uint64_t overflow_uses;
	atomic_bool shared;

	// In which order gates are held, lowest first, so that nobody waits in a circle: gates of
	// keys and single buckets by (order, address), then overflow gates by order. A successor
	// has its predecessor's; nobody holds gates of both but limit_carry, which goes from old to
	// new.
	uint64_t order;
	struct bucket_store *store;
	struct bucket_limit *next;  // of the same chain in the store
	struct bucket_rate rate;
	struct str name;
	size_t references;
};

struct bucket_store {
	pthread_mutex_t mutex;
	struct fingerprint seed;
	uint64_t orders;
	struct bucket_limit *chains[256];
	struct tally *tallies;
};

// Before any gate is touched: sees to it that no moment lies longer than it may (gcra.h). One load
// but for once in `sweep_ns`.
void limit_refresh(struct bucket_limit *limit, int64_t now_ns);

// Full, and not in its store yet. By name; the store's mutex is held. See bucket_limit_get.
struct bucket_limit *limit_new(struct bucket_store *store, struct str name, struct bucket_rate rate,
        bool keyed, uint64_t max_keys);
struct bucket_limit *limit_find(struct bucket_store *store, struct str name);
bool limit_is_kind(const struct bucket_limit *limit, bool keyed);

// Moves every bucket of `from` to `to`, which nobody else knows yet, and closes `from`.
void limit_carry(struct bucket_limit *from, struct bucket_limit *to, int64_t now_ns);

#endif
