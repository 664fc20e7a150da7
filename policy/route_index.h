// Finds the first route of a listener that takes a call without asking each: a hash table from
// (kind, key, host) to the routes of that key, in the order of the file. A call costs a probe for
// each kind and one for each path segment, no deeper than the deepest prefix in the file; twice
// where routes name hosts. Owned by the policy, in its arena; immutable once filled; any thread.
#ifndef POLICY_ROUTE_INDEX_H
#define POLICY_ROUTE_INDEX_H

#include "policy/route.h"

struct route_entry;

struct route_index {
	const struct route *routes;
	struct route_entry *entries;  // linked by their number + 1
	uint32_t entry_count;
	uint32_t *first, *last;
	uint32_t mask;
	uint32_t kind_count[ROUTE_KINDS];
	uint32_t deepest;  // segments of the longest prefix
	bool hosts;        // some route names one
};

enum { ROUTE_NONE = -1 };

// For up to `count` routes, which are added by number, upwards.
void route_index_init(
        struct route_index *index, const struct route *routes, size_t count, struct arena *arena);
void route_index_add(struct route_index *index, size_t number);

// The first route that has one of the keys, names `host` or no host, and is wanted.
MUST_USE int route_index_first(const struct route_index *index, const struct route_keys *keys,
        struct str host, bool (*wanted)(const struct route *, const void *), const void *argument);

#endif
