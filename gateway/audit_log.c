#include "gateway/audit_log.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "gateway/audit_tail.h"

enum { COMPLAIN_S = 10 };

void audit_log_append(struct audit_log *log, const struct audit_taken *taken)
{
	char extra[160] = "", first[CLOCK_TEXT_SIZE], last[CLOCK_TEXT_SIZE];
	if (taken->fold) {
		clock_text(taken->fold->first_ns, first);
		clock_text(taken->fold->last_ns, last);
		snprintf(extra, sizeof(extra),
		        ",\"count\":%" PRIu64 ",\"first\":\"%s\",\"last\":\"%s\"",
		        taken->fold->count, first, last);
	}
	audit_chain_append(
	        &log->chain, &log->file.pending, taken->wall_ns, taken->body, str_from(extra));
}

// `rotated` is the name of the predecessor that was torn, NULL for the file itself.
static void say_mended(struct audit_log *log, const struct audit_tail *tail, const char *rotated)
{
	struct buffer body = {0};
	struct json json;
	json_init(&json, &body);
	json_member_str(&json, "event", STR("torn_line_mended"));
	json_key(&json, "torn");
	json_open(&json, '{');
	json_member_int(&json, "bytes", (int64_t)tail->torn_bytes);
	json_member_str(&json, "sha256", str_from(tail->torn_hash));
	json_member_str_if(&json, "file", str_from(rotated));
	json_close(&json, '}');
	struct audit_taken taken = {.wall_ns = clock_wall_ns(), .body = buffer_str(&body)};
	audit_log_append(log, &taken);
	buffer_fini(&body);
	log_event(LOG_WARN, "audit log ended in a torn line, mended", "path=\"%s\" bytes=%" PRIu64,
	        rotated ? rotated : log->file.name, tail->torn_bytes);
}

static void inherit(struct audit_log *log)
{
	struct audit_tail tail;
	struct buffer name = {0};
	audit_tail_inherit(log->file.name, &tail, &name);
	log->chain = tail.chain;
	if (tail.torn_bytes)
		say_mended(log, &tail, buffer_data(&name));
	buffer_fini(&name);
}

static bool go_on(struct audit_log *log, char why[AUDIT_WHY_SIZE])
{
	struct audit_tail tail;
	if (!audit_descriptor_lock(log->file.descriptor, why) ||
	        !audit_tail_read(log->file.descriptor, &tail, why))
		return false;
	log->chain = tail.chain;
	if (tail.torn_bytes && !audit_tail_cut(log->file.descriptor, &tail, why))
		return false;
	if (tail.chain.seq == 0)
		inherit(log);
	if (tail.torn_bytes)
		say_mended(log, &tail, NULL);
	return true;
}

bool audit_log_open(struct audit_log *log, const struct config_output *output, int claim_file,
        char why[AUDIT_WHY_SIZE])
{
	audit_chain_init(&log->chain);
	log->sharing = claim_file < 0 ? AUDIT_ALONE : AUDIT_SHARED;
	log->claim_file = claim_file;
	if (!audit_file_open(&log->file, output, why))
		return false;
	if (!log->file.repairable || log->sharing == AUDIT_SHARED || go_on(log, why))
		return true;
	audit_file_close(&log->file);
	return false;
}

// The other may have rotated it.
static void follow_path(struct audit_log *log)
{
	char why[AUDIT_WHY_SIZE];
	int descriptor = audit_file_open_again(&log->file, why);
	if (descriptor >= 0)
		audit_file_replace(&log->file, descriptor);
}

static void complain(struct audit_log *log, const char *why)
{
	int64_t now_ns = clock_monotonic_ns();
	if (log->complained_ns && now_ns - log->complained_ns < COMPLAIN_S * (int64_t)NS_PER_S)
		return;
	log->complained_ns = now_ns;
	log_event(LOG_WARN, "the audit log that two gateways share cannot be had, records wait",
	        "path=\"%s\" problem=\"%s\"", log->file.name, why);
}

// A lock of the process, not of the description, which both have from one memfd_create.
static bool set_claim(const struct audit_log *log, short kind)
{
	struct flock lock = {.l_type = kind, .l_whence = SEEK_SET, .l_len = 1};
	return fcntl(log->claim_file, F_SETLK, &lock) == 0;
}

bool audit_log_claim(struct audit_log *log)
{
	char why[AUDIT_WHY_SIZE];
	if (log->sharing == AUDIT_ALONE || log->claimed || !log->file.repairable)
		return true;
	if (!set_claim(log, F_WRLCK))
		return false;
	follow_path(log);
	log->claimed = go_on(log, why);
	if (!log->claimed) {
		complain(log, why);
		audit_descriptor_unlock(log->file.descriptor);
		(void)set_claim(log, F_UNLCK);
	}
	return log->claimed;
}

void audit_log_yield(struct audit_log *log)
{
	if (log->sharing == AUDIT_ALONE || !log->claimed || buffer_len(&log->file.pending))
		return;
	log->claimed = false;
	audit_descriptor_unlock(log->file.descriptor);
	(void)set_claim(log, F_UNLCK);
}

void audit_log_share(struct audit_log *log, int claim_file)
{
	log->claim_file = claim_file;
	log->claimed = set_claim(log, F_WRLCK);
	log->sharing = AUDIT_SHARED;
}

bool audit_log_own(struct audit_log *log)
{
	audit_log_yield(log);  // the path may lead elsewhere since the claim was had
	if ((log->claimed && log->file.repairable) || !audit_log_claim(log))
		return false;
	log->sharing = AUDIT_ALONE;
	log->claimed = false;
	(void)set_claim(log, F_UNLCK);
	log->claim_file = -1;
	return true;
}

// Is the file new, or does it end in the very line that ours ended in?
static bool goes_on_in(const struct audit_log *log, int descriptor, char why[AUDIT_WHY_SIZE])
{
	struct audit_tail tail;
	if (!audit_descriptor_lock(descriptor, why) || !audit_tail_read(descriptor, &tail, why))
		return false;
	if (tail.torn_bytes == 0 && tail.chain.seq == 0)
		return true;
	if (tail.torn_bytes == 0 && tail.chain.seq == log->chain.seq &&
	        strcmp(tail.chain.hash, log->chain.hash) == 0 &&
	        buffer_len(&log->file.pending) == 0)
		return true;
	snprintf(why, AUDIT_WHY_SIZE, "it holds another chain");
	return false;
}

void audit_log_reopen(struct audit_log *log)
{
	char why[AUDIT_WHY_SIZE];
	if (log->sharing == AUDIT_SHARED)
		return;                // every claim looks at the path
	audit_file_flush(&log->file);  // what the old file refuses goes to the new one
	int descriptor = audit_file_open_again(&log->file, why);
	if (descriptor >= 0 && goes_on_in(log, descriptor, why)) {
		audit_file_replace(&log->file, descriptor);
		return;
	}
	if (descriptor >= 0)
		close(descriptor);
	if (why[0])
		log_event(LOG_ERROR, "audit log not reopened, the old file is kept",
		        "path=\"%s\" problem=\"%s\"", log->file.name, why);
}

uint64_t audit_log_pending_lines(const struct audit_log *log)
{
	uint64_t count = 0;
	struct str text = buffer_str(&log->file.pending);
	for (const char *newline; (newline = str_find_byte(text, '\n')); count++)
		text = str_skip(text, (size_t)(newline + 1 - text.at));
	return count;
}

void audit_log_close(struct audit_log *log)
{
	audit_file_close(&log->file);
}
