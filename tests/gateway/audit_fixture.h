// What the audit tests share: a scratch directory, a configuration, sample records, and a reader
// that checks every line's seq and hash itself, by means of its own. Each test program includes it
// once; it is no part of the gateway.
#ifndef TESTS_AUDIT_FIXTURE_H
#define TESTS_AUDIT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "gateway/audit.h"
#include "tls/digest.h"

#define UNUSED __attribute__((unused))

static char scratch[64];
static struct config_problems problems;

UNUSED static int make_scratch(void **state)
{
	(void)state;
	strcpy(scratch, "/tmp/tollgate-audit-XXXXXX");
	return mkdtemp(scratch) ? 0 : -1;
}

UNUSED static int remove_scratch(void **state)
{
	(void)state;
	clock_real();
	config_problems_fini(&problems);
	problems = (struct config_problems){0};
	DIR *directory = opendir(scratch);
	for (struct dirent *entry; (entry = readdir(directory));)
		unlinkat(dirfd(directory), entry->d_name, 0);
	closedir(directory);
	return rmdir(scratch);
}

// A path in the scratch directory; good until the end of the test.
UNUSED static char *in_scratch(const char *name)
{
	static char paths[32][128];
	char wanted[128];
	snprintf(wanted, sizeof(wanted), "%s/%s", scratch, name);
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		bool stale = strncmp(paths[i], scratch, strlen(scratch)) != 0;
		if (stale)
			strcpy(paths[i], wanted);
		if (strcmp(paths[i], wanted) == 0)
			return paths[i];
	}
	fail_msg("a test of more than %zu files", ARRAY_LEN(paths));
	return NULL;
}

UNUSED static struct config config_for(const char *audit_path, uint64_t fold_after)
{
	return (struct config){
	        .audit = {.kind = OUTPUT_FILE, .path = str_from(audit_path)},
	        .audit_fold_after = fold_after,
	};
}

UNUSED static struct audit *open_audit(const char *path, uint64_t fold_after, size_t lanes)
{
	struct config config = config_for(path, fold_after);
	struct audit *audit = audit_open(&config, lanes, -1, &problems);
	if (!audit)
		fail_msg("%.*s", STR_FMT(problems.items[0].what));
	return audit;
}

UNUSED static struct audit_record refusal(enum reason reason, const char *address)
{
	return (struct audit_record){
	        .event = "rejected",
	        .reason = reason,
	        .listener = STR("edge"),
	        .answer = {.status = 403, .grpc_status = -1},
	        .client = {.address = str_from(address)},
	};
}

UNUSED static void submit(struct audit *audit, size_t lane, enum reason reason, const char *address)
{
	struct audit_record record = refusal(reason, address);
	audit_submit(audit_lane_of(audit, lane), &record);
}

UNUSED static char *slurp(const char *path, size_t *len)
{
	int descriptor = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(descriptor >= 0);
	struct buffer buffer = {0};
	for (ssize_t got; (got = read(descriptor, buffer_room(&buffer, 65536), 65536)) > 0;)
		buffer_added(&buffer, (size_t)got);
	close(descriptor);
	buffer_append(&buffer, "", 1);
	*len = buffer_len(&buffer) - 1;
	return buffer.block;
}

UNUSED static void spill(const char *path, const char *bytes, size_t len)
{
	int descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(descriptor >= 0);
	assert_int_equal(write(descriptor, bytes, len), len);
	close(descriptor);
}

UNUSED static off_t size_of(const char *path)
{
	struct stat status;
	return stat(path, &status) == 0 ? status.st_size : -1;
}

// What a log says in sum.
struct told {
	uint64_t lines, refusals;  // of the lines, those of refusals; folded ones count as many
	uint64_t folded_lines, mended_lines;
	uint64_t first_seq, last_seq;
	char last_hash[DIGEST_HEX_SIZE];
};

UNUSED static void tell_line(struct told *told, const char *line, size_t len)
{
	json_error_t error;
	json_t *record = json_loadb(line, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
	if (!record)
		fail_msg("%s in %.*s", error.text, (int)len, line);
	uint64_t seq = (uint64_t)json_integer_value(json_object_get(record, "seq"));
	const char *previous = json_string_value(json_object_get(record, "previous"));
	if (told->lines == 0)
		told->first_seq = seq;
	else
		assert_int_equal(seq, told->last_seq + 1);
	if (told->last_hash[0])
		assert_string_equal(previous, told->last_hash);
	const char *event = json_string_value(json_object_get(record, "event"));
	json_t *count = json_object_get(record, "count");
	if (strcmp(event, "rejected") == 0)
		told->refusals += count ? (uint64_t)json_integer_value(count) : 1;
	told->folded_lines += count != NULL;
	told->mended_lines += strcmp(event, "torn_line_mended") == 0;
	told->last_seq = seq;
	told->lines++;
	digest_hex(str_of(line, len), told->last_hash);
	json_decref(record);
}

UNUSED static void tell_text(struct told *told, const char *text, size_t len)
{
	for (const char *end = text + len, *next; text < end; text = next + 1) {
		next = memchr(text, '\n', (size_t)(end - text));
		if (!next)
			fail_msg("torn last line: %s", text);
		tell_line(told, text, (size_t)(next - text));
	}
}

// Reads on from `before`, which is how a rotated log is told: file by file.
UNUSED static struct told tell_on(struct told before, const char *path)
{
	size_t len;
	char *text = slurp(path, &len);
	tell_text(&before, text, len);
	free(text);
	return before;
}

UNUSED static struct told tell(const char *path)
{
	return tell_on((struct told){0}, path);
}

// Waits for a condition, not for a time; gives up where hope is lost.
#define WAIT_UNTIL(condition)                                                                      \
	do {                                                                                       \
		for (int left = 20000; !(condition); left--) {                                     \
			if (left == 0)                                                             \
				fail_msg("never came true: %s", #condition);                       \
			nanosleep(&(struct timespec){.tv_nsec = NS_PER_MS}, NULL);                 \
		}                                                                                  \
	} while (0)

// Lines in the file by now, whole ones.
UNUSED static uint64_t line_count(const char *path)
{
	size_t len;
	char *text = slurp(path, &len);
	uint64_t count = 0;
	for (size_t i = 0; i < len; i++)
		count += text[i] == '\n';
	free(text);
	return count;
}

#endif
