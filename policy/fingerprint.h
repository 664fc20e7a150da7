// 128-bit keyed fingerprints (SipHash-2-4 with 128-bit output; Aumasson and Bernstein 2012) that
// stand for the keys of split buckets: of one size however long the caller's header is, and while
// the seed is secret nobody can find two keys that share one. Pure; any thread.
#ifndef POLICY_FINGERPRINT_H
#define POLICY_FINGERPRINT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

struct fingerprint {
	uint64_t low, high;
};

struct fingerprint fingerprint_of(struct str key, struct fingerprint seed);

static inline bool fingerprint_eq(struct fingerprint a, struct fingerprint b)
{
	return a.low == b.low && a.high == b.high;
}

#endif
