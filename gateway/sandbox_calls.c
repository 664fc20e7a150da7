#include <errno.h>
#include <net/if.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/watched.h"
#include "gateway/sandbox.h"

// What the loop, the TLS library, the logs, a reload and libc's resolver ask for. A name that this
// architecture does not have is passed over.
static const char *const allowed[] = {
        // sockets and the loop
        "read",
        "write",
        "readv",
        "writev",
        "recvfrom",
        "recvmsg",
        "recvmmsg",
        "sendto",
        "sendmsg",
        "sendmmsg",
        "accept",
        "accept4",
        "socketpair",
        "connect",
        "bind",
        "listen",
        "shutdown",
        "getsockname",
        "getpeername",
        "getsockopt",
        "setsockopt",
        "close",
        "epoll_create1",
        "epoll_ctl",
        "epoll_wait",
        "epoll_pwait",
        "poll",
        "ppoll",
        "eventfd2",
        "pipe2",
        "fcntl",
        // files: configuration, keys, logs, the unix socket of the admin listener
        "open",
        "openat",
        "stat",
        "lstat",
        "fstat",
        "newfstatat",
        "statx",
        "access",
        "faccessat",
        "faccessat2",
        "readlink",
        "readlinkat",
        "getcwd",
        "getdents64",
        "lseek",
        "pread64",
        "pwrite64",
        "ftruncate",
        "fsync",
        "fdatasync",
        "flock",
        "unlink",
        "unlinkat",
        // memory, threads that are there, time
        "munmap",
        "mremap",
        "madvise",
        "brk",
        "futex",
        "sched_yield",
        "sched_getaffinity",
        "rseq",
        "set_robust_list",
        "clock_gettime",
        "clock_getres",
        "clock_nanosleep",
        "nanosleep",
        "gettimeofday",
        "time",
        "getrandom",
        "restart_syscall",
        "exit",
        "exit_group",
        // signals, of itself alone
        "rt_sigaction",
        "rt_sigprocmask",
        "rt_sigreturn",
        "sigaltstack",
        // who and where it is
        "getpid",
        "gettid",
        "getuid",
        "geteuid",
        "getgid",
        "getegid",
        "getresuid",
        "getresgid",
        "getgroups",
        "getrusage",
        "getrlimit",
        "uname",
        "sysinfo",
};

// What may be asked for in one way only: (argument & mask) == value.
static const struct narrow {
	const char *name;
	unsigned argument;
	uint64_t mask, value;
} narrow[] = {
        {"socket", 0, UINT32_MAX, AF_UNIX},
        {"socket", 0, UINT32_MAX, AF_INET},
        {"socket", 0, UINT32_MAX, AF_INET6},
        {"socket", 0, UINT32_MAX, AF_NETLINK},  // getaddrinfo asks which families are up
        {"ioctl", 1, UINT32_MAX, FIONBIO},
        {"ioctl", 1, UINT32_MAX, FIONREAD},
        {"ioctl", 1, UINT32_MAX, FIOCLEX},
        {"ioctl", 1, UINT32_MAX, TCGETS},
        {"ioctl", 1, UINT32_MAX, SIOCGIFINDEX},  // a resolver at a link-local address
        // Memory is writable or executable, and never becomes executable; libraries are mapped so.
        {"mmap", 2, PROT_WRITE | PROT_EXEC, 0},
        {"mmap", 2, PROT_WRITE | PROT_EXEC, PROT_WRITE},
        {"mmap", 2, PROT_WRITE | PROT_EXEC, PROT_EXEC},
        {"mprotect", 2, PROT_EXEC, 0},
        {"prlimit64", 2, UINT64_MAX, 0},  // reading limits
        {"prctl", 0, UINT32_MAX, PR_SET_NAME},
};

// No bug of ours asks for these: whoever does is somebody else.
static const char *const deadly[] = {
        "execve",
        "execveat",
        "fork",
        "vfork",
        "ptrace",
        "process_vm_readv",
        "process_vm_writev",
        "process_madvise",
        "pidfd_getfd",
        "kcmp",
        "mount",
        "umount2",
        "move_mount",
        "open_tree",
        "fsopen",
        "fsconfig",
        "fsmount",
        "fspick",
        "mount_setattr",
        "pivot_root",
        "chroot",
        "unshare",
        "setns",
        "init_module",
        "finit_module",
        "delete_module",
        "kexec_load",
        "kexec_file_load",
        "reboot",
        "swapon",
        "swapoff",
        "bpf",
        "perf_event_open",
        "userfaultfd",
        "keyctl",
        "add_key",
        "request_key",
        "setuid",
        "setgid",
        "setreuid",
        "setregid",
        "setresuid",
        "setresgid",
        "setgroups",
        "capset",
        "acct",
        "quotactl",
        "settimeofday",
        "clock_settime",
        "adjtimex",
        "clock_adjtime",
        "iopl",
        "ioperm",
        "modify_ldt",
        "open_by_handle_at",
        "memfd_secret",
        "lookup_dcookie",
        "syslog",
        "vhangup",
        "nfsservctl",
        "uselib",
};

const char *sandbox_unfit(void)
{
	return WATCHED ? "built with sanitizers, whose run-time needs more" : NULL;
}

static int add_names(
        scmp_filter_ctx filter, uint32_t action, const char *const names[], size_t count)
{
	int result = 0;
	for (size_t i = 0; result == 0 && i < count; i++) {
		int number = seccomp_syscall_resolve_name(names[i]);
		if (number >= 0)
			result = seccomp_rule_add(filter, action, number, 0);
	}
	return result;
}

static int add_narrow(scmp_filter_ctx filter)
{
	int result = 0;
	for (size_t i = 0; result == 0 && i < ARRAY_LEN(narrow); i++) {
		const struct narrow *row = &narrow[i];
		int number = seccomp_syscall_resolve_name(row->name);
		if (number >= 0)
			result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 1,
			        SCMP_CMP64(
			                row->argument, SCMP_CMP_MASKED_EQ, row->mask, row->value));
	}
	// abort(3), so that a broken invariant is seen for what it is.
	if (result == 0)
		result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
		        SCMP_CMP64(0, SCMP_CMP_MASKED_EQ, UINT32_MAX, (uint64_t)getpid()));
	return result;
}

// For every thread, or it is no sandbox. The rest is welcome and not to be had everywhere: refusals
// told to the kernel's log, calls found by halving, and speculation left as it is, for nothing here
// runs code of strangers.
static int set_attributes(scmp_filter_ctx filter)
{
	(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_LOG, 1);
	(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_SSB, 1);
	int result = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	return result < 0 ? result : seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
}

static int close_calls(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	if (!filter)
		return -ENOSYS;
	int result = set_attributes(filter);
	if (result == 0)
		result = add_names(filter, SCMP_ACT_ALLOW, allowed, ARRAY_LEN(allowed));
	if (result == 0)
		result = add_names(filter, SCMP_ACT_KILL_PROCESS, deadly, ARRAY_LEN(deadly));
	if (result == 0)
		result = add_narrow(filter);
	if (result == 0)
		result = seccomp_load(filter);
	seccomp_release(filter);
	return result;
}

static bool calls_closed;

const char *sandbox_words(void)
{
	if (sandbox_files_closed)
		return calls_closed ? "directories and system calls" : "directories";
	return calls_closed ? "system calls" : "off";
}

void sandbox_close_calls(const struct config *config)
{
	if (config->sandbox == SANDBOX_OFF || sandbox_unfit())
		return;
	int result = close_calls();
	calls_closed = result >= 0;
	if (result < 0)
		log_event(LOG_WARN, "sandbox: system calls stay open", "error=\"%s\"",
		        strerror(-result));
	else
		log_event(LOG_INFO, "sandbox: system calls closed", "%s", "");
}
