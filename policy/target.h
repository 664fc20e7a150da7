// Where a route sends requests instead (`rewrite`, `redirect`): whether that is a path and a host,
// fits what the route matches, and changes anything. Adds problems with their place; keeps nothing.
// Any thread.
#ifndef POLICY_TARGET_H
#define POLICY_TARGET_H

#include "policy/route.h"

// Of a route whose pattern was understood; `key` is its place in the file.
void target_check(const struct route *route, struct str key, struct arena *arena,
        struct config_problems *problems);

#endif
