// One shard of the split buckets of a limit: slots found by fingerprint (open addressing) and kept
// in order of the moment at which each is full again (binary heap), so that the one that may be
// forgotten first is known at once. All memory is taken at the start, and costs nothing until it is
// used. Owned by a split; touched only while its gate is held, but for `earliest` and `used`, which
// anybody may read as a hint.
#ifndef POLICY_SHARD_H
#define POLICY_SHARD_H

#include "policy/fingerprint.h"
#include "policy/gate.h"

struct shard_slot {
	struct fingerprint print;
	uint64_t full_at;
	uint32_t place;  // in the heap; of a free slot: the next free slot + 1
};

struct shard {
	struct gate gate;
	_Atomic uint64_t earliest;  // full_at of the slot that is full first
	_Atomic uint32_t used;
	uint32_t capacity;
	uint32_t free;  // the first free slot + 1
	uint32_t index_mask;
	struct shard_slot *slots;
	uint32_t *heap;   // slots, earliest full_at on top
	uint32_t *index;  // slot + 1; 0 = empty
};

void shard_init(struct shard *shard, uint32_t capacity);
void shard_fini(struct shard *shard);

struct shard_slot *shard_find(struct shard *shard, struct fingerprint print);  // NULL when absent
struct shard_slot *shard_earliest(struct shard *shard);                        // NULL when empty
// There must be room, and the fingerprint must not be there yet.
struct shard_slot *shard_add(struct shard *shard, struct fingerprint print, uint64_t full_at);
void shard_remove(struct shard *shard, struct shard_slot *slot);
void shard_set(struct shard *shard, struct shard_slot *slot, uint64_t full_at);

static inline uint32_t shard_used(const struct shard *shard)
{
	return atomic_load_explicit(&shard->used, memory_order_relaxed);
}

#endif
