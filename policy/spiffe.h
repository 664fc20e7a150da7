// SPIFFE IDs and the patterns that match them (SPIFFE-ID sections 2.1-2.4; CONTRACT section 2).
// An ID is parsed once, strictly, into its trust domain and path; patterns compare parsed parts
// segment by segment and never bytes across a boundary. Pure functions over borrowed text; any
// thread; no allocation but spiffe_pattern's none.
#ifndef POLICY_SPIFFE_H
#define POLICY_SPIFFE_H

#include <stdbool.h>

#include "base/check.h"
#include "base/str.h"

enum { SPIFFE_ID_MAX = 2048 };

struct spiffe_id {
	struct str text;          // the whole
	struct str trust_domain;  // `cluster.local`
	struct str path;          // `/ns/web/sa/cart`; never empty, a workload has a path
};

// False with a sentence in *why when it is not a valid SPIFFE ID. `id` borrows from `text`.
MUST_USE bool spiffe_id_parse(struct str text, struct spiffe_id *id, const char **why);

// `*` as a whole segment matches exactly one segment; a final `/*` matches one or more. The trust
// domain is literal.
struct spiffe_pattern {
	struct str text;
	struct str trust_domain;
	struct str path;
};

MUST_USE bool spiffe_pattern_parse(
        struct str text, struct spiffe_pattern *pattern, const char **why);
MUST_USE bool spiffe_pattern_match(
        const struct spiffe_pattern *pattern, const struct spiffe_id *id);

// True when every ID that `narrow` matches is matched by `wide` too (used to find what can have no
// effect).
MUST_USE bool spiffe_pattern_covers(
        const struct spiffe_pattern *wide, const struct spiffe_pattern *narrow);
// True when some ID is matched by both.
MUST_USE bool spiffe_pattern_overlaps(
        const struct spiffe_pattern *a, const struct spiffe_pattern *b);

// Among `count` patterns the one that shares the longest beginning with `id`, for the audit record;
// NULL when count is 0.
const struct spiffe_pattern *spiffe_pattern_nearest(
        const struct spiffe_pattern *patterns, size_t count, struct str id);

#endif
