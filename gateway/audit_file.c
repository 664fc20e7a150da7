#include "gateway/audit_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/denied.h"
#include "base/log.h"

enum {
	RETRY_S = 1,
	SHOUT_S = 10,
	PIPE_TURN_MS = 100,  // one log's slow reader may hold the other log up this long
	PIPE_PATIENCE_S = 1,
};

static int open_descriptor(const struct config_output *output)
{
	switch (output->kind) {
	case OUTPUT_OFF:
		return -1;
	case OUTPUT_STDOUT:
		return fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	case OUTPUT_STDERR:
		return fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	case OUTPUT_FILE:
		break;
	}
	// Read and write: the end of a file is read to continue it, and a FIFO opened so needs no
	// reader (fifo(7)). Without blocking: a FIFO nobody reads must not stop the thread.
	return open(output->path.at,
	        O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
}

static bool is_regular(int descriptor)
{
	struct stat status;
	return fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
}

static bool same_inode(int a, int b)
{
	struct stat one, other;
	return fstat(a, &one) == 0 && fstat(b, &other) == 0 && one.st_dev == other.st_dev &&
	       one.st_ino == other.st_ino;
}

const char *audit_output_name(const struct config_output *output)
{
	switch (output->kind) {
	case OUTPUT_OFF:
		return "off";
	case OUTPUT_STDOUT:
		return "stdout";
	case OUTPUT_STDERR:
		return "stderr";
	case OUTPUT_FILE:
		break;
	}
	return output->path.at;
}

bool audit_file_open(
        struct audit_file *file, const struct config_output *output, char why[AUDIT_WHY_SIZE])
{
	*file = (struct audit_file){.output = *output, .descriptor = open_descriptor(output)};
	if (file->descriptor < 0 && output->kind != OUTPUT_OFF) {
		snprintf(why, AUDIT_WHY_SIZE, "cannot be opened for appending: %s",
		        denied_words(audit_output_name(output), R_OK | W_OK, errno));
		return false;
	}
	// The configuration may be gone before the writer is: a reload replaces it.
	if (output->kind == OUTPUT_FILE)
		file->output.path.at = must_copy(output->path.at, output->path.len);
	file->name = audit_output_name(&file->output);
	file->repairable = output->kind == OUTPUT_FILE && is_regular(file->descriptor);
	return true;
}

bool audit_descriptor_lock(int descriptor, char why[AUDIT_WHY_SIZE])
{
	if (!is_regular(descriptor) || flock(descriptor, LOCK_EX | LOCK_NB) == 0)
		return true;
	if (errno != EWOULDBLOCK) {  // a file system without locks is no reason not to serve
		log_event(LOG_WARN, "audit log cannot be locked against a second writer",
		        "error=\"%s\"", strerror(errno));
		return true;
	}
	snprintf(why, AUDIT_WHY_SIZE, "in use by another process; one process writes one chain");
	return false;
}

void audit_descriptor_unlock(int descriptor)
{
	(void)flock(descriptor, LOCK_UN);
}

int audit_file_open_again(const struct audit_file *file, char why[AUDIT_WHY_SIZE])
{
	why[0] = '\0';
	if (file->output.kind != OUTPUT_FILE)
		return -1;
	int descriptor = open_descriptor(&file->output);
	if (descriptor < 0) {
		snprintf(why, AUDIT_WHY_SIZE, "cannot be opened for appending: %s",
		        denied_words(file->name, R_OK | W_OK, errno));
		return -1;
	}
	if (same_inode(descriptor, file->descriptor)) {
		close(descriptor);
		return -1;
	}
	return descriptor;
}

void audit_file_end_line(struct audit_file *file)
{
	struct stat status;
	char last;
	if (!file->repairable || fstat(file->descriptor, &status) < 0 || status.st_size == 0)
		return;
	if (pread(file->descriptor, &last, 1, status.st_size - 1) == 1 && last != '\n')
		buffer_append(&file->pending, "\n", 1);
}

// Cuts the begun line off the file, so that it ends in a whole one. Not possible: it is continued.
static void repair(struct audit_file *file)
{
	struct stat status;
	if (file->begun == 0 || !file->repairable || file->shared ||
	        fstat(file->descriptor, &status) < 0)
		return;
	if ((uint64_t)status.st_size < file->begun)
		return;
	if (ftruncate(file->descriptor, status.st_size - (off_t)file->begun) == 0)
		file->begun = 0;
}

static void finish(struct audit_file *file)
{
	repair(file);
	// Delayed allocation tells of a full disk no earlier than here. Pipes and terminals say
	// EINVAL, which means nothing.
	if (fdatasync(file->descriptor) < 0 && errno != EINVAL && errno != EROFS)
		log_event(LOG_ERROR, "log may not have reached the disk",
		        "path=\"%s\" error=\"%s\"", file->name, strerror(errno));
	close(file->descriptor);
}

void audit_file_replace(struct audit_file *file, int descriptor)
{
	finish(file);
	file->descriptor = descriptor;
	file->repairable = is_regular(descriptor);
	file->begun = 0;  // the first pending line goes to the new file as a whole
	audit_file_retry_now(file);
}

static void advance(struct audit_file *file, size_t written)
{
	size_t in_file = file->begun + written;
	const char *start = buffer_data(&file->pending), *end = memrchr(start, '\n', in_file);
	size_t whole = end ? (size_t)(end + 1 - start) : 0;
	buffer_take(&file->pending, whole);
	file->moved_ns = clock_monotonic_ns();
	file->begun = in_file - whole;
}

// A pipe is written in pieces it can take without blocking (pipe(7): PIPE_BUF once it polls
// writable), for stdout may be one and its O_NONBLOCK is not ours to set.
static bool wait_for_pipe(const struct audit_file *file, int64_t until_ns)
{
	struct pollfd poll_one = {.fd = file->descriptor, .events = POLLOUT};
	int64_t left_ns = until_ns - clock_monotonic_ns();
	return poll(&poll_one, 1, left_ns > 0 ? (int)(left_ns / NS_PER_MS) : 0) > 0;
}

// One write. 0, or why nothing went: EAGAIN for a pipe that had no room in time.
static int write_some(struct audit_file *file, int64_t until_ns)
{
	struct str rest = str_skip(buffer_str(&file->pending), file->begun);
	if (!file->repairable) {
		if (!wait_for_pipe(file, until_ns))
			return EAGAIN;
		if (rest.len > PIPE_BUF)
			rest.len = PIPE_BUF;
	}
	atomic_store(&file->writing_since_ns, clock_monotonic_ns());
	ssize_t written = write(file->descriptor, rest.at, rest.len);
	int error = written < 0 ? errno : EIO;
	atomic_store(&file->writing_since_ns, 0);
	if (written > 0)
		advance(file, (size_t)written);
	return written > 0 || error == EINTR ? 0 : error;
}

static void refused(struct audit_file *file, int error)
{
	int64_t now_ns = clock_monotonic_ns();
	repair(file);
	atomic_fetch_add(&file->failures, 1);
	atomic_store(&file->failing, true);
	file->retry_ns = now_ns + (int64_t)RETRY_S * NS_PER_S;
	if (now_ns < file->shout_ns)
		return;
	file->shout_ns = now_ns + (int64_t)SHOUT_S * NS_PER_S;
	file->shouted = true;
	log_event(LOG_ERROR, "log cannot be written; records are kept and folded",
	        "path=\"%s\" error=\"%s\" unwritten_bytes=%zu", file->name,
	        error == EAGAIN ? "nobody reads it" : strerror(error), buffer_len(&file->pending));
}

static void accepted(struct audit_file *file)
{
	if (!atomic_load(&file->failing))
		return;
	atomic_store(&file->failing, false);
	if (!file->shouted)
		return;
	file->shouted = false;
	log_event(LOG_INFO, "log can be written again", "path=\"%s\"", file->name);
}

// A pipe that moves, however slowly, is no refusal; the writer only has other things to do.
static bool is_patient(struct audit_file *file)
{
	int64_t now_ns = clock_monotonic_ns();
	if (file->moved_ns == 0)
		file->moved_ns = now_ns;
	return now_ns - file->moved_ns < (int64_t)PIPE_PATIENCE_S * NS_PER_S;
}

bool audit_file_flush(struct audit_file *file)
{
	int64_t now_ns = clock_monotonic_ns();
	if (atomic_load(&file->failing) && now_ns < file->retry_ns)
		return buffer_len(&file->pending) == 0;
	while (buffer_len(&file->pending)) {
		int error = write_some(file, now_ns + (int64_t)PIPE_TURN_MS * NS_PER_MS);
		if (error == 0)
			continue;
		if (error != EAGAIN || !is_patient(file))
			refused(file, error);
		return false;
	}
	file->moved_ns = 0;
	accepted(file);
	return true;
}

void audit_file_retry_now(struct audit_file *file)
{
	file->retry_ns = 0;
}

bool audit_file_same(const struct audit_file *a, const struct audit_file *b)
{
	return a->repairable && b->repairable && same_inode(a->descriptor, b->descriptor);
}

void audit_file_close(struct audit_file *file)
{
	if (file->descriptor >= 0)
		finish(file);
	file->descriptor = -1;
	if (file->output.kind == OUTPUT_FILE)
		free((char *)file->output.path.at);
	file->output.kind = OUTPUT_OFF;
	buffer_fini(&file->pending);
}
