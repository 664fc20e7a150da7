#include "gateway/balance.h"

#include <stdlib.h>

// Any two that differ; they are no secret: whoever can choose his hash can as well choose the
// caller's key it is made of.
static const uint64_t offset_seed = 1, skip_seed = 2;

enum { REHASHES_MAX = 16 };

int balance_round_robin(struct balance_endpoint endpoints[], size_t count)
{
	int best = BALANCE_NONE;
	int64_t total = 0;
	for (size_t i = 0; i < count; i++) {
		if (!endpoints[i].weight)
			continue;
		total += endpoints[i].weight;
		endpoints[i].credit += endpoints[i].weight;
		if (best == BALANCE_NONE || endpoints[i].credit > endpoints[best].credit)
			best = (int)i;
	}
	if (best != BALANCE_NONE)
		endpoints[best].credit -= total;
	return best;
}

// The index of the one that `nth` others, of those that may be chosen, stand before.
static size_t find_nth(const struct balance_endpoint endpoints[], size_t nth)
{
	size_t i = 0;
	for (;; i++)
		if (endpoints[i].weight && nth-- == 0)
			return i;
}

static bool less_loaded(const struct balance_endpoint *a, const struct balance_endpoint *b)
{
	return ((uint64_t)*a->active + 1) * b->weight < ((uint64_t)*b->active + 1) * a->weight;
}

int balance_least_requests(const struct balance_endpoint endpoints[], size_t count, uint64_t random)
{
	size_t usable = 0;
	for (size_t i = 0; i < count; i++)
		usable += endpoints[i].weight > 0;
	if (!usable)
		return BALANCE_NONE;
	size_t first = (uint32_t)random % usable;
	size_t one = find_nth(endpoints, first);
	if (usable == 1)
		return (int)one;
	size_t second = (random >> 32) % (usable - 1);
	size_t other = find_nth(endpoints, second + (second >= first));
	return (int)(less_loaded(&endpoints[other], &endpoints[one]) ? other : one);
}

// An endpoint's own order of the places: every one of them once, since their number is prime.
struct order {
	uint32_t next, skip;
	uint64_t due;  // weight it was not given a place for yet
};

static uint32_t take_free_place(struct order *order, const uint16_t *table)
{
	uint32_t place;
	do {
		place = order->next;
		order->next = (place + order->skip) % BALANCE_PLACES;
	} while (table[place] != BALANCE_HASHED_MAX);
	return place;
}

// In rounds: the heaviest takes a place in each, the others as often as their weight is to its.
static void fill(uint16_t *table, struct order *orders, const uint32_t weights[], size_t count)
{
	uint32_t heaviest = 1;
	for (size_t i = 0; i < count; i++)
		heaviest = weights[i] > heaviest ? weights[i] : heaviest;
	size_t left = BALANCE_PLACES;
	for (size_t i = 0; left; i = (i + 1) % count) {
		orders[i].due += weights[i];
		if (orders[i].due < heaviest)
			continue;
		orders[i].due -= heaviest;
		table[take_free_place(&orders[i], table)] = (uint16_t)i;
		left--;
	}
}

const uint16_t *balance_table(
        const struct str names[], const uint32_t weights[], size_t count, struct arena *arena)
{
	CHECK(count > 0 && count <= BALANCE_HASHED_MAX);
	uint16_t *table = arena_alloc(arena, BALANCE_PLACES * sizeof(*table));
	struct order *orders = must_alloc(count * sizeof(*orders));
	for (size_t i = 0; i < BALANCE_PLACES; i++)
		table[i] = BALANCE_HASHED_MAX;
	for (size_t i = 0; i < count; i++) {
		orders[i].next = str_hash(names[i], offset_seed) % BALANCE_PLACES;
		orders[i].skip = 1 + str_hash(names[i], skip_seed) % (BALANCE_PLACES - 1);
	}
	fill(table, orders, weights, count);
	free(orders);
	return table;
}

static uint64_t hash_again(uint64_t hash)
{
	return str_hash(str_of((const char *)&hash, sizeof(hash)), 0);
}

int balance_hash(const uint16_t *table, const struct balance_endpoint endpoints[], size_t count,
        uint64_t hash)
{
	for (unsigned i = 0; i < REHASHES_MAX; i++, hash = hash_again(hash)) {
		size_t found = table[hash % BALANCE_PLACES];
		if (endpoints[found].weight)
			return (int)found;
	}
	// Few are left: the first from a place that the hash gives.
	for (size_t i = 0; i < count; i++) {
		size_t at = (hash + i) % count;
		if (endpoints[at].weight)
			return (int)at;
	}
	return BALANCE_NONE;
}
