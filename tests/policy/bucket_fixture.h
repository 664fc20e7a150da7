// What the bucket tests share: limits with few words, single takes, and a small random source that
// gives the same schedule on every machine. One store a test.
#ifndef TESTS_POLICY_BUCKET_FIXTURE_H
#define TESTS_POLICY_BUCKET_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "policy/bucket.h"

static const int64_t second_ns = NS_PER_S, minute_ns = INT64_C(60) * NS_PER_S,
                     hour_ns = INT64_C(3600) * NS_PER_S;

static inline uint64_t random_next(uint64_t *state)  // splitmix64
{
	uint64_t word = *state += 0x9e3779b97f4a7c15u;
	word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9u;
	word = (word ^ word >> 27) * 0x94d049bb133111ebu;
	return word ^ word >> 31;
}

static inline uint64_t random_below(uint64_t *state, uint64_t bound)
{
	return random_next(state) % bound;
}

static inline int64_t take_tokens(
        struct bucket_limit *limit, struct str key, uint64_t tokens, int64_t now_ns)
{
	size_t refused_by = 99;
	struct bucket_claim claim = {limit, key, tokens};
	int64_t wait_ns = bucket_take_all(&claim, 1, now_ns, &refused_by);
	assert_int_equal(refused_by, 0);
	assert_true(wait_ns >= 0);
	return wait_ns;
}

static inline int64_t take(struct bucket_limit *limit, struct str key, int64_t now_ns)
{
	return take_tokens(limit, key, 1, now_ns);
}

static inline bool allow(struct bucket_limit *limit, int64_t now_ns)
{
	return take(limit, STR(""), now_ns) == 0;
}

static inline struct str key_of(char text[32], uint64_t number)
{
	return str_of(text, (size_t)snprintf(text, 32, "caller-%llu", (unsigned long long)number));
}

static inline bool allow_key(struct bucket_limit *limit, uint64_t number, int64_t now_ns)
{
	char text[32];
	return take(limit, key_of(text, number), now_ns) == 0;
}

// How many tokens are left: takes them all.
static inline uint64_t drain(struct bucket_limit *limit, struct str key, int64_t now_ns)
{
	uint64_t count = 0;
	while (take(limit, key, now_ns) == 0)
		count++;
	return count;
}

static inline void keep_view(const struct bucket_view *view, void *kept)
{
	*(struct bucket_view *)kept = *view;
}

// Of a store with one limit.
static inline struct bucket_view view_of(struct bucket_store *store, int64_t now_ns)
{
	struct bucket_view view = {0};
	bucket_store_each(store, now_ns, keep_view, &view);
	return view;
}

#endif
