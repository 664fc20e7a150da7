#include "policy/split.h"

#include <stdlib.h>

enum { SHARDS_MAX = 64, KEYS_WORTH_A_SHARD = 1024 };

// Keys fall into shards by chance. Eight standard deviations more than the mean, and in practice
// `max_keys` keys always fit; `used` keeps the sum exact. A single shard needs no reserve.
static uint32_t shard_capacity(uint64_t max_keys, uint32_t shard_count)
{
	uint64_t mean = max_keys / shard_count, root = 1;
	if (shard_count == 1)
		return (uint32_t)max_keys;
	while (root * root < mean)
		root++;
	return (uint32_t)(mean + 8 * root);
}

struct split *split_new(uint64_t max_keys)
{
	CHECK(max_keys > 0 && max_keys <= BUCKET_KEYS_MAX);
	uint32_t count = 1;
	while (count < SHARDS_MAX && max_keys / count >= 2 * KEYS_WORTH_A_SHARD)
		count *= 2;
	struct split *split = must_alloc(sizeof(*split) + count * sizeof(split->shards[0]));
	split->max_keys = max_keys;
	split->shard_count = count;
	for (uint32_t i = 0; i < count; i++)
		shard_init(&split->shards[i], shard_capacity(max_keys, count));
	return split;
}

void split_free(struct split *split)
{
	if (!split)
		return;
	for (uint32_t i = 0; i < split->shard_count; i++)
		shard_fini(&split->shards[i]);
	free(split);
}

struct shard *split_shard(struct split *split, struct fingerprint print)
{
	return &split->shards[print.low & (split->shard_count - 1)];
}

static bool reserve(struct split *split)
{
	uint64_t used = atomic_load_explicit(&split->used, memory_order_relaxed);
	while (used < split->max_keys)
		if (atomic_compare_exchange_weak_explicit(&split->used, &used, used + 1,
		            memory_order_relaxed, memory_order_relaxed))
			return true;
	return false;
}

static bool forget_one(struct shard *shard, const struct gcra *gcra, int64_t now_ns)
{
	struct shard_slot *slot = shard_earliest(shard);
	if (!slot || gcra_debt(gcra, slot->full_at, now_ns))
		return false;
	shard_remove(shard, slot);
	return true;
}

// The caller holds its own gate, so the others may only be tried: whoever waited here could wait
// for a thread that waits for the caller. The caller's own shard answers GATE_BUSY.
static bool forget_elsewhere(struct split *split, const struct gcra *gcra, int64_t now_ns)
{
	for (uint32_t i = 0; i < split->shard_count; i++) {
		struct shard *shard = &split->shards[i];
		uint64_t earliest = atomic_load_explicit(&shard->earliest, memory_order_relaxed);
		uint64_t word;
		if (!shard_used(shard) || gcra_debt(gcra, earliest, now_ns) ||
		        gate_try_hold(&shard->gate, &word) != GATE_TAKEN)
			continue;
		bool forgot = forget_one(shard, gcra, gate_now(&shard->gate, now_ns));
		gate_release(&shard->gate, word);
		if (forgot)
			return true;
	}
	return false;
}

// Whoever forgets a bucket takes over its place in `used`.
static bool make_room(
        struct split *split, const struct gcra *gcra, struct shard *shard, int64_t now_ns)
{
	bool fits = shard_used(shard) < shard->capacity;
	return (fits && reserve(split)) || forget_one(shard, gcra, now_ns) ||
	       (fits && forget_elsewhere(split, gcra, now_ns));
}

struct shard_slot *split_find(struct split *split, const struct gcra *gcra, struct shard *shard,
        struct fingerprint print, int64_t now_ns)
{
	struct shard_slot *slot = shard_find(shard, print);
	if (slot)
		return slot;
	if (!make_room(split, gcra, shard, now_ns))
		return NULL;
	return shard_add(shard, print, gcra_moment(gcra, now_ns));
}
