#include "tests/gateway/sandbox_deeds.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

// Which system calls a closed sandbox refuses, lets through, or kills for.

static int trace(void)
{
	return ended(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
}

static int become_root(void)
{
	return ended(setresuid(0, 0, 0));
}

static int load_bpf(void)
{
	return ended(syscall(SYS_bpf, 0, NULL, 0));
}

static int ask_keyring(void)
{
	return ended(syscall(SYS_keyctl, 0, 0, 0, 0, 0));
}

static int leave_namespace(void)
{
	return ended(syscall(SYS_unshare, 0));
}

static int mount_something(void)
{
	return ended(syscall(SYS_mount, "none", "/mnt", "tmpfs", 0, NULL));
}

static int begin_process(void)
{
	pid_t child = fork();
	if (child == 0)
		_exit(0);
	return ended(child);
}

static void *idle(void *argument)
{
	return argument;
}

static int begin_thread(void)
{
	pthread_t thread;
	int error = pthread_create(&thread, NULL, idle, NULL);
	return error ? error : pthread_join(thread, NULL);
}

static int listen_anew(void)
{
	int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return descriptor < 0 ? errno : ended(listen(descriptor, 1));
}

static int open_raw_socket(void)
{
	return ended(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
}

static int make_code(void)
{
	void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return memory == MAP_FAILED ? errno : ended(mprotect(memory, 4096, PROT_READ | PROT_EXEC));
}

static int map_code_to_write(void)
{
	void *memory = mmap(
	        NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return memory == MAP_FAILED ? errno : 0;
}

static int allow_dumps(void)
{
	return ended(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
}

static int signal_another(void)
{
	return ended(syscall(SYS_tgkill, getppid(), getppid(), 0));
}

static int lower_a_limit(void)
{
	const struct rlimit none = {0, 0};
	return ended(setrlimit(RLIMIT_NOFILE, &none));
}

static int rename_a_log(void)
{
	return ended(rename(in_scratch("logs/audit.jsonl"), in_scratch("logs/gone.jsonl")));
}

static int break_an_invariant(void)
{
	abort();
}

static int read_limits(void)
{
	struct rlimit limit;
	return ended(getrlimit(RLIMIT_NOFILE, &limit));
}

static int draw_random_numbers(void)
{
	char bytes[16];
	return ended(getrandom(bytes, sizeof(bytes), 0));
}

static const struct deed calls[] = {
        {"running a program", run_a_program, KILLED + SIGSYS},
        {"tracing", trace, KILLED + SIGSYS},
        {"becoming root", become_root, KILLED + SIGSYS},
        {"loading bpf", load_bpf, KILLED + SIGSYS},
        {"asking the keyring", ask_keyring, KILLED + SIGSYS},
        {"leaving the namespace", leave_namespace, KILLED + SIGSYS},
        {"mounting", mount_something, KILLED + SIGSYS},
        {"a new process", begin_process, EPERM},
        {"a new thread", begin_thread, EPERM},
        {"a new listener", listen_anew, DONE},
        {"a raw socket", open_raw_socket, EPERM},
        {"memory that becomes code", make_code, EPERM},
        {"memory that is written and code", map_code_to_write, EPERM},
        {"allowing dumps again", allow_dumps, EPERM},
        {"a signal to another process", signal_another, EPERM},
        {"setting a limit", lower_a_limit, EPERM},
        {"renaming a file", rename_a_log, EPERM},
        {"abort", break_an_invariant, KILLED + SIGABRT},
        {"reading a limit", read_limits, DONE},
        {"random numbers", draw_random_numbers, DONE},
};

static void what_is_not_on_the_list_fails_and_what_only_an_intruder_asks_kills(void **state)
{
	(void)state;
	do_each(calls, ARRAY_LEN(calls), sandbox_close_calls);
}

static int gate[2];
static pthread_t from_before;

static void *run_a_program_later(void *argument)
{
	char byte;
	CHECK(read(gate[0], &byte, 1) == 1);
	_exit(run_a_program());
	return argument;
}

static int run_a_program_in_a_thread_from_before(void)
{
	CHECK(write(gate[1], "x", 1) == 1);
	return pthread_join(from_before, NULL);  // it ends the process, one way or the other
}

static void close_calls_with_a_thread_running(const struct config *config)
{
	CHECK(pipe2(gate, O_CLOEXEC) == 0);
	CHECK(pthread_create(&from_before, NULL, run_a_program_later, NULL) == 0);
	sandbox_close_calls(config);
}

static void threads_that_are_there_are_closed_in_too(void **state)
{
	(void)state;
	static const struct deed deed = {"a program run by another thread",
	        run_a_program_in_a_thread_from_before, KILLED + SIGSYS};
	do_each(&deed, 1, close_calls_with_a_thread_running);
}

static void close_both(const struct config *config)
{
	struct config off = *config;
	off.sandbox = SANDBOX_OFF;
	sandbox_close_files(&off, in_scratch("conf/tollgate.yaml"));
	sandbox_close_calls(&off);
}

static const struct deed open_deeds[] = {
        {"a listener", listen_anew, DONE},
        {"a new thread", begin_thread, DONE},
        {"running a program", run_a_program, DONE},
};

static void off_closes_nothing(void **state)
{
	(void)state;
	do_each(open_deeds, ARRAY_LEN(open_deeds), close_both);
}

static void close_unfit(const struct config *config)
{
	sandbox_close_files(config, in_scratch("conf/tollgate.yaml"));
	sandbox_close_calls(config);
}

static void a_build_with_sanitizers_closes_nothing_and_says_so(void **state)
{
	(void)state;
	assert_non_null(sandbox_unfit());
	do_each(open_deeds, ARRAY_LEN(open_deeds), close_unfit);
}

int main(void)
{
	const struct CMUnitTest fit[] = {
	        cmocka_unit_test(
	                what_is_not_on_the_list_fails_and_what_only_an_intruder_asks_kills),
	        cmocka_unit_test(threads_that_are_there_are_closed_in_too),
	        cmocka_unit_test(off_closes_nothing),
	};
	const struct CMUnitTest unfit[] = {
	        cmocka_unit_test(off_closes_nothing),
	        cmocka_unit_test(a_build_with_sanitizers_closes_nothing_and_says_so),
	};
	return sandbox_unfit() ? cmocka_run_group_tests(unfit, make_scratch, remove_scratch)
	                       : cmocka_run_group_tests(fit, make_scratch, remove_scratch);
}
