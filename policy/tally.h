// How many of each caller are here now, calls or connections: exact over any number of threads, and
// never more than a ceiling. Keys have their places in memory taken at the start, and need one only
// while any of theirs is here; when there is none, newcomers share one more count under the same
// ceiling, so that nobody gains room by coming under many names. Counted: whoever is in holds it.
// Any thread; nothing here blocks on I/O.
#ifndef POLICY_TALLY_H
#define POLICY_TALLY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/str.h"

struct tally;
struct bucket_store;

enum { TALLY_KEYS_MAX = 16 * 1024 * 1024 };

// That of the name, which a reload finds again; another `max_keys` makes another. One reference
// each call.
MUST_USE struct tally *tally_get(struct bucket_store *store, struct str name, uint64_t max_keys);
void tally_unref(struct tally *tally);  // NULL is nothing

// Where one is counted. Zeroed: nowhere. Of one thread at a time; not copied while somewhere.
struct tally_place {
	struct tally *tally;  // one reference
	uint32_t part, slot;
};

// How many are in, with this one; 0: as many as `most` are in already.
MUST_USE uint64_t tally_enter(
        struct tally *tally, struct str key, uint64_t most, struct tally_place *place);
void tally_leave(struct tally_place *place);  // idempotent

// Keys that have somebody in now.
uint64_t tally_keys(struct tally *tally);

#endif
