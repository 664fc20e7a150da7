// For the tests of the sandbox: a scratch directory with what a configuration names and what it
// does not, and deeds, each done in a child of its own, which ends with its errno or is killed. One
// thread; for tests.
#ifndef TESTS_GATEWAY_SANDBOX_DEEDS_H
#define TESTS_GATEWAY_SANDBOX_DEEDS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "gateway/privilege.h"
#include "gateway/sandbox.h"

static char scratch[] = "/tmp/tollgate-sandbox-XXXXXX";

static inline const char *in_scratch(const char *name)
{
	static char paths[8][256];
	static unsigned next;
	char *path = paths[next++ % ARRAY_LEN(paths)];
	snprintf(path, sizeof(paths[0]), "%s/%s", scratch, name);
	return path;
}

static inline void write_file(const char *name)
{
	int file = open(in_scratch(name), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	CHECK(file >= 0 && write(file, "x", 1) == 1);
	close(file);
}

// What the configuration below names, and what it does not.
static inline int make_scratch(void **state)
{
	(void)state;
	static const char *const directories[] = {"", "certs", "certs/2024", "certs/2025", "papers",
	        "elsewhere", "conf", "logs", "sockets", "unnamed"};
	CHECK(mkdtemp(scratch));
	for (size_t i = 1; i < ARRAY_LEN(directories); i++)
		CHECK(mkdir(in_scratch(directories[i]), 0700) == 0);
	static const char *const files[] = {"certs/2024/gateway.pem", "certs/2025/gateway.pem",
	        "elsewhere/gateway.pem", "elsewhere/ca.pem", "logs/audit.jsonl",
	        "conf/tollgate.yaml", "unnamed/secret"};
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		write_file(files[i]);
	CHECK(symlink("2024", in_scratch("certs/current")) == 0);
	CHECK(symlink("../elsewhere/ca.pem", in_scratch("papers/ca.pem")) == 0);
	return 0;
}

static inline int remove_scratch(void **state)
{
	(void)state;
	char command[64];
	snprintf(command, sizeof(command), "rm -r %s", scratch);
	return system(command);
}

// Of the scratch directory: certificates by way of `current`, a CA by way of a link, logs, a
// socket.
static inline void configure(struct config *config, struct config_listener *listener,
        struct config_certificate *certificate, const char *ca)
{
	*certificate = (struct config_certificate){
	        {str_from(in_scratch("certs/current/gateway.pem")), {1, 1}},
	        {str_from(in_scratch("certs/current/gateway.key")), {1, 1}}, NULL};
	*listener = (struct config_listener){.tls = {.certificates = certificate,
	                                             .certificate_count = 1,
	                                             .trusted_ca = {str_from(ca), {1, 1}}}};
	*config = (struct config){.listeners = listener, .listener_count = 1};
	config->audit = (struct config_output){
	        OUTPUT_FILE, str_from(in_scratch("logs/audit.jsonl"))};
	struct sockaddr_un *socket = (struct sockaddr_un *)&config->admin.socket;
	config->admin.kind = ADDRESS_UNIX;
	config->admin.socket_len = sizeof(*socket);
	socket->sun_family = AF_UNIX;
	snprintf(socket->sun_path, sizeof(socket->sun_path), "%s", in_scratch("sockets/admin"));
}

enum { DONE = 0, KILLED = 1000 };  // else an errno, or KILLED + a signal

static inline int status_of(pid_t child)
{
	int status;
	CHECK(waitpid(child, &status, 0) == child);
	return WIFSIGNALED(status) ? KILLED + WTERMSIG(status) : WEXITSTATUS(status);
}

struct deed {
	const char *name;
	int (*act)(void);  // 0 or an errno
	int ends;
};

static inline int ended(long result)
{
	return result < 0 ? errno : 0;
}

static inline void do_each(
        const struct deed *deeds, size_t count, void (*close_it)(const struct config *))
{
	struct config config;
	struct config_listener listener;
	struct config_certificate certificate;
	configure(&config, &listener, &certificate, in_scratch("papers/ca.pem"));
	for (size_t i = 0; i < count; i++) {
		pid_t child = fork();
		CHECK(child >= 0);
		if (child == 0) {
			privilege_harden();
			close_it(&config);
			_exit(deeds[i].act());
		}
		int found = status_of(child);
		if (found != deeds[i].ends)
			fail_msg("%s: ended with %d (%s), expected %d", deeds[i].name, found,
			        found < KILLED ? strerror(found) : "killed", deeds[i].ends);
	}
}

static inline int run_a_program(void)
{
	char *const arguments[] = {"true", NULL};
	return ended(execv("/bin/true", arguments));
}

#endif
