#include "tls/secrecy.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

enum {
	OTHERS_WRITE = S_IWGRP | S_IWOTH,
	GROUP = S_IRGRP | S_IXGRP,
	OTHERS = S_IROTH | S_IXOTH,
	PERMISSIONS = 07777,
	GROUPS_MAX = 64,
};

static bool is_own_user(uid_t uid, const struct config_run_as *reader)
{
	return uid == 0 || uid == (reader ? reader->uid : geteuid());
}

// Without a user to become, the supplementary groups stay: a mounted secret often belongs to one.
static bool is_own_group(gid_t gid, const struct config_run_as *reader)
{
	gid_t groups[GROUPS_MAX];
	if (gid == 0 || gid == (reader ? reader->gid : getegid()))
		return true;
	int count = reader ? 0 : getgroups(GROUPS_MAX, groups);
	for (int i = 0; i < count; i++)
		if (groups[i] == gid)
			return true;
	return false;
}

// Nobody else gets through this directory: not its owner, not its group, not the rest.
static bool is_closed(const struct stat *directory, uid_t owner, const struct config_run_as *reader)
{
	bool others = directory->st_mode & S_IXOTH;
	bool group = directory->st_mode & S_IXGRP && !is_own_group(directory->st_gid, reader);
	bool strange = directory->st_uid != owner && !is_own_user(directory->st_uid, reader);
	return !others && !group && !strange;
}

// After symlinks: what counts is where the file really lies.
static bool lies_closed(struct str path, uid_t owner, const struct config_run_as *reader)
{
	char resolved[PATH_MAX];
	struct stat directory;
	if (!realpath(path.at, resolved))
		return false;
	for (char *slash; (slash = strrchr(resolved, '/')) && slash != resolved;) {
		*slash = '\0';
		if (stat(resolved, &directory) == 0 && is_closed(&directory, owner, reader))
			return true;
	}
	return false;
}

bool secrecy_check(
        const struct pem_place *place, int descriptor, const struct config_run_as *reader)
{
	static const char expected[] = "expected a mode of 0600 (chmod 600)";
	struct stat file;
	if (fstat(descriptor, &file) < 0)
		return true;  // then reading it fails too, and says why
	unsigned mode = file.st_mode & PERMISSIONS;
	if (mode & OTHERS_WRITE) {
		pem_complain(
		        place, "has the mode %04o: other users may write it; %s", mode, expected);
		return false;
	}
	bool group_reads = mode & GROUP && !is_own_group(file.st_gid, reader);
	if (!group_reads && !(mode & OTHERS))
		return true;
	if (!lies_closed(place->file->text, file.st_uid, reader)) {
		pem_complain(place, "has the mode %04o: other users may read it; %s%s", mode,
		        expected, mode & OTHERS ? "" : ", or the group of the gateway");
		return false;
	}
	log_event(LOG_WARN, "a private key is kept by its directory alone; chmod 600 is better",
	        "file=\"%.*s\" mode=%04o", STR_FMT(place->file->text), mode);
	return true;
}
