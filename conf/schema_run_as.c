// Who the process becomes: `run_as`, its keys and what they mean together. The names are looked up
// when the file is read, so that `check` says which of them the machine does not know.
#include <errno.h>
#include <grp.h>
#include <pwd.h>

#include "conf/schema_row.h"
#include "conf/value.h"

enum { NUMBER_MAX = 0xFFFFFFFE };  // the last one, -1, means "leave it" to setresuid(2)

static const char expected_user[] = "the name or number of an unprivileged user of this machine";
static const char expected_group[] = "the name or number of a group of this machine";

// getpwnam(3): there is no one way to say "not found".
static const char *why_unknown(int error)
{
	bool absent = error == 0 || error == ENOENT || error == ESRCH || error == EBADF ||
	              error == EPERM;
	return absent ? "there is none on this machine" : strerror(error);
}

static void unknown(struct reader *reader, const struct config_text *name, const char *what,
        int error, const char *expected)
{
	reader_problem(reader, name->mark, "found %s, a %s that cannot be found: %s; expected %s",
	        value_quote(name->text).text, what, why_unknown(error), expected);
}

static const struct passwd *find_user(const struct config_text *name, uint64_t *number)
{
	errno = 0;
	return str_to_u64(name->text, NUMBER_MAX, number) ? getpwuid((uid_t)*number)
	                                                  : getpwnam(name->text.at);
}

// False after a problem. *group is the user's own, where it has one.
static bool resolve_user(struct reader *reader, struct config_run_as *run_as, bool *has_group)
{
	uint64_t number = NUMBER_MAX + UINT64_C(1);
	const struct passwd *found = find_user(&run_as->user, &number);
	*has_group = found != NULL;
	if (!found && number > NUMBER_MAX) {
		unknown(reader, &run_as->user, "user", errno, expected_user);
		return false;
	}
	run_as->uid = found ? found->pw_uid : (uid_t)number;
	run_as->gid = found ? found->pw_gid : 0;
	if (run_as->uid != 0)
		return true;
	reader_problem(reader, run_as->user.mark,
	        "found %s, which gives up nothing; expected %s, or run_as left out",
	        value_quote(run_as->user.text).text, expected_user);
	return false;
}

static void resolve_group(struct reader *reader, struct config_run_as *run_as)
{
	uint64_t number;
	if (str_to_u64(run_as->group.text, NUMBER_MAX, &number)) {
		run_as->gid = (gid_t)number;
		return;
	}
	errno = 0;
	const struct group *found = getgrnam(run_as->group.text.at);
	if (found)
		run_as->gid = found->gr_gid;
	else
		unknown(reader, &run_as->group, "group", errno, expected_group);
}

static void check_run_as(struct reader *reader, const struct tree *node, void *base)
{
	struct config_run_as *run_as = base;
	bool has_group = true;
	if (reader->offline)
		return;
	reader_enter(reader, "user");
	bool known = run_as->user.text.len && resolve_user(reader, run_as, &has_group);
	reader_leave(reader);
	reader_enter(reader, "group");
	if (run_as->group.text.len)
		resolve_group(reader, run_as);
	else if (known && !has_group && !tree_get(node, "group"))
		reader_problem(reader, node->mark,
		        "is missing: user %s is a number without an entry, so its group is not "
		        "known; expected %s",
		        value_quote(run_as->user.text).text, expected_group);
	reader_leave(reader);
}

static const struct schema_key run_as_keys[] = {
        {"user", .reload = RELOAD_RESTART, .presence = PRESENCE_REQUIRED, TYPE(type_name),
                AT(config_run_as, user),
                DOC("Its name or number. After that the gateway reads and writes what this user "
                    "may; what a reload or a rotation needs and it may not have is told at the "
                    "start.")},
        {"group", .reload = RELOAD_RESTART, .presence = PRESENCE_OPTIONAL, TYPE(type_name),
                AT(config_run_as, group),
                DOC("Its name or number; the user's own when not given. No other group is kept.")},
};

const struct schema_object schema_run_as = {
        DOC("The user and group that the process becomes after it has bound its sockets and opened "
            "its logs; it must be started as root for it."),
        .size = sizeof(struct config_run_as), KEYS(run_as_keys), .check = check_run_as};

static void spread(const struct config_tls *tls, struct str key, void *run_as)
{
	(void)key;
	for (size_t i = 0; i < tls->certificate_count; i++)
		tls->certificates[i].reader = run_as;
}

// Keys are loaded while the process still is root: they are held against whom it will be.
void schema_run_as_spread(struct config *config)
{
	if (!config->run_as.user.text.len)
		return;
	config_each_tls(config, spread, &config->run_as);
}
