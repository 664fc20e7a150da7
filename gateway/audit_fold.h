// The callers of one second: how often each was refused for the same, and the count of those that
// got no line of their own. Fixed size: AUDIT_FOLD_CALLERS callers, their texts together
// AUDIT_FOLD_BYTES; beyond that callers are counted by verdict alone. Counts are exact, whatever
// happens. Owned by a lane and guarded by its mutex; a ripe table is the writer's alone. It never
// allocates beyond its bounds.
#ifndef GATEWAY_AUDIT_FOLD_H
#define GATEWAY_AUDIT_FOLD_H

#include "base/buffer.h"
#include "base/reason.h"
#include "base/str.h"

// A verdict is a reason; where the caller passed all the same (on trial), REASON_COUNT and that.
enum { AUDIT_FOLD_CALLERS = 1024, AUDIT_FOLD_BYTES = 1 << 20, AUDIT_VERDICTS = 2 * REASON_COUNT };

struct audit_text {  // a place in the table's bytes
	size_t at, len;
};

struct audit_fold {
	uint64_t hash;
	struct audit_text key;
	struct audit_text
	        body;    // of the first that was folded, which speaks for all; len 0: none yet
	uint64_t seen;   // refusals of this second, folded or not
	uint64_t count;  // those folded
	int64_t first_ns, last_ns;  // of those folded; wall clock
};

struct audit_folds {
	struct audit_fold callers[AUDIT_FOLD_CALLERS];
	size_t caller_count;
	uint16_t slots[2 * AUDIT_FOLD_CALLERS];  // open addressing; index + 1, 0 = free
	struct audit_fold verdicts[AUDIT_VERDICTS];
	struct buffer bytes;
	uint64_t seed;
	uint64_t seen, folded;  // sums over all entries
	int64_t since_ns;       // monotonic, of the first one seen
};

MUST_USE struct audit_folds *audit_folds_new(uint64_t seed);
void audit_folds_free(struct audit_folds *folds);
void audit_folds_clear(struct audit_folds *folds);

// The caller's entry, made when there is room, else its verdict's. Counts it as seen.
struct audit_fold *audit_folds_see(
        struct audit_folds *folds, struct str key, size_t verdict, int64_t now_ns);
bool audit_folds_is_verdict(const struct audit_folds *folds, const struct audit_fold *fold);

// Keeps the body for an entry that has none. False when there is no room (a verdict's always has).
MUST_USE bool audit_folds_keep_body(
        struct audit_folds *folds, struct audit_fold *fold, struct str body);
void audit_folds_count(struct audit_folds *folds, struct audit_fold *fold, int64_t wall_ns);

// The entries in order, callers first, then verdicts: NULL behind the last.
const struct audit_fold *audit_folds_at(const struct audit_folds *folds, size_t index);
struct str audit_folds_text(const struct audit_folds *folds, struct audit_text text);

#endif
