#include "gateway/replace.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct replacement {
	const char *path;            // as it was given
	char target[PATH_MAX];       // what it leads to
	char beside[PATH_MAX + 16];  // the new file until it takes its place
	size_t directory_len;
};

static bool fail(const struct replacement *replacement, const char *what)
{
	fprintf(stderr, "tollgate: %s: cannot be replaced, and is as it was: %s: %s\n",
	        replacement->path, what, strerror(errno));
	return false;
}

static bool write_all(int descriptor, struct str contents)
{
	while (contents.len) {
		ssize_t written = write(descriptor, contents.at, contents.len);
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return false;
		contents = str_skip(contents, (size_t)written);
	}
	return true;
}

// The owner first: changing it would take set-user-ID bits off the mode.
static bool fill(const struct replacement *replacement, int descriptor, struct str contents)
{
	struct stat old, new;
	if (stat(replacement->target, &old) < 0 || fstat(descriptor, &new) < 0)
		return fail(replacement, "it cannot be looked at");
	if ((old.st_uid != new.st_uid || old.st_gid != new.st_gid) &&
	        fchown(descriptor, old.st_uid, old.st_gid) < 0)
		return fail(replacement, "its owner cannot be kept");
	if (fchmod(descriptor, old.st_mode & 07777) < 0)
		return fail(replacement, "its mode cannot be kept");
	if (!write_all(descriptor, contents) || fsync(descriptor) < 0)
		return fail(replacement, "the file beside it cannot be written");
	return true;
}

static bool make_beside(struct replacement *replacement, struct str contents)
{
	int descriptor = mkostemp(replacement->beside, O_CLOEXEC);
	if (descriptor < 0)
		return fail(replacement, "no file can be made beside it");
	bool made = fill(replacement, descriptor, contents);
	if (close(descriptor) < 0 && made)
		made = fail(replacement, "the file beside it cannot be written");
	if (made && rename(replacement->beside, replacement->target) < 0)
		made = fail(replacement, "the file beside it cannot take its place");
	if (!made)
		(void)unlink(replacement->beside);
	return made;
}

// The name is on the disk, too.
static void sync_directory(const struct replacement *replacement)
{
	char directory[PATH_MAX];
	snprintf(directory, sizeof(directory), "%.*s", (int)replacement->directory_len,
	        replacement->target);
	int descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (descriptor < 0)
		return;
	(void)fsync(descriptor);
	close(descriptor);
}

bool replace_file(const char *path, struct str contents)
{
	struct replacement replacement = {.path = path};
	if (!realpath(path, replacement.target))
		return fail(&replacement, "it cannot be found");
	const char *name = strrchr(replacement.target, '/') + 1;
	replacement.directory_len = (size_t)(name - replacement.target);
	snprintf(replacement.beside, sizeof(replacement.beside), "%.*s.%s.XXXXXX",
	        (int)replacement.directory_len, replacement.target, name);
	if (!make_beside(&replacement, contents))
		return false;
	sync_directory(&replacement);
	return true;
}
