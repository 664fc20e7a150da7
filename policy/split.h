// The buckets of a limit that is split by key: at most `max_keys`, in memory taken at the start.
// Sharded so that workers rarely meet. A bucket is forgotten only once it is full again, because
// then forgetting it changes nothing; when there is none such, split_find says so and the newcomer
// shares the overflow bucket of the limit. Owned by a bucket_limit; any thread, gates as said.
#ifndef POLICY_SPLIT_H
#define POLICY_SPLIT_H

#include "policy/gcra.h"
#include "policy/shard.h"

struct split {
	_Atomic uint64_t used;
	uint64_t max_keys;
	uint32_t shard_count;  // a power of two
	struct shard shards[];
};

MUST_USE struct split *split_new(uint64_t max_keys);
void split_free(struct split *split);

struct shard *split_shard(struct split *split, struct fingerprint print);

// The bucket of that key, made full where there is none yet; NULL when there is no room. The
// caller holds the gate of `shard`, which is split_shard(print), and judges by `now_ns`.
MUST_USE struct shard_slot *split_find(struct split *split, const struct gcra *gcra,
        struct shard *shard, struct fingerprint print, int64_t now_ns);

#endif
