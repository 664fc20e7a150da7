#include "base/denied.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/str.h"

int denied_making(const char *path)
{
	char *copy = must_copy(path, strlen(path));
	int error = faccessat(AT_FDCWD, dirname(copy), W_OK | X_OK, AT_EACCESS) < 0 ? errno : 0;
	free(copy);
	return error;
}

static bool mode_allows(const char *path, int access)
{
	if (faccessat(AT_FDCWD, path, access, AT_EACCESS) == 0)
		return true;
	return errno == ENOENT && access & W_OK && denied_making(path) == 0;
}

const char *denied_words(const char *path, int access, int error)
{
	if (error == EACCES && mode_allows(path, access))
		return "its directory was not named when the sandbox was closed; a restart is "
		       "needed";
	return strerror(error);
}
