// One producer's end of the audit log: a bounded queue of record bodies, the fold table that takes
// what the queue does not, and a bounded queue of access lines. The producer appends under the
// lane's mutex; the writer holds that mutex only to swap pointers, so a producer never waits for
// the disk. Everything named `taken` belongs to the writer and is touched by it alone. A producer
// never loses a record: it is queued or it is counted.
#ifndef GATEWAY_AUDIT_LANE_H
#define GATEWAY_AUDIT_LANE_H

#include <pthread.h>

#include "base/buffer.h"
#include "gateway/audit.h"
#include "gateway/audit_bell.h"
#include "gateway/audit_fold.h"

enum { AUDIT_LANE_BYTES = 1 << 20 };

struct audit_lane {
	struct audit_bell *bell;
	_Atomic uint64_t fold_after;  // main's to change; 0: never fold for repetition
	bool records_on, access_on;
	_Atomic uint64_t submitted, access_dropped;
	struct buffer key;  // the producer's scratch

	pthread_mutex_t mutex;
	struct buffer records, access;
	struct audit_folds *folds;  // of this second
	struct audit_folds *ripe;   // of a second that is over; NULL: none
	struct audit_folds *spare;  // NULL while a table is ripe or taken

	struct buffer taken_records, taken_access;
	struct audit_folds *taken_folds;
	size_t taken_at;  // the next entry of taken_folds
};

void audit_lane_init(struct audit_lane *lane, struct audit_bell *bell, const struct config *config);
void audit_lane_fini(struct audit_lane *lane);

// The writer's side. A body and, where it speaks for several, their count.
struct audit_taken {
	int64_t wall_ns;
	struct str body;
	const struct audit_fold *fold;  // NULL: one refusal, one line
};

// Takes over what has gathered, as far as what was taken before is used up; `closing` takes folds
// before their second is over. False when there is nothing at all, queued or being counted.
bool audit_lane_take(struct audit_lane *lane, bool closing);
bool audit_lane_peek(const struct audit_lane *lane, struct audit_taken *taken);
void audit_lane_pop(struct audit_lane *lane);  // drops what peek showed

// How many refusals are still here, for the last words of a writer that must give up.
uint64_t audit_lane_left(struct audit_lane *lane);

#endif
