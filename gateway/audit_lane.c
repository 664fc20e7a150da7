#include "gateway/audit_lane.h"

#include <stdatomic.h>

#include "base/clock.h"
#include "gateway/audit_line.h"
#include "tls/digest.h"

// A queued body stands behind one of these.
struct entry {
	int64_t wall_ns;
	size_t body_len;
};

void audit_lane_init(struct audit_lane *lane, struct audit_bell *bell, const struct config *config)
{
	uint64_t seeds[2];  // secret: no caller can aim at one corner of the fold table
	digest_random(seeds, sizeof(seeds));
	*lane = (struct audit_lane){
	        .bell = bell,
	        .fold_after = config->audit_fold_after,
	        .records_on = config->audit.kind != OUTPUT_OFF,
	        .access_on = config->access_log.kind != OUTPUT_OFF,
	        .folds = audit_folds_new(seeds[0]),
	        .spare = audit_folds_new(seeds[1]),
	};
	CHECK(pthread_mutex_init(&lane->mutex, NULL) == 0);
}

void audit_lane_fini(struct audit_lane *lane)
{
	pthread_mutex_destroy(&lane->mutex);
	audit_folds_free(lane->folds);
	audit_folds_free(lane->ripe);
	audit_folds_free(lane->spare);
	audit_folds_free(lane->taken_folds);
	buffer_fini(&lane->key);
	buffer_fini(&lane->records);
	buffer_fini(&lane->access);
	buffer_fini(&lane->taken_records);
	buffer_fini(&lane->taken_access);
}

static void ripen(struct audit_lane *lane)
{
	lane->ripe = lane->folds;
	lane->folds = lane->spare;
	lane->spare = NULL;
}

// Ends the second that the fold table counts. While the writer still has the table before, the
// second lasts longer: the count goes on, nothing is lost.
static void turn_second(struct audit_lane *lane, int64_t now_ns)
{
	struct audit_folds *folds = lane->folds;
	if (folds->seen == 0 || now_ns - folds->since_ns < NS_PER_S)
		return;
	if (folds->folded == 0)
		audit_folds_clear(folds);
	else if (lane->spare)
		ripen(lane);
}

// Formats the body at the end of the queue, where it stays if it fits.
static bool queue(struct audit_lane *lane, const struct audit_record *record, int64_t wall_ns)
{
	struct buffer *records = &lane->records;
	size_t before = buffer_len(records);
	if (before >= AUDIT_LANE_BYTES)
		return false;
	struct entry entry = {.wall_ns = wall_ns};
	buffer_append(records, &entry, sizeof(entry));
	audit_line_body(records, record);
	if (buffer_len(records) > AUDIT_LANE_BYTES) {
		buffer_cut(records, before);
		return false;
	}
	entry.body_len = buffer_len(records) - before - sizeof(entry);
	memcpy(buffer_data(records) + before, &entry, sizeof(entry));
	return true;
}

// The queue's end serves as scratch for the body.
static bool keep_body(
        struct audit_lane *lane, struct audit_fold *fold, const struct audit_record *record)
{
	struct buffer *records = &lane->records;
	size_t before = buffer_len(records);
	if (audit_folds_is_verdict(lane->folds, fold))
		audit_line_reason_body(records, record);
	else
		audit_line_body(records, record);
	bool kept = audit_folds_keep_body(lane->folds, fold, str_skip(buffer_str(records), before));
	buffer_cut(records, before);
	return kept;
}

static size_t verdict_of(const struct audit_record *record)
{
	return record->authorized ? REASON_COUNT + (size_t)record->reason : record->reason;
}

static void count(struct audit_lane *lane, struct audit_fold *fold,
        const struct audit_record *record, int64_t wall_ns)
{
	if (!fold->body.len && !keep_body(lane, fold, record)) {
		fold = &lane->folds->verdicts[verdict_of(record)];
		CHECK(fold->body.len || keep_body(lane, fold, record));
	}
	audit_folds_count(lane->folds, fold, wall_ns);
}

static enum audit_bell_level take_in(
        struct audit_lane *lane, const struct audit_record *record, int64_t wall_ns)
{
	int64_t now_ns = clock_monotonic_ns();
	turn_second(lane, now_ns);
	struct audit_fold *fold = audit_folds_see(
	        lane->folds, buffer_str(&lane->key), verdict_of(record), now_ns);
	uint64_t fold_after = atomic_load_explicit(&lane->fold_after, memory_order_relaxed);
	bool repeats = fold_after && fold->seen > fold_after;
	size_t before = buffer_len(&lane->records);
	if (repeats || !queue(lane, record, wall_ns))
		count(lane, fold, record, wall_ns);
	bool half_full = before < AUDIT_LANE_BYTES / 2 &&
	                 buffer_len(&lane->records) >= AUDIT_LANE_BYTES / 2;
	return half_full ? AUDIT_BELL_URGENT : AUDIT_BELL_WANTED;
}

void audit_submit(struct audit_lane *lane, const struct audit_record *record)
{
	atomic_fetch_add_explicit(&lane->submitted, 1, memory_order_relaxed);
	if (!lane->records_on)
		return;
	int64_t wall_ns = clock_wall_ns();
	buffer_clear(&lane->key);
	audit_line_key(&lane->key, record);
	pthread_mutex_lock(&lane->mutex);
	enum audit_bell_level level = take_in(lane, record, wall_ns);
	pthread_mutex_unlock(&lane->mutex);
	audit_bell_ring(lane->bell, level);
}

void audit_submit_access(struct audit_lane *lane, struct str line)
{
	if (!lane->access_on)
		return;
	pthread_mutex_lock(&lane->mutex);
	size_t before = buffer_len(&lane->access), after = before + line.len + 1;
	if (after <= AUDIT_LANE_BYTES) {
		buffer_append_str(&lane->access, line);
		buffer_append(&lane->access, "\n", 1);
	}
	pthread_mutex_unlock(&lane->mutex);
	if (after > AUDIT_LANE_BYTES)
		atomic_fetch_add_explicit(&lane->access_dropped, 1, memory_order_relaxed);
	bool half_full = before < AUDIT_LANE_BYTES / 2 && after >= AUDIT_LANE_BYTES / 2;
	audit_bell_ring(lane->bell, half_full ? AUDIT_BELL_URGENT : AUDIT_BELL_WANTED);
}

static void swap_if_used_up(struct buffer *taken, struct buffer *gathered)
{
	if (buffer_len(taken))
		return;
	struct buffer empty = *taken;
	*taken = *gathered;
	*gathered = empty;
}

static const struct audit_fold *next_fold(const struct audit_lane *lane)
{
	return lane->taken_folds ? audit_folds_at(lane->taken_folds, lane->taken_at) : NULL;
}

// Goes on to the next entry that counts something; behind the last, the table is the lane's again.
static void settle_folds(struct audit_lane *lane)
{
	const struct audit_fold *fold;
	while ((fold = next_fold(lane)) && fold->count == 0)
		lane->taken_at++;
	if (fold || !lane->taken_folds)
		return;
	audit_folds_clear(lane->taken_folds);
	pthread_mutex_lock(&lane->mutex);
	lane->spare = lane->taken_folds;
	pthread_mutex_unlock(&lane->mutex);
	lane->taken_folds = NULL;
}

bool audit_lane_take(struct audit_lane *lane, bool closing)
{
	int64_t now_ns = clock_monotonic_ns();
	pthread_mutex_lock(&lane->mutex);
	swap_if_used_up(&lane->taken_records, &lane->records);
	swap_if_used_up(&lane->taken_access, &lane->access);
	turn_second(lane, now_ns);
	if (closing && lane->spare && lane->folds->folded)
		ripen(lane);
	if (lane->ripe && !lane->taken_folds) {
		lane->taken_folds = lane->ripe;
		lane->taken_at = 0;
		lane->ripe = NULL;
	}
	bool counting = lane->folds->folded || lane->ripe;
	pthread_mutex_unlock(&lane->mutex);
	settle_folds(lane);
	return counting || lane->taken_folds || buffer_len(&lane->taken_records) ||
	       buffer_len(&lane->taken_access);
}

static struct entry first_entry(const struct buffer *records)
{
	struct entry entry;
	memcpy(&entry, buffer_data(records), sizeof(entry));
	return entry;
}

bool audit_lane_peek(const struct audit_lane *lane, struct audit_taken *taken)
{
	if (buffer_len(&lane->taken_records)) {
		struct entry entry = first_entry(&lane->taken_records);
		const char *body = buffer_data(&lane->taken_records) + sizeof(entry);
		*taken = (struct audit_taken){
		        .wall_ns = entry.wall_ns, .body = str_of(body, entry.body_len)};
		return true;
	}
	const struct audit_fold *fold = next_fold(lane);
	if (!fold)
		return false;
	*taken = (struct audit_taken){.wall_ns = fold->first_ns,
	        .body = audit_folds_text(lane->taken_folds, fold->body),
	        .fold = fold};
	return true;
}

void audit_lane_pop(struct audit_lane *lane)
{
	if (buffer_len(&lane->taken_records)) {
		struct entry entry = first_entry(&lane->taken_records);
		buffer_take(&lane->taken_records, sizeof(entry) + entry.body_len);
		return;
	}
	lane->taken_at++;
	settle_folds(lane);
}

static uint64_t entries_in(const struct buffer *records)
{
	uint64_t count = 0;
	for (size_t at = 0; at < buffer_len(records); count++) {
		struct entry entry;
		memcpy(&entry, buffer_data(records) + at, sizeof(entry));
		at += sizeof(entry) + entry.body_len;
	}
	return count;
}

uint64_t audit_lane_left(struct audit_lane *lane)
{
	uint64_t left = entries_in(&lane->taken_records);
	for (size_t at = lane->taken_at; lane->taken_folds && audit_folds_at(lane->taken_folds, at);
	        at++)
		left += audit_folds_at(lane->taken_folds, at)->count;
	pthread_mutex_lock(&lane->mutex);
	left += entries_in(&lane->records) + lane->folds->folded;
	left += lane->ripe ? lane->ripe->folded : 0;
	pthread_mutex_unlock(&lane->mutex);
	return left;
}
