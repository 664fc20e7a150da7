#include "tests/gateway/sandbox_deeds.h"

#include <linux/landlock.h>
#include <sys/socket.h>
#include <sys/syscall.h>

// Which files a closed sandbox reaches.

static void close_files(const struct config *config)
{
	sandbox_close_files(config, in_scratch("conf/tollgate.yaml"));
}

static int read_file(const char *path)
{
	return ended(open(path, O_RDONLY | O_CLOEXEC));
}

static int read_a_certificate(void)
{
	return read_file(in_scratch("certs/current/gateway.pem"));
}

static int read_a_certificate_after_the_directory_was_swapped(void)
{
	return read_file(in_scratch("certs/2025/gateway.pem"));
}

static int read_through_a_link(void)
{
	return read_file(in_scratch("papers/ca.pem"));
}

static int read_beside_what_a_link_led_to(void)
{
	return read_file(in_scratch("elsewhere/gateway.pem"));
}

static int read_the_configuration(void)
{
	return read_file(in_scratch("conf/tollgate.yaml"));
}

static int read_the_resolvers_files(void)
{
	return read_file("/etc/hosts");
}

static int read_its_own_memory_use(void)
{
	return read_file("/proc/self/statm");
}

static int read_null(void)
{
	return read_file("/dev/null");
}

static int read_what_nobody_can_know(void)
{
	return read_file("/dev/urandom");
}

static int read_homes(void)
{
	return read_file("/home");
}

static int read_what_nobody_named(void)
{
	return read_file(in_scratch("unnamed/secret"));
}

static int read_a_program(void)
{
	return read_file("/bin/true");
}

static int write_path(const char *path)
{
	return ended(open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600));
}

static int append_to_the_log(void)
{
	return write_path(in_scratch("logs/audit.jsonl"));
}

static int make_the_log_anew(void)
{
	return write_path(in_scratch("logs/new.jsonl"));
}

static int write_a_certificate(void)
{
	return write_path(in_scratch("certs/current/gateway.pem"));
}

static int make_a_file_beside_certificates(void)
{
	return write_path(in_scratch("certs/new.pem"));
}

static int make_a_file_elsewhere(void)
{
	return write_path("/tmp/tollgate-sandbox-escaped");
}

static int remove_a_log(void)
{
	return ended(unlink(in_scratch("logs/audit.jsonl")));
}

static int bind_at(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return ended(bind(descriptor, (const struct sockaddr *)&address, sizeof(address)));
}

static int make_and_remove_the_socket(void)
{
	const char *path = in_scratch("sockets/admin");
	int error = bind_at(path);
	return error ? error : ended(unlink(path));
}

static int make_a_socket_among_logs(void)
{
	return bind_at(in_scratch("logs/socket"));
}

static const struct deed reaches[] = {
        {"a certificate", read_a_certificate, DONE},
        {"a certificate in the directory that `current` leads to next",
                read_a_certificate_after_the_directory_was_swapped, DONE},
        {"a CA that a link leads to", read_through_a_link, DONE},
        {"what lies beside it", read_beside_what_a_link_led_to, DONE},
        {"the configuration", read_the_configuration, DONE},
        {"the resolver's files", read_the_resolvers_files, DONE},
        {"its own memory use", read_its_own_memory_use, DONE},
        {"/dev/null", read_null, DONE},
        {"what nobody can know", read_what_nobody_can_know, DONE},
        {"the audit log", append_to_the_log, DONE},
        {"a new log beside it", make_the_log_anew, DONE},
        {"its socket", make_and_remove_the_socket, DONE},
        {"somebody's home", read_homes, EACCES},
        {"what nobody named", read_what_nobody_named, EACCES},
        {"a program", read_a_program, EACCES},
        {"running a program", run_a_program, EACCES},
        {"writing a certificate", write_a_certificate, EACCES},
        {"a new file among certificates", make_a_file_beside_certificates, EACCES},
        {"a new file elsewhere", make_a_file_elsewhere, EACCES},
        {"removing a log", remove_a_log, EACCES},
        {"a socket among logs", make_a_socket_among_logs, EACCES},
};

static void only_the_directories_of_its_files_are_reached(void **state)
{
	(void)state;
	do_each(reaches, ARRAY_LEN(reaches), close_files);
}

// A kernel without Landlock, or a build that closes nothing: everything is reached as before.
static const struct deed open_reaches[] = {
        {"somebody's home", read_homes, DONE},
        {"a program", read_a_program, DONE},
        {"running a program", run_a_program, DONE},
};

static void without_it_every_directory_is_reached(void **state)
{
	(void)state;
	do_each(open_reaches, ARRAY_LEN(open_reaches), close_files);
}

static void close_nothing(const struct config *config)
{
	struct config off = *config;
	off.sandbox = SANDBOX_OFF;
	close_files(&off);
}

static void off_closes_no_directory(void **state)
{
	(void)state;
	do_each(open_reaches, ARRAY_LEN(open_reaches), close_nothing);
}

static bool can_close(void)
{
	return !sandbox_unfit() &&
	       syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) > 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        can_close() ? (struct CMUnitTest)cmocka_unit_test(
	                              only_the_directories_of_its_files_are_reached)
	                    : (struct CMUnitTest)cmocka_unit_test(
	                              without_it_every_directory_is_reached),
	        cmocka_unit_test(off_closes_no_directory),
	};
	return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
