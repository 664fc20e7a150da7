#include "gateway/audit_tail.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

// Two lines of any length and the newline before them.
enum { TAIL_BYTES = 2 * (AUDIT_LINE_BYTES + 1) + 1 };

static bool read_end(int descriptor, off_t size, size_t len, char *bytes)
{
	for (size_t done = 0; done < len;) {
		ssize_t got = pread(
		        descriptor, bytes + done, len - done, size - (off_t)len + (off_t)done);
		if (got == 0 || (got < 0 && errno != EINTR)) {
			errno = got ? errno : EIO;
			return false;
		}
		done += got > 0 ? (size_t)got : 0;
	}
	return true;
}

// Takes the last line off the end, without its newline.
static struct str pop_line(struct str *text)
{
	if (str_ends(*text, STR("\n")))
		text->len--;
	const char *newline = text->len ? memrchr(text->at, '\n', text->len) : NULL;
	struct str line = newline ? str_skip(*text, (size_t)(newline + 1 - text->at)) : *text;
	text->len -= line.len;
	return line;
}

static bool is_ours(struct str line, struct audit_chain *chain)
{
	struct audit_link link;
	if (audit_link_read(line, &link) != AUDIT_LINK_OURS)
		return false;
	audit_chain_step(chain, link.seq, line);
	return true;
}

static bool begins_like_ours(struct str fragment)
{
	const struct str opening = STR("{\"timestamp\":\"");
	return fragment.len < opening.len ? str_starts(opening, fragment)
	                                  : str_starts(fragment, opening);
}

// A crash tears the last line only. Cutting it off is right where the line before is ours, or the
// fragment itself begins as ours do; anything else may be another program's file.
static bool judge(struct str text, bool whole_file, struct audit_tail *tail)
{
	struct str rest = text, line = pop_line(&rest);
	struct audit_link link;
	bool ended = str_ends(text, STR("\n"));
	if (ended && is_ours(line, &tail->chain))
		return true;
	if (ended && audit_link_read(line, &link) == AUDIT_LINK_FOREIGN)
		return false;
	struct str torn = str_skip(text, rest.len);
	bool alone = rest.len == 0 && whole_file;
	if (alone ? !begins_like_ours(torn) : !is_ours(pop_line(&rest), &tail->chain))
		return false;
	tail->torn_bytes = torn.len;
	digest_hex(torn, tail->torn_hash);
	return true;
}

bool audit_tail_read(int descriptor, struct audit_tail *tail, char why[AUDIT_WHY_SIZE])
{
	struct stat status;
	*tail = (struct audit_tail){0};
	audit_chain_init(&tail->chain);
	if (fstat(descriptor, &status) < 0) {
		snprintf(why, AUDIT_WHY_SIZE, "cannot be read: %s", strerror(errno));
		return false;
	}
	if (!S_ISREG(status.st_mode) || status.st_size == 0)
		return true;
	size_t len = status.st_size < TAIL_BYTES ? (size_t)status.st_size : TAIL_BYTES;
	char *bytes = must_realloc(NULL, len);
	bool good = read_end(descriptor, status.st_size, len, bytes);
	if (!good) {
		snprintf(why, AUDIT_WHY_SIZE, "cannot be read: %s", strerror(errno));
	} else if (!judge(str_of(bytes, len), len == (size_t)status.st_size, tail)) {
		snprintf(why, AUDIT_WHY_SIZE,
		        "its last line is no audit record of tollgate; move the file away or name "
		        "another path");
		good = false;
	}
	free(bytes);
	return good;
}

// `audit.jsonl.1`, `audit.jsonl-20261123`: what logrotate makes of `audit.jsonl`. Not
// `audit.jsonl.bak` or `audit-other.jsonl`, which may be anybody's.
static bool is_rotated_name(const char *name, struct str base)
{
	struct str rest = str_from(name);
	if (!str_starts(rest, base))
		return false;
	rest = str_skip(rest, base.len);
	return rest.len >= 2 && (rest.at[0] == '.' || rest.at[0] == '-') && rest.at[1] >= '0' &&
	       rest.at[1] <= '9';
}

struct search {
	const char *directory;
	struct audit_tail *tail;
	struct buffer *name;  // of the file that is torn
	bool fragment;        // which holds nothing else
};

// By its whole path: TSan follows descriptors through open(), not through openat().
static int open_in(const char *directory, const char *name, int flags)
{
	struct buffer path = {0};
	buffer_printf(&path, "%s/%s", directory, name);
	buffer_append(&path, "", 1);
	int descriptor = open(buffer_data(&path), flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	buffer_fini(&path);
	return descriptor;
}

static void take_torn(struct search *search, const struct audit_tail *tail, const char *name)
{
	search->tail->torn_bytes = tail->torn_bytes;
	memcpy(search->tail->torn_hash, tail->torn_hash, sizeof(tail->torn_hash));
	buffer_clear(search->name);
	buffer_append(search->name, name, strlen(name) + 1);
}

// The newest file has the chain's end, and may be torn; unless one that was just begun is.
static void consider(struct search *search, const char *name)
{
	struct audit_tail tail;
	char why[AUDIT_WHY_SIZE];
	int descriptor = open_in(search->directory, name, O_RDONLY);
	if (descriptor < 0)
		return;
	bool ours = audit_tail_read(descriptor, &tail, why);
	bool newer = ours && tail.chain.seq > search->tail->chain.seq;
	bool fragment = ours && tail.chain.seq == 0 && tail.torn_bytes;
	if (newer)
		search->tail->chain = tail.chain;
	if (fragment || (newer && !search->fragment))
		take_torn(search, &tail, name);
	search->fragment |= fragment;
	close(descriptor);
}

bool audit_tail_cut(int descriptor, const struct audit_tail *tail, char why[AUDIT_WHY_SIZE])
{
	off_t end = lseek(descriptor, 0, SEEK_END);
	if (end >= 0 && ftruncate(descriptor, end - (off_t)tail->torn_bytes) == 0)
		return true;
	snprintf(why, AUDIT_WHY_SIZE, "its torn last line cannot be cut off: %s", strerror(errno));
	return false;
}

// The line was torn in the file that was being written, which somebody has renamed since.
static void mend_rotated(const char *directory, const char *name, struct audit_tail *tail)
{
	char why[AUDIT_WHY_SIZE];
	int descriptor = open_in(directory, name, O_RDWR);
	bool mended = descriptor >= 0 && audit_descriptor_lock(descriptor, why) &&
	              audit_tail_cut(descriptor, tail, why);
	if (!mended) {
		log_event(LOG_WARN, "rotated audit log ends in a torn line, which stays",
		        "path=\"%s\" problem=\"%s\"", name, descriptor < 0 ? strerror(errno) : why);
		tail->torn_bytes = 0;
	}
	if (descriptor >= 0)
		close(descriptor);
}

void audit_tail_inherit(const char *path, struct audit_tail *tail, struct buffer *name)
{
	*tail = (struct audit_tail){0};
	audit_chain_init(&tail->chain);
	char *for_directory = must_copy(path, strlen(path)),
	     *for_base = must_copy(path, strlen(path));
	struct str base = str_from(basename(for_base));
	struct search search = {.directory = dirname(for_directory), .tail = tail, .name = name};
	DIR *directory = opendir(search.directory);
	for (struct dirent *entry; directory && (entry = readdir(directory));)
		if (is_rotated_name(entry->d_name, base))
			consider(&search, entry->d_name);
	if (directory && tail->torn_bytes)
		mend_rotated(search.directory, buffer_data(name), tail);
	if (directory)
		closedir(directory);
	free(for_directory);
	free(for_base);
}
