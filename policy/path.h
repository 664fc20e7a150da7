// Paths, normalised once: what is matched is what goes upstream (RFC 3986, 6.2.2; CONTRACT section
// 2, Paths). Unreserved escapes are decoded, the rest upper-cased, dot segments and repeated
// slashes resolved; whatever cannot be made safe is refused, never guessed. Pure functions; any
// thread; the result lives in the caller's arena.
#ifndef POLICY_PATH_H
#define POLICY_PATH_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/str.h"

struct path {
	struct str path;   // normalised, begins with '/', without the query
	struct str query;  // from '?' on, as sent (checked for forbidden bytes); empty when there
	                   // is none
};

// `target` is an origin-form target. False with a sentence in *why when it must be refused with
// 400: escapes of `/`, `\` and control bytes, bad escapes, control bytes, space, non-ASCII, `#`, a
// backslash, dot segments that are encoded or climb above the root, path parameters (`;`) in a dot
// segment.
MUST_USE bool path_normalise(
        struct str target, struct arena *arena, struct path *path, const char **why);

// A normalised path as routes are matched against it: without parameters, every escape decoded.
// Servers differ on whether `/admin;v=1` is `/admin`, and all of them read `/users%3Aexport` as
// `/users:export`; BEHAVIOUR 4.9 wants each spelling of a protected path decided as that path. The
// normalised path itself goes upstream. The same text where there is nothing to do.
struct str path_as_matched(struct str path, struct arena *arena);

// `pattern` is exact (`/healthz`) or a prefix (`/api/*`: everything below `/api/`; `/*`:
// everything).
MUST_USE bool path_pattern_valid(struct str pattern, const char **why);
struct str path_pattern_prefix(struct str pattern);  // `/api/` of `/api/*`; empty when exact

// A path as it may be written for somebody else to be asked for: normalised, without query and `*`.
MUST_USE bool path_literal_valid(struct str path, const char **why);
// What of a normalised path that a prefix pattern took stands below that `prefix` (`/api/`), from
// its slash on: `/x` of `/api/x`, whatever parameters the segments above carry.
struct str path_below(struct str path, struct str prefix);

#endif
