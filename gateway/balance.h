// Which endpoint of a backend is next: pure functions over an array of endpoints, and the table
// that a hash is looked up in. They know nothing of connections, health or time: an endpoint that
// is not to be chosen has the weight 0, whatever the reason. No allocation but the table's, whose
// owner is the snapshot; it is immutable, and any thread may read it. The rest belongs to whoever
// has the array: one thread.
#ifndef GATEWAY_BALANCE_H
#define GATEWAY_BALANCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"

struct balance_endpoint {
	uint32_t weight;         // now; 0: not to be chosen
	int64_t credit;          // round robin's: what it is owed, in weights
	const uint32_t *active;  // requests under way there
};

enum { BALANCE_NONE = -1 };

// Each gives an index, or BALANCE_NONE when every weight is 0.

// Smooth and weighted: of any run of picks as long as the sum of the weights (which do not change
// meanwhile) each endpoint has its weight of them, and those of one are spread out. Takes as long
// as there are endpoints.
int balance_round_robin(struct balance_endpoint endpoints[], size_t count);

// Of two different ones at random the one with fewer requests, with this one among them, for its
// weight. `random` is all that is random in it.
int balance_least_requests(
        const struct balance_endpoint endpoints[], size_t count, uint64_t random);

// Maglev (Eisenbud et al., NSDI 2016, section 3.4), weighted: a prime number of places, of which
// each endpoint has its share to within a few, at places that depend on its name. Where an endpoint
// comes or goes the others keep nearly all of theirs.
enum { BALANCE_PLACES = 65537, BALANCE_HASHED_MAX = UINT16_MAX };

// `count` from 1 to BALANCE_HASHED_MAX names, each with a weight of at least 1. The same names give
// the same table on every machine.
const uint16_t *balance_table(
        const struct str names[], const uint32_t weights[], size_t count, struct arena *arena);
// Callers of an endpoint that is not to be chosen are spread over all others, and nobody else
// moves.
int balance_hash(const uint16_t *table, const struct balance_endpoint endpoints[], size_t count,
        uint64_t hash);

#endif
