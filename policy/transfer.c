// Buckets that outlive their process: handed to the one that takes its place, byte by byte.
#include <stdlib.h>

#include "base/buffer.h"
#include "policy/limit.h"

static const char mark[8] = {'b', 'u', 'c', 'k', 'e', 't', 's', '1'};

struct header {
	char mark[sizeof(mark)];
	struct fingerprint seed;
};

// Followed by the name, then by the slots.
struct entry {
	uint64_t name_len;
	uint64_t count, period_ns, burst;
	uint64_t keyed, max_keys;
	uint64_t full_at, overflow_uses, granted, refused;
	uint64_t slots;
};

struct slot {
	struct fingerprint print;
	uint64_t full_at;
};

static void export_shard(
        struct shard *shard, int64_t now_ns, struct entry *entry, struct buffer *slots)
{
	uint64_t word;
	CHECK(gate_hold(&shard->gate, &word));
	(void)gate_now(&shard->gate, now_ns);
	for (uint32_t i = 0; i < shard_used(shard); i++) {
		const struct shard_slot *from = &shard->slots[shard->heap[i]];
		const struct slot slot = {from->print, from->full_at};
		buffer_append(slots, &slot, sizeof(slot));
		entry->slots++;
	}
	gate_release(&shard->gate, word);
	entry->granted += atomic_load(&shard->gate.granted);
	entry->refused += atomic_load(&shard->gate.refused);
}

static void export_limit(struct bucket_limit *limit, int64_t now_ns, struct buffer *out)
{
	struct entry entry = {
	        .name_len = limit->name.len,
	        .count = limit->rate.count,
	        .period_ns = (uint64_t)limit->rate.period_ns,
	        .burst = limit->rate.burst,
	        .keyed = limit->split != NULL,
	        .max_keys = limit->split ? limit->split->max_keys : 0,
	        .overflow_uses = atomic_load(&limit->overflow_uses),
	        .granted = atomic_load(&limit->gate.granted),
	        .refused = atomic_load(&limit->gate.refused),
	};
	struct buffer slots = {0};
	limit_refresh(limit, now_ns);
	CHECK(gate_hold(&limit->gate, &entry.full_at));
	gate_release(&limit->gate, entry.full_at);
	for (uint32_t i = 0; limit->split && i < limit->split->shard_count; i++)
		export_shard(&limit->split->shards[i], now_ns, &entry, &slots);
	buffer_append(out, &entry, sizeof(entry));
	buffer_append_str(out, limit->name);
	buffer_append_str(out, buffer_str(&slots));
	buffer_fini(&slots);
}

void bucket_store_export(struct bucket_store *store, int64_t now_ns, struct buffer *exported)
{
	struct header header = {.seed = store->seed};
	memcpy(header.mark, mark, sizeof(mark));
	buffer_append(exported, &header, sizeof(header));
	pthread_mutex_lock(&store->mutex);
	for (size_t i = 0; i < ARRAY_LEN(store->chains); i++)
		for (struct bucket_limit *limit = store->chains[i]; limit; limit = limit->next)
			export_limit(limit, now_ns, exported);
	pthread_mutex_unlock(&store->mutex);
}

// The next `size` bytes, or false.
static bool take(struct str *rest, void *into, size_t size)
{
	if (rest->len < size)
		return false;
	memcpy(into, rest->at, size);
	*rest = str_skip(*rest, size);
	return true;
}

static bool take_header(struct str *rest, struct header *header)
{
	return take(rest, header, sizeof(*header)) && memcmp(header->mark, mark, sizeof(mark)) == 0;
}

struct bucket_store *bucket_store_new_after(struct str exported)
{
	struct header header;
	if (!take_header(&exported, &header))
		return NULL;
	struct bucket_store *store = bucket_store_new();
	store->seed = header.seed;
	return store;
}

static void fill(
        struct bucket_limit *limit, const struct entry *entry, struct str slots, int64_t now_ns)
{
	struct slot slot;
	uint64_t word;
	limit->swept_ns = now_ns;  // they were swept when they were exported
	limit->overflow_uses = entry->overflow_uses;
	limit->gate.granted = entry->granted;
	limit->gate.refused = entry->refused;
	CHECK(gate_hold(&limit->gate, &word));
	gate_release(&limit->gate, entry->full_at & ~(uint64_t)GATE_FLAGS);
	while (limit->split && take(&slots, &slot, sizeof(slot))) {
		struct shard *shard = split_shard(limit->split, slot.print);
		struct shard_slot *place = split_find(
		        limit->split, &limit->gcra, shard, slot.print, now_ns);
		if (place)
			shard_set(shard, place, slot.full_at);
	}
}

// By way of a limit as it was, so that one whose numbers have changed gets what a reload would give
// it.
static void import_limit(struct bucket_store *store, struct str name, const struct entry *entry,
        struct str slots, int64_t now_ns)
{
	struct bucket_rate rate = {entry->count, (int64_t)entry->period_ns, entry->burst};
	pthread_mutex_lock(&store->mutex);
	struct bucket_limit *to = limit_find(store, name), *former = NULL;
	if (to && limit_is_kind(to, entry->keyed)) {
		former = limit_new(store, name, rate, entry->keyed, entry->max_keys);
		fill(former, entry, slots, now_ns);
		to->references++;
		limit_carry(former, to, now_ns);
	}
	pthread_mutex_unlock(&store->mutex);
	bucket_limit_unref(former);
}

static bool is_sane(const struct entry *entry, size_t left)
{
	struct bucket_rate rate = {entry->count, (int64_t)entry->period_ns, entry->burst};
	return entry->name_len <= left && entry->slots <= left / sizeof(struct slot) &&
	       entry->name_len + entry->slots * sizeof(struct slot) <= left && entry->keyed <= 1 &&
	       entry->max_keys <= BUCKET_KEYS_MAX &&
	       (entry->keyed ? entry->max_keys > 0 : entry->slots == 0) && bucket_rate_valid(rate);
}

bool bucket_store_import(struct bucket_store *store, struct str exported, int64_t now_ns)
{
	struct header header;
	struct entry entry;
	if (!take_header(&exported, &header) || !fingerprint_eq(header.seed, store->seed))
		return false;
	while (exported.len) {
		if (!take(&exported, &entry, sizeof(entry)) || !is_sane(&entry, exported.len))
			return false;
		struct str name = str_of(exported.at, entry.name_len);
		struct str slots = str_of(
		        exported.at + entry.name_len, entry.slots * sizeof(struct slot));
		import_limit(store, name, &entry, slots, now_ns);
		exported = str_skip(exported, name.len + slots.len);
	}
	return true;
}
