#include "policy/tally.h"

#include <stdlib.h>

#include "policy/limit.h"

enum { PARTS = 16, OVERFLOW_SLOT = UINT32_MAX };

struct slot {
	struct fingerprint print;
	uint64_t count;  // 0: free
	uint32_t next;   // of its chain, or of the free ones; slot + 1
};

struct part {
	pthread_mutex_t mutex;
	uint32_t *chains;  // slot + 1; 0 = empty
	struct slot *slots;
	uint32_t capacity, free, used;
};

struct tally {
	struct part parts[PARTS];
	struct fingerprint seed;
	_Atomic uint64_t overflow;
	struct bucket_store *store;
	struct tally *next;  // under the store's mutex
	struct str name;
	uint64_t max_keys;
	atomic_size_t references;  // the last one is let go under the store's mutex
};

static void part_open(struct part *part, uint64_t max_keys)
{
	uint64_t mean = max_keys / PARTS, root = 1;
	while (root * root < mean)
		root++;
	// As in split.c: with eight standard deviations to spare `max_keys` keys fit in practice.
	part->capacity = (uint32_t)(mean + 8 * root + 1);
	part->chains = must_alloc(part->capacity * sizeof(*part->chains));
	part->slots = must_alloc(part->capacity * sizeof(*part->slots));
	for (uint32_t i = 0; i < part->capacity; i++)
		part->slots[i].next = i + 1 < part->capacity ? i + 2 : 0;
	part->free = 1;
	pthread_mutex_init(&part->mutex, NULL);
}

static struct tally *tally_new(struct bucket_store *store, struct str name, uint64_t max_keys)
{
	struct tally *tally = must_alloc(sizeof(*tally));
	CHECK(max_keys > 0 && max_keys <= TALLY_KEYS_MAX);
	for (size_t i = 0; i < PARTS; i++)
		part_open(&tally->parts[i], max_keys);
	tally->seed = store->seed;
	tally->store = store;
	tally->name = str_of(must_copy(name.at, name.len), name.len);
	tally->max_keys = max_keys;
	tally->references = 1;
	tally->next = store->tallies;
	store->tallies = tally;
	return tally;
}

static void tally_free(struct tally *tally)
{
	struct tally **at = &tally->store->tallies;
	while (*at != tally)
		at = &(*at)->next;
	*at = tally->next;
	for (size_t i = 0; i < PARTS; i++) {
		pthread_mutex_destroy(&tally->parts[i].mutex);
		free(tally->parts[i].chains);
		free(tally->parts[i].slots);
	}
	free((char *)tally->name.at);
	free(tally);
}

struct tally *tally_get(struct bucket_store *store, struct str name, uint64_t max_keys)
{
	pthread_mutex_lock(&store->mutex);
	struct tally *tally = store->tallies;
	while (tally && !(str_eq(tally->name, name) && tally->max_keys == max_keys))
		tally = tally->next;
	if (tally)
		atomic_fetch_add_explicit(&tally->references, 1, memory_order_relaxed);
	else
		tally = tally_new(store, name, max_keys);
	pthread_mutex_unlock(&store->mutex);
	return tally;
}

static void hold(struct tally *tally)
{
	atomic_fetch_add_explicit(&tally->references, 1, memory_order_relaxed);
}

void tally_unref(struct tally *tally)
{
	if (!tally)
		return;
	size_t references = atomic_load_explicit(&tally->references, memory_order_relaxed);
	while (references > 1)
		if (atomic_compare_exchange_weak_explicit(&tally->references, &references,
		            references - 1, memory_order_acq_rel, memory_order_relaxed))
			return;
	struct bucket_store *store = tally->store;
	pthread_mutex_lock(&store->mutex);
	if (atomic_fetch_sub_explicit(&tally->references, 1, memory_order_acq_rel) == 1)
		tally_free(tally);
	pthread_mutex_unlock(&store->mutex);
}

static uint32_t *chain_of(struct part *part, struct fingerprint print)
{
	return &part->chains[print.high % part->capacity];
}

// The key's slot + 1, made if there is room; 0: there is none.
static uint32_t find_or_make(struct part *part, struct fingerprint print)
{
	uint32_t *chain = chain_of(part, print), found = *chain;
	while (found && !fingerprint_eq(part->slots[found - 1].print, print))
		found = part->slots[found - 1].next;
	if (found || !part->free)
		return found;
	found = part->free;
	struct slot *slot = &part->slots[found - 1];
	part->free = slot->next;
	part->used++;
	*slot = (struct slot){print, 0, *chain};
	*chain = found;
	return found;
}

static void forget(struct part *part, uint32_t number)
{
	struct slot *slot = &part->slots[number - 1];
	uint32_t *at = chain_of(part, slot->print);
	while (*at != number)
		at = &part->slots[*at - 1].next;
	*at = slot->next;
	slot->next = part->free;
	part->free = number;
	part->used--;
}

static uint64_t enter_overflow(struct tally *tally, uint64_t most)
{
	uint64_t count = atomic_load_explicit(&tally->overflow, memory_order_relaxed);
	while (count < most)
		if (atomic_compare_exchange_weak_explicit(&tally->overflow, &count, count + 1,
		            memory_order_relaxed, memory_order_relaxed))
			return count + 1;
	return 0;
}

static uint64_t enter_slot(struct slot *slot, uint64_t most)
{
	return slot->count < most ? ++slot->count : 0;
}

uint64_t tally_enter(struct tally *tally, struct str key, uint64_t most, struct tally_place *place)
{
	struct fingerprint print = fingerprint_of(key, tally->seed);
	uint32_t number = (uint32_t)(print.low % PARTS);
	struct part *part = &tally->parts[number];
	CHECK(!place->tally && most > 0);
	pthread_mutex_lock(&part->mutex);
	uint32_t slot = find_or_make(part, print);
	uint64_t number_in = slot ? enter_slot(&part->slots[slot - 1], most) : 0;
	pthread_mutex_unlock(&part->mutex);
	if (!slot)
		number_in = enter_overflow(tally, most);
	if (!number_in)
		return 0;
	hold(tally);
	*place = (struct tally_place){tally, number, slot ? slot : OVERFLOW_SLOT};
	return number_in;
}

void tally_leave(struct tally_place *place)
{
	struct tally *tally = place->tally;
	if (!tally)
		return;
	struct part *part = &tally->parts[place->part];
	if (place->slot == OVERFLOW_SLOT) {
		atomic_fetch_sub_explicit(&tally->overflow, 1, memory_order_relaxed);
	} else {
		pthread_mutex_lock(&part->mutex);
		if (--part->slots[place->slot - 1].count == 0)
			forget(part, place->slot);
		pthread_mutex_unlock(&part->mutex);
	}
	*place = (struct tally_place){0};
	tally_unref(tally);
}

uint64_t tally_keys(struct tally *tally)
{
	uint64_t keys = 0;
	for (size_t i = 0; i < PARTS; i++) {
		pthread_mutex_lock(&tally->parts[i].mutex);
		keys += tally->parts[i].used;
		pthread_mutex_unlock(&tally->parts[i].mutex);
	}
	return keys;
}
