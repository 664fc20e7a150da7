#include "gateway/audit.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/spare.h"
#include "gateway/audit_lane.h"
#include "gateway/audit_log.h"
#include "gateway/audit_recent.h"
#include "gateway/audit_review.h"

enum {
	BATCH_MS = 50,  // lines gather this long, so that many leave in one write
	REFUSED_MS =
	        200,  // how often a refusing disk is looked at; the file paces its tries itself
	CLOSING_MS = 100,  // at the end there is less time
	CLOSING_TRIES = 40,
	CLOSING_S = 5,
	DROPPED_S = 10,  // between two words about what the access log misses
	STUCK_S = 5,     // inside one write this long: the disk hangs, which is a refusal too
};

struct audit {
	struct audit_log log;
	struct audit_file access;
	struct audit_recent recent;
	struct audit_bell bell, finished;
	uint64_t access_told;  // of the access lines dropped, how many the process log spoke of
	int64_t access_told_ns;
	struct audit_lane *lanes;
	size_t lane_count;
	pthread_t thread;
	_Atomic bool reopening, closing;
	_Atomic int claim_file;  // as it is wanted; the log follows
};

// Room for more lines in the file's queue; makes it by writing. False while the disk refuses.
static bool has_room(struct audit_file *file)
{
	return buffer_len(&file->pending) < AUDIT_BATCH_BYTES || audit_file_flush(file);
}

// Lanes are merged by time, so that the file tells what happened in the order it happened.
static struct audit_lane *earliest_record(struct audit *audit, struct audit_taken *taken)
{
	struct audit_lane *earliest = NULL;
	for (size_t i = 0; i < audit->lane_count; i++) {
		struct audit_taken candidate;
		if (!audit_lane_peek(&audit->lanes[i], &candidate))
			continue;
		if (earliest && candidate.wall_ns >= taken->wall_ns)
			continue;
		earliest = &audit->lanes[i];
		*taken = candidate;
	}
	return earliest;
}

// False while some have to wait.
static bool drain_records(struct audit *audit)
{
	struct audit_taken taken;
	for (struct audit_lane *lane; (lane = earliest_record(audit, &taken));) {
		if (!audit_log_claim(&audit->log) || !has_room(&audit->log.file))
			return false;
		size_t before = buffer_len(&audit->log.file.pending);
		audit_log_append(&audit->log, &taken);
		audit_recent_add(
		        &audit->recent, str_skip(buffer_str(&audit->log.file.pending), before));
		audit_lane_pop(lane);
	}
	return true;
}

// False while the other process has the log.
static bool follow_sharing(struct audit *audit)
{
	int claim_file = atomic_load(&audit->claim_file);
	audit->access.shared = claim_file >= 0;
	if ((claim_file >= 0) == (audit->log.sharing == AUDIT_SHARED))
		return true;
	if (claim_file < 0)
		return audit_log_own(&audit->log);
	audit_log_share(&audit->log, claim_file);
	return true;
}

static struct str first_line(const struct audit_lane *lane)
{
	struct str lines = buffer_str(&lane->taken_access);
	const char *end = str_find_byte(lines, '\n');
	return end ? str_of(lines.at, (size_t)(end - lines.at) + 1) : lines;
}

// Every access line begins with its time, written so that bytes compare as times do.
static bool begins_earlier(struct str a, struct str b)
{
	size_t len = strlen("{\"timestamp\":\"") + CLOCK_TEXT_SIZE - 1;
	return a.len >= len && b.len >= len && memcmp(a.at, b.at, len) < 0;
}

static void drain_access(struct audit *audit)
{
	for (;;) {
		struct audit_lane *earliest = NULL;
		struct str line = STR("");
		for (size_t i = 0; i < audit->lane_count; i++) {
			struct str candidate = first_line(&audit->lanes[i]);
			if (candidate.len && (!earliest || begins_earlier(candidate, line))) {
				earliest = &audit->lanes[i];
				line = candidate;
			}
		}
		if (!earliest || !has_room(&audit->access))
			return;
		buffer_append_str(&audit->access.pending, line);
		buffer_take(&earliest->taken_access, line.len);
	}
}

// Takes what the lanes have gathered to the files. True when there was anything or still is.
static bool drain_all(struct audit *audit, bool closing)
{
	bool busy = !follow_sharing(audit);
	if (closing) {
		audit_file_retry_now(&audit->log.file);
		audit_file_retry_now(&audit->access);
	}
	for (size_t i = 0; i < audit->lane_count; i++)
		busy |= audit_lane_take(&audit->lanes[i], closing);
	busy |= !drain_records(audit);
	drain_access(audit);
	busy |= !audit_file_flush(&audit->log.file);
	audit_log_yield(&audit->log);
	busy |= !audit_file_flush(&audit->access);
	return busy;
}

static void reopen_access(struct audit_file *access)
{
	char why[AUDIT_WHY_SIZE];
	audit_file_flush(access);
	int descriptor = audit_file_open_again(access, why);
	if (descriptor >= 0)
		audit_file_replace(access, descriptor);
	else if (why[0])
		log_event(LOG_ERROR, "access log not reopened, the old file is kept",
		        "path=\"%s\" problem=\"%s\"", access->name, why);
}

static bool refused(const struct audit *audit)
{
	return atomic_load(&audit->log.file.failing) || atomic_load(&audit->access.failing);
}

static void pause_writer(struct audit *audit, bool busy, bool closing)
{
	if (!busy)
		audit_bell_wait(&audit->bell, AUDIT_BELL_WANTED, AUDIT_BELL_FOR_EVER);
	else if (!closing)
		audit_bell_wait(
		        &audit->bell, AUDIT_BELL_URGENT, refused(audit) ? REFUSED_MS : BATCH_MS);
	else if (refused(audit) || audit->log.sharing == AUDIT_SHARED)
		audit_bell_wait(&audit->bell, AUDIT_BELL_URGENT, CLOSING_MS);
}

static void say_what_is_lost(struct audit *audit)
{
	uint64_t lost = audit_log_pending_lines(&audit->log);
	for (size_t i = 0; i < audit->lane_count; i++)
		lost += audit_lane_left(&audit->lanes[i]);
	if (lost)
		log_event(LOG_ERROR, "audit records lost, the log could not be written to the end",
		        "path=\"%s\" records=%" PRIu64, audit->log.file.name, lost);
}

// Once it can be written again: how much of the access log is missing there.
static void say_what_was_dropped(struct audit *audit, bool closing)
{
	uint64_t dropped = audit_access_dropped_total(audit);
	int64_t now_ns = clock_monotonic_ns();
	if (dropped == audit->access_told || atomic_load(&audit->access.failing))
		return;
	if (!closing && audit->access_told_ns &&
	        now_ns - audit->access_told_ns < DROPPED_S * (int64_t)NS_PER_S)
		return;
	log_event(LOG_ERROR, "access lines lost, the log was not written fast enough",
	        "path=\"%s\" lines=%" PRIu64, audit->access.name, dropped - audit->access_told);
	audit->access_told = dropped;
	audit->access_told_ns = now_ns;
}

static void *writer(void *argument)
{
	struct audit *audit = argument;
	spare_open();
	for (int tries = 0;;) {
		audit_bell_clear(&audit->bell);  // before looking at anything
		bool closing = atomic_load(&audit->closing);
		if (atomic_exchange(&audit->reopening, false)) {
			audit_log_reopen(&audit->log);
			reopen_access(&audit->access);
		}
		bool busy = drain_all(audit, closing);
		say_what_was_dropped(audit, closing);
		if (closing && (!busy || ++tries == CLOSING_TRIES))
			break;
		pause_writer(audit, busy, closing);
	}
	say_what_is_lost(audit);
	spare_close();
	audit_bell_ring(&audit->finished, AUDIT_BELL_URGENT);
	return NULL;
}

// Signals are the main thread's. With all of them blocked here, a write to a closed pipe or beyond
// a size limit is an error and not a death.
static void start_writer(struct audit *audit)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	CHECK(pthread_create(&audit->thread, NULL, writer, audit) == 0);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

// Both are tried, so that one start tells of both.
static bool open_files(
        struct audit *audit, const struct config *config, struct config_problems *problems)
{
	char why[AUDIT_WHY_SIZE];
	bool log = audit_log_open(
	        &audit->log, &config->audit, atomic_load(&audit->claim_file), why);
	if (!log)
		audit_problem_add(problems, "audit.path", &config->audit, why);
	bool access = audit_file_open(&audit->access, &config->access_log, why);
	if (log && access && audit_file_same(&audit->log.file, &audit->access)) {
		strcpy(why, AUDIT_SAME_FILE);
		audit_file_close(&audit->access);
		access = false;
	}
	if (!access)
		audit_problem_add(problems, "access_log.path", &config->access_log, why);
	if (log && !access)
		audit_log_close(&audit->log);
	if (access && !log)
		audit_file_close(&audit->access);
	return log && access;
}

struct audit *audit_open(
        const struct config *config, size_t lanes, int claim_file, struct config_problems *problems)
{
	struct audit *audit = must_alloc(sizeof(*audit));
	audit->claim_file = claim_file;
	if (!open_files(audit, config, problems)) {
		free(audit);
		return NULL;
	}
	audit_file_end_line(&audit->access);
	audit_recent_init(&audit->recent, config->admin.kind != ADDRESS_NONE);
	audit_bell_init(&audit->bell);
	audit_bell_init(&audit->finished);
	audit->lanes = must_alloc(lanes * sizeof(*audit->lanes));
	audit->lane_count = lanes;
	for (size_t i = 0; i < lanes; i++)
		audit_lane_init(&audit->lanes[i], &audit->bell, config);
	start_writer(audit);
	return audit;
}

struct audit_lane *audit_lane_of(struct audit *audit, size_t index)
{
	CHECK(index < audit->lane_count);
	return &audit->lanes[index];
}

bool audit_failing(const struct audit *audit)
{
	const struct audit_file *file = &audit->log.file;
	int64_t since_ns = atomic_load_explicit(&file->writing_since_ns, memory_order_relaxed);
	return atomic_load_explicit(&file->failing, memory_order_relaxed) ||
	       (since_ns && clock_monotonic_ns() - since_ns > (int64_t)STUCK_S * NS_PER_S);
}

void audit_follow(struct audit *audit, const struct config *config)
{
	for (size_t i = 0; i < audit->lane_count; i++)
		atomic_store_explicit(&audit->lanes[i].fold_after, config->audit_fold_after,
		        memory_order_relaxed);
}

void audit_share(struct audit *audit, int claim_file)
{
	atomic_store(&audit->claim_file, claim_file);
	audit_bell_ring(&audit->bell, AUDIT_BELL_URGENT);
}

void audit_write_recent(struct audit *audit, size_t most, struct buffer *out)
{
	audit_recent_write(&audit->recent, most, out);
}

void audit_reopen(struct audit *audit)
{
	atomic_store(&audit->reopening, true);
	audit_bell_ring(&audit->bell, AUDIT_BELL_URGENT);
}

uint64_t audit_records_total(const struct audit *audit)
{
	uint64_t total = 0;
	for (size_t i = 0; i < audit->lane_count; i++)
		total += atomic_load_explicit(&audit->lanes[i].submitted, memory_order_relaxed);
	return total;
}

uint64_t audit_write_failures_total(const struct audit *audit)
{
	return atomic_load_explicit(&audit->log.file.failures, memory_order_relaxed);
}

uint64_t audit_access_dropped_total(const struct audit *audit)
{
	uint64_t total = 0;
	for (size_t i = 0; i < audit->lane_count; i++)
		total += atomic_load_explicit(
		        &audit->lanes[i].access_dropped, memory_order_relaxed);
	return total;
}

// Not pthread_timedjoin_np: its wall clock may be set back meanwhile.
static bool join_writer(struct audit *audit)
{
	audit_bell_wait(&audit->finished, AUDIT_BELL_URGENT, CLOSING_S * MS_PER_S);
	if (atomic_load(&audit->finished.level) < AUDIT_BELL_URGENT)
		return false;
	CHECK(pthread_join(audit->thread, NULL) == 0);
	return true;
}

void audit_close(struct audit *audit)
{
	if (!audit)
		return;
	atomic_store(&audit->closing, true);
	audit_bell_ring(&audit->bell, AUDIT_BELL_URGENT);
	if (!join_writer(audit)) {
		// It hangs in a write that no signal ends. What it holds stays its own; the process
		// goes down under it.
		log_event(LOG_ERROR, "audit log hangs, given up", "path=\"%s\"",
		        audit->log.file.name);
		pthread_detach(audit->thread);
		return;
	}
	for (size_t i = 0; i < audit->lane_count; i++)
		audit_lane_fini(&audit->lanes[i]);
	free(audit->lanes);
	audit_recent_fini(&audit->recent);
	audit_bell_fini(&audit->bell);
	audit_bell_fini(&audit->finished);
	audit_log_close(&audit->log);
	audit_file_close(&audit->access);
	free(audit);
}
