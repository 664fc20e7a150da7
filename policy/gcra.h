// The arithmetic of one token bucket (generic cell rate algorithm): the whole state is the
// theoretical arrival time, the moment at which the bucket would be full. It is counted in units of
// 1/scale nanoseconds, `scale` being four times the tokens per period in lowest terms, so that a
// token is a whole number of units at any rate and nothing is ever rounded: 3/s is as exact after a
// year as at the start. Moments are taken modulo 2^64 and compared by difference, which is
// unambiguous while nobody lets one lie longer than `sweep_ns` (gcra_sweep). Every moment is a
// multiple of four: the two lowest bits are the holder's (gate.h). Pure; any thread.
#ifndef POLICY_GCRA_H
#define POLICY_GCRA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "policy/bucket.h"

struct gcra {
	uint64_t scale;    // units per nanosecond
	uint64_t step;     // units per token
	uint64_t depth;    // units per full bucket: burst x step, at most 2^62
	int64_t sweep_ns;  // moments older than this must be swept
};

// bucket_rate_valid(rate) must hold.
struct gcra gcra_of(struct bucket_rate rate);

static inline uint64_t gcra_moment(const struct gcra *gcra, int64_t now_ns)
{
	return (uint64_t)now_ns * gcra->scale;
}

// The units missing from a full bucket; 0 = full.
static inline uint64_t gcra_debt(const struct gcra *gcra, uint64_t full_at, int64_t now_ns)
{
	int64_t ahead = (int64_t)(full_at - gcra_moment(gcra, now_ns));
	return ahead > 0 ? (uint64_t)ahead : 0;
}

// Takes so many tokens, 0 being one, all or none: 0, and *full_at is moved; or the nanoseconds
// until they are there, rounded up. More than the burst would never be there: who wants more takes
// that.
MUST_USE int64_t gcra_take(
        const struct gcra *gcra, uint64_t *full_at, uint64_t tokens, int64_t now_ns);

// Takes so many tokens though they may not be there yet: in so many nanoseconds they are, rounded
// up, and nobody else gets them first. Nothing is taken where that is longer than `longest_ns`, or
// than can be counted: minus the time. The rate must be valid with twice the burst.
MUST_USE int64_t gcra_borrow(const struct gcra *gcra, uint64_t *full_at, uint64_t tokens,
        int64_t longest_ns, int64_t now_ns);

// The same bucket with what lies in the past brought up to now, given that the last sweep was at
// `swept_ns`, however long ago.
MUST_USE uint64_t gcra_sweep(
        const struct gcra *gcra, uint64_t full_at, int64_t swept_ns, int64_t now_ns);

// The bucket under other numbers with as many tokens as it has now, rounded down, at most the new
// burst; what was borrowed is still owed, as far as can be counted.
MUST_USE uint64_t gcra_convert(
        const struct gcra *from, uint64_t full_at, const struct gcra *to, int64_t now_ns);

double gcra_tokens(const struct gcra *gcra, uint64_t full_at, int64_t now_ns);

#endif
