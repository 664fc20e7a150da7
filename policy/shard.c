#include "policy/shard.h"

#include "base/reserve.h"

// One block for all three: slots first, which want the widest alignment.
static size_t size_of(const struct shard *shard)
{
	return shard->capacity * (sizeof(*shard->slots) + sizeof(*shard->heap)) +
	       (shard->index_mask + (size_t)1) * sizeof(*shard->index);
}

void shard_init(struct shard *shard, uint32_t capacity)
{
	uint32_t index_size = 4;
	while (index_size < 2 * capacity)
		index_size *= 2;
	*shard = (struct shard){.capacity = capacity, .index_mask = index_size - 1};
	shard->slots = must_reserve(size_of(shard));
	shard->heap = (uint32_t *)(shard->slots + capacity);
	shard->index = shard->heap + capacity;
}

void shard_fini(struct shard *shard)
{
	reserve_free(shard->slots, size_of(shard));
	shard->index = shard->heap = NULL;
	shard->slots = NULL;
}

static bool before(const struct shard *shard, uint32_t a, uint32_t b)
{
	return (int64_t)(shard->slots[a].full_at - shard->slots[b].full_at) < 0;
}

static void put(struct shard *shard, uint32_t place, uint32_t slot)
{
	shard->heap[place] = slot;
	shard->slots[slot].place = place;
}

static void sift_up(struct shard *shard, uint32_t place)
{
	uint32_t slot = shard->heap[place];
	while (place && before(shard, slot, shard->heap[(place - 1) / 2])) {
		put(shard, place, shard->heap[(place - 1) / 2]);
		place = (place - 1) / 2;
	}
	put(shard, place, slot);
}

static void sift_down(struct shard *shard, uint32_t place)
{
	uint32_t slot = shard->heap[place], used = shard_used(shard), child;
	while ((child = 2 * place + 1) < used) {
		if (child + 1 < used && before(shard, shard->heap[child + 1], shard->heap[child]))
			child++;
		if (!before(shard, shard->heap[child], slot))
			break;
		put(shard, place, shard->heap[child]);
		place = child;
	}
	put(shard, place, slot);
}

static void settle(struct shard *shard, uint32_t place)
{
	sift_up(shard, place);
	sift_down(shard, place);
}

static void publish(struct shard *shard, uint32_t used)
{
	atomic_store_explicit(&shard->used, used, memory_order_relaxed);
	if (used)
		atomic_store_explicit(&shard->earliest, shard->slots[shard->heap[0]].full_at,
		        memory_order_relaxed);
}

// Where the fingerprint is in the index, or the empty place where it would be. The index is at most
// half full, so there always is one.
static uint32_t locate(const struct shard *shard, struct fingerprint print)
{
	uint32_t at = (uint32_t)print.high & shard->index_mask;
	while (shard->index[at] && !fingerprint_eq(shard->slots[shard->index[at] - 1].print, print))
		at = (at + 1) & shard->index_mask;
	return at;
}

struct shard_slot *shard_find(struct shard *shard, struct fingerprint print)
{
	uint32_t slot = shard->index[locate(shard, print)];
	return slot ? &shard->slots[slot - 1] : NULL;
}

struct shard_slot *shard_earliest(struct shard *shard)
{
	return shard_used(shard) ? &shard->slots[shard->heap[0]] : NULL;
}

struct shard_slot *shard_add(struct shard *shard, struct fingerprint print, uint64_t full_at)
{
	uint32_t used = shard_used(shard);
	CHECK(used < shard->capacity);
	// Slots that were never used follow the used ones; those that were given back form a list.
	uint32_t slot = shard->free ? shard->free - 1 : used;
	if (shard->free)
		shard->free = shard->slots[slot].place;
	shard->slots[slot] = (struct shard_slot){.print = print, .full_at = full_at};
	uint32_t at = locate(shard, print);
	CHECK(shard->index[at] == 0);
	shard->index[at] = slot + 1;
	put(shard, used, slot);
	sift_up(shard, used);
	publish(shard, used + 1);
	return &shard->slots[slot];
}

// Closes the gap so that every later entry of the run is still found (Knuth 6.4, algorithm R).
static void unindex(struct shard *shard, uint32_t gap)
{
	shard->index[gap] = 0;
	for (uint32_t at = (gap + 1) & shard->index_mask; shard->index[at];
	        at = (at + 1) & shard->index_mask) {
		uint32_t home = (uint32_t)shard->slots[shard->index[at] - 1].print.high;
		uint32_t from_home = (at - home) & shard->index_mask;
		if (from_home < ((at - gap) & shard->index_mask))
			continue;
		shard->index[gap] = shard->index[at];
		shard->index[at] = 0;
		gap = at;
	}
}

void shard_remove(struct shard *shard, struct shard_slot *slot)
{
	uint32_t place = slot->place, last = shard_used(shard) - 1;
	unindex(shard, locate(shard, slot->print));
	atomic_store_explicit(&shard->used, last, memory_order_relaxed);
	if (place != last) {
		put(shard, place, shard->heap[last]);
		settle(shard, place);
	}
	slot->place = shard->free;
	shard->free = (uint32_t)(slot - shard->slots) + 1;
	publish(shard, last);
}

void shard_set(struct shard *shard, struct shard_slot *slot, uint64_t full_at)
{
	slot->full_at = full_at;
	settle(shard, slot->place);
	publish(shard, shard_used(shard));
}
