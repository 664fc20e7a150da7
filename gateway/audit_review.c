#include "gateway/audit_review.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/denied.h"
#include "gateway/audit_file.h"
#include "gateway/audit_tail.h"

struct logs {
	struct config_problems *problems;
	bool aloud;
};

void audit_problem_add(struct config_problems *problems, const char *key,
        const struct config_output *output, const char *why)
{
	config_problem_add(
	        problems, output->mark, str_from(key), "%s: %s", audit_output_name(output), why);
}

static bool cannot_be_opened(int error, char why[AUDIT_WHY_SIZE])
{
	snprintf(why, AUDIT_WHY_SIZE,
	        "cannot be opened for appending: %s; expected a file that this user may read and "
	        "write, or a directory to make it in",
	        strerror(error));
	return false;
}

static bool is_of_the_process(struct str path)
{
	return str_starts(path, STR("/dev/")) || str_starts(path, STR("/proc/self/"));
}

// What /dev/stdout leads to for us tells nothing of the gateway's; nor does a link to it, as
// container images have them.
static bool can_be_known(const struct config_output *output)
{
	char target[PATH_MAX];
	if (output->kind != OUTPUT_FILE || is_of_the_process(output->path))
		return false;
	ssize_t len = readlink(output->path.at, target, sizeof(target));
	return len < 0 || !is_of_the_process(str_of(target, (size_t)len));
}

// A directory that is not there may be made before the gateway starts, by the service manager
// (LogsDirectory= of ours) or with a mount, so that is no more than a warning.
static bool can_be_made(const struct logs *logs, const char *key,
        const struct config_output *output, char why[AUDIT_WHY_SIZE])
{
	struct stat status;
	const char *path = output->path.at;
	if (lstat(path, &status) == 0)
		return true;  // a link that leads nowhere yet: where to, opening it will show
	int error = denied_making(path);
	if (error && error != ENOENT)
		return cannot_be_opened(error, why);
	if (error && logs->aloud)
		printf("%.*s:%d:%d: warning: %s: %s: its directory is not there, and `run` will "
		       "not make it\n",
		        STR_FMT(logs->problems->file), output->mark.line, output->mark.column, key,
		        path);
	return true;
}

static bool can_be_opened(const struct logs *logs, const char *key,
        const struct config_output *output, struct stat *status, char why[AUDIT_WHY_SIZE])
{
	const char *path = output->path.at;
	if (!can_be_known(output))
		return true;
	if (stat(path, status) < 0)
		return errno == ENOENT ? can_be_made(logs, key, output, why)
		                       : cannot_be_opened(errno, why);
	if (S_ISDIR(status->st_mode))
		return cannot_be_opened(EISDIR, why);
	if (S_ISSOCK(status->st_mode))
		return cannot_be_opened(ENXIO, why);
	return faccessat(AT_FDCWD, path, R_OK | W_OK, AT_EACCESS) == 0 ||
	       cannot_be_opened(errno, why);
}

static bool can_be_continued(const char *path, char why[AUDIT_WHY_SIZE])
{
	struct audit_tail tail;
	int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (descriptor < 0)
		return true;  // gone since
	bool good = audit_tail_read(descriptor, &tail, why);
	close(descriptor);
	return good;
}

static struct stat review(
        struct logs *logs, const char *key, const struct config_output *output, bool chained)
{
	char why[AUDIT_WHY_SIZE];
	struct stat status = {0};
	if (!can_be_opened(logs, key, output, &status, why) ||
	        (chained && S_ISREG(status.st_mode) && !can_be_continued(output->path.at, why)))
		audit_problem_add(logs->problems, key, output, why);
	return status;
}

void audit_review(const struct config *config, bool aloud, struct config_problems *problems)
{
	struct logs logs = {problems, aloud};
	const struct stat log = review(&logs, "audit.path", &config->audit, true),
	                  access = review(&logs, "access_log.path", &config->access_log, false);
	if (S_ISREG(log.st_mode) && S_ISREG(access.st_mode) && log.st_dev == access.st_dev &&
	        log.st_ino == access.st_ino)
		audit_problem_add(
		        problems, "access_log.path", &config->access_log, AUDIT_SAME_FILE);
}
