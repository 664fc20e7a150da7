#include "gateway/privilege.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"

static void forbid_dumps(void)
{
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		log_event(LOG_WARN, "core dumps cannot be forbidden", "error=\"%s\"",
		        strerror(errno));
}

void privilege_raise_descriptor_limit(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

void privilege_harden(void)
{
	const struct rlimit none = {0, 0};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		log_event(LOG_WARN, "new privileges cannot be forbidden", "error=\"%s\"",
		        strerror(errno));
	forbid_dumps();
	setrlimit(RLIMIT_CORE, &none);
	privilege_raise_descriptor_limit();
}

static bool is_wanted(const struct config *config)
{
	return config->run_as.user.text.len > 0;
}

// Never a file that is there: it may be somebody's, led to by a link.
static bool make_log(const struct config_run_as *run_as, const struct config_output *output)
{
	if (output->kind != OUTPUT_FILE)
		return true;
	int file = open(output->path.at, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (file < 0)
		return true;  // it is there, or opening it will say why it cannot be
	bool given = fchown(file, run_as->uid, run_as->gid) == 0;
	int error = errno;
	close(file);
	errno = error;
	return given;
}

bool privilege_make_logs(const struct config *config, struct config_problems *problems)
{
	const struct config_output *outputs[] = {&config->audit, &config->access_log};
	static const char *const keys[] = {"audit.path", "access_log.path"};
	for (size_t i = 0; is_wanted(config) && i < ARRAY_LEN(outputs); i++) {
		if (make_log(&config->run_as, outputs[i]))
			continue;
		config_problem_add(problems, (struct config_mark){0}, str_from(keys[i]),
		        "%.*s cannot be given to the user of run_as: %s", STR_FMT(outputs[i]->path),
		        strerror(errno));
		return false;
	}
	return true;
}

static bool is_already(const struct config_run_as *run_as)
{
	uid_t real, effective, saved;
	gid_t real_group, effective_group, saved_group;
	return getresuid(&real, &effective, &saved) == 0 &&
	       getresgid(&real_group, &effective_group, &saved_group) == 0 && real == run_as->uid &&
	       effective == run_as->uid && saved == run_as->uid && real_group == run_as->gid &&
	       effective_group == run_as->gid && saved_group == run_as->gid;
}

// Groups first: the user may not change them any more. libc does it in every thread.
static bool become(const struct config_run_as *run_as)
{
	return setgroups(0, NULL) == 0 && setresgid(run_as->gid, run_as->gid, run_as->gid) == 0 &&
	       setresuid(run_as->uid, run_as->uid, run_as->uid) == 0;
}

static bool can_return(void)
{
	return setresuid((uid_t)-1, 0, (uid_t)-1) == 0 || setresuid(0, 0, 0) == 0 ||
	       setgroups(0, NULL) == 0;
}

static void review_file(struct str path)
{
	if (path.len && faccessat(AT_FDCWD, path.at, R_OK, AT_EACCESS) < 0)
		log_event(LOG_WARN,
		        "the user of run_as may not read this file: reloads will be refused",
		        "file=\"%.*s\" error=\"%s\"", STR_FMT(path), strerror(errno));
}

static void review_log(const struct config_output *output)
{
	if (output->kind != OUTPUT_FILE)
		return;
	if (faccessat(AT_FDCWD, output->path.at, R_OK | W_OK, AT_EACCESS) < 0)
		log_event(LOG_WARN,
		        "the user of run_as may not open this log again: it goes on in the old "
		        "file until a restart",
		        "path=\"%.*s\" error=\"%s\"", STR_FMT(output->path), strerror(errno));
}

static void review_tls(const struct config_tls *tls, struct str key, void *unused)
{
	(void)key, (void)unused;
	for (size_t i = 0; i < tls->certificate_count; i++) {
		review_file(tls->certificates[i].certificate_chain.text);
		review_file(tls->certificates[i].private_key.text);
	}
	for (size_t i = 0; i < tls->session_ticket_keys.count; i++)
		review_file(tls->session_ticket_keys.items[i].text);
	review_file(tls->trusted_ca.text);
	review_file(tls->crl.text);
}

static void review(const struct config *config, const char *config_path)
{
	config_each_tls(config, review_tls, NULL);
	review_file(config->tracing.trusted_ca.text);
	review_file(str_from(config_path));
	review_log(&config->audit);
	review_log(&config->access_log);
}

bool privilege_drop(const struct config *config, const char *config_path)
{
	const struct config_run_as *run_as = &config->run_as;
	if (!is_wanted(config))
		return true;
	if (!is_already(run_as) && !become(run_as)) {
		log_event(LOG_ERROR,
		        "cannot become the user of run_as, which needs a start as root",
		        "user=%.*s error=\"%s\"", STR_FMT(run_as->user.text), strerror(errno));
		return false;
	}
	if (!is_already(run_as) || can_return()) {
		log_event(LOG_ERROR, "run_as can be undone, which must not be", "user=%.*s",
		        STR_FMT(run_as->user.text));
		return false;
	}
	forbid_dumps();  // a new user brings dumps back
	log_event(LOG_INFO, "root is given up", "user=%.*s uid=%u gid=%u",
	        STR_FMT(run_as->user.text), (unsigned)run_as->uid, (unsigned)run_as->gid);
	review(config, config_path);
	return true;
}
