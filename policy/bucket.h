// Token buckets, exact over any number of threads. They decide as golang.org/x/time/rate's Allow()
// does: `burst` tokens at the start, continuous refill, a token a call, never waiting; but in
// integers, where that one rounds (gcra.h). A `limit` is one rate limit of one route: a single
// bucket, or one per key in a table of fixed size (split.h). Limits are counted and known to their
// store by name; the store outlives every snapshot, so that a reload keeps the buckets. A moment
// earlier than another thread's counts as that thread's. Any thread; nothing here blocks on I/O.
#ifndef POLICY_BUCKET_H
#define POLICY_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/check.h"
#include "base/str.h"

struct bucket_rate {
	uint64_t count;     // tokens refilled ...
	int64_t period_ns;  // ... in this time
	uint64_t burst;
};

// False where the rate is more than one token a nanosecond (or has more than 9 digits in lowest
// terms), or where the burst would take decades to refill: beyond what is counted exactly.
MUST_USE bool bucket_rate_valid(struct bucket_rate rate);

struct bucket_limit;  // opaque, counted
struct gcra;          // opaque
struct bucket_store;  // opaque: limits by name

MUST_USE struct bucket_store *bucket_store_new(void);
void bucket_store_free(struct bucket_store *store);  // after every limit was let go

// The limit of that name (`edge/user.UserService/Login/rate_limits[0]`), made full if new. Where it
// exists with other numbers the fill of its buckets is carried over in tokens, never refilled by
// the change, at once for everybody who still holds the former limit. One that becomes keyed or
// ceases to be is another limit and starts full. One reference each call. `now_ns` is the clock the
// takers use.
MUST_USE struct bucket_limit *bucket_limit_get(struct bucket_store *store, struct str name,
        struct bucket_rate rate, bool keyed, uint64_t max_keys, int64_t now_ns);
void bucket_limit_unref(struct bucket_limit *limit);

enum { BUCKET_CLAIMS_MAX = 16, BUCKET_KEYS_MAX = 16 * 1024 * 1024 };

// One request's claim on one limit: which bucket its key falls into. The key is whatever bytes tell
// callers apart.
struct bucket_claim {
	struct bucket_limit *limit;
	struct str key;   // empty where the limit is not keyed
	uint64_t tokens;  // 0 is one; of more than the burst the burst is taken
	// For bucket_claim_left: what the bucket owes, once it was taken from, or where it refuses.
	const struct gcra *gcra;
	uint64_t debt;
};

// Whole tokens left in the bucket after the take, and the times in which it will hold another one,
// and be full (-1: who knows only a part of it cannot say).
struct bucket_left {
	uint64_t tokens;
	int64_t more_in_ns, full_in_ns;
};
struct bucket_left bucket_claim_left(const struct bucket_claim *claim);

// Takes every claim's tokens from its bucket, or none at all: 0 taken; otherwise *refused_by is the
// index of a claim whose bucket had too few and the result is the nanoseconds until that same call
// could pass (> 0, never less than the true wait; the longest where several were empty). No
// interleaving of threads grants more than burst + rate x time from any bucket, and none refuses a
// call because of tokens that another call did not keep. `count` is at most BUCKET_CLAIMS_MAX.
MUST_USE int64_t bucket_take_all(
        struct bucket_claim *claims, size_t count, int64_t now_ns, size_t *refused_by);

// The same answer, and the same count where it is a refusal, but nothing is taken: for a call that
// is to be refused in any case.
MUST_USE int64_t bucket_would_refuse(
        struct bucket_claim *claims, size_t count, int64_t now_ns, size_t *refused_by);

// Takes one claim's tokens though they may not be there yet: in so many nanoseconds they are, first
// come first served. Nothing is taken where that is longer than BUCKET_BORROW_S, or than
// `longest_ns`: minus the time. Of limits whose rate is valid with twice the burst.
enum { BUCKET_BORROW_S = 60 };
MUST_USE int64_t bucket_borrow(
        const struct bucket_claim *claim, int64_t longest_ns, int64_t now_ns);

// Its buckets live elsewhere, and this one stands in where they cannot be asked: for bucket_view.
void bucket_limit_set_shared(struct bucket_limit *limit, bool shared);
// Counts, likewise, a call that another store has decided about.
void bucket_limit_count(struct bucket_limit *limit, bool granted);

// For a process that takes another's place: every bucket as it stands, with the secret seed by
// which keys are found, as bytes for the same machine and boot. The store that goes on with them
// has that seed from its birth, NULL where `exported` is none; the fill comes later, once the
// limits are there and while nobody takes, and those that are not there any more are passed over.
// False where it breaks off; what came before it is in force then.
void bucket_store_export(struct bucket_store *store, int64_t now_ns, struct buffer *exported);
MUST_USE struct bucket_store *bucket_store_new_after(struct str exported);
MUST_USE bool bucket_store_import(struct bucket_store *store, struct str exported, int64_t now_ns);

// For /limits and metrics: the buckets in use, the keys tracked, calls granted and refused since
// the start.
struct bucket_view {
	struct str name;
	bool shared;
	struct bucket_rate rate;
	uint64_t max_keys, keys_used, overflow_uses, granted, refused;
	double fill;  // tokens in the fullest-used (lowest) bucket now
};
void bucket_store_each(struct bucket_store *store, int64_t now_ns,
        void (*visit)(const struct bucket_view *, void *), void *argument);

#endif
