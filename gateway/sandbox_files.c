#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "gateway/sandbox.h"

// Rights that younger kernels than these headers know.
#define RIGHT_TRUNCATE (UINT64_C(1) << 14)
#define RIGHT_IOCTL_DEVICE (UINT64_C(1) << 15)
#define RIGHTS_FIRST ((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1)

#define MAY_READ ((uint64_t)(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR))
#define MAY_LOG                                                                                    \
	(MAY_READ | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG | RIGHT_TRUNCATE)
#define MAY_LISTEN ((uint64_t)(LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REMOVE_FILE))

enum { LINKS_MAX = 40 };  // as many as the kernel follows

// What resolving names and users reads, what libc loads for it (nsswitch.conf), and where the
// kernel tells the process of itself and of its memory.
static const char *const system_files[] = {"/etc/hosts", "/etc/resolv.conf", "/usr/lib/x",
        "/usr/lib64/x", "/lib/x", "/lib64/x", "/proc/self/x", "/sys/fs/cgroup/x"};

bool sandbox_files_closed;

struct fence {
	int ruleset;
	uint64_t handled;
};

static void allow(const struct fence *fence, const char *directory, uint64_t rights)
{
	int descriptor = open(directory, O_PATH | O_CLOEXEC);
	if (descriptor < 0)
		return;  // not there: whoever opens something in it says so
	const struct landlock_path_beneath_attr rule = {
	        .allowed_access = rights & fence->handled, .parent_fd = descriptor};
	if (syscall(SYS_landlock_add_rule, fence->ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) <
	        0)
		log_event(LOG_WARN, "what a rule is wanted for stays outside the sandbox",
		        "path=\"%s\" error=\"%s\"", directory, strerror(errno));
	close(descriptor);
}

// The directory of `path`, as far as `end`.
static void directory_of(const char *path, size_t end, char directory[PATH_MAX])
{
	const char *slash = memrchr(path, '/', end);
	size_t len = slash && slash != path ? (size_t)(slash - path) : 1;
	snprintf(directory, PATH_MAX, "%.*s", (int)len, slash ? path : ".");
}

static bool leads_beneath(const char *link, const char *directory)
{
	char target[PATH_MAX], top[PATH_MAX];
	if (!realpath(link, target) || !realpath(directory, top))
		return false;
	size_t len = strlen(top);
	return strncmp(target, top, len) == 0 && target[len] == '/';
}

// The end of the first part of `path` that is a symlink; 0 when none is.
static size_t first_link(const char *path)
{
	char part[PATH_MAX], target[1];
	size_t len = strlen(path);
	for (size_t end = 0; end < len;) {
		end += 1 + strcspn(path + end + 1, "/");
		snprintf(part, sizeof(part), "%.*s", (int)end, path);
		if (readlink(part, target, sizeof(target)) >= 0)
			return end;
	}
	return 0;
}

// Puts what the link leads to in its place. False when it does not fit.
static bool follow(char path[PATH_MAX], size_t end, const char *directory)
{
	char link[PATH_MAX], target[PATH_MAX], followed[PATH_MAX];
	snprintf(link, sizeof(link), "%.*s", (int)end, path);
	ssize_t len = readlink(link, target, sizeof(target) - 1);
	if (len < 0)
		return false;
	target[len] = '\0';
	int whole = snprintf(followed, sizeof(followed), "%s%s%s%s",
	        target[0] == '/' ? "" : directory, target[0] == '/' ? "" : "/", target, path + end);
	if (whole >= PATH_MAX)
		return false;
	memcpy(path, followed, (size_t)whole + 1);
	return true;
}

// Every directory that may hold the file, also after it was replaced: the one named, the one it
// really lies in, and on the way those in which a link leads to something beside itself (`current
// -> 2024-06`), for it will lead to something else there.
static void allow_file(const struct fence *fence, const char *path, uint64_t rights)
{
	char way[PATH_MAX], directory[PATH_MAX], link[PATH_MAX];
	size_t end;
	if (!*path || strlen(path) >= sizeof(way))
		return;
	strcpy(way, path);
	directory_of(way, strlen(way), directory);
	allow(fence, directory, rights);
	for (int links = 0; links < LINKS_MAX && (end = first_link(way)); links++) {
		directory_of(way, end, directory);
		snprintf(link, sizeof(link), "%.*s", (int)end, way);
		if (leads_beneath(link, directory))
			allow(fence, directory, rights);
		if (!follow(way, end, directory))
			break;
	}
	directory_of(way, strlen(way), directory);
	allow(fence, directory, rights);
}

static void allow_text(const struct fence *fence, struct str path, uint64_t rights)
{
	if (path.len)
		allow_file(fence, path.at, rights);
}

static void allow_tls(const struct config_tls *tls, struct str key, void *to)
{
	(void)key;
	const struct fence *fence = to;
	for (size_t i = 0; i < tls->certificate_count; i++) {
		allow_text(fence, tls->certificates[i].certificate_chain.text, MAY_READ);
		allow_text(fence, tls->certificates[i].private_key.text, MAY_READ);
	}
	for (size_t i = 0; i < tls->session_ticket_keys.count; i++)
		allow_text(fence, tls->session_ticket_keys.items[i].text, MAY_READ);
	allow_text(fence, tls->trusted_ca.text, MAY_READ);
	allow_text(fence, tls->crl.text, MAY_READ);
}

static void allow_socket(const struct fence *fence, const struct config_address *address)
{
	if (address->kind == ADDRESS_UNIX)
		allow_file(fence, ((const struct sockaddr_un *)&address->socket)->sun_path,
		        MAY_LISTEN);
}

static void allow_log(const struct fence *fence, const struct config_output *output)
{
	if (output->kind == OUTPUT_FILE)
		allow_file(fence, output->path.at, MAY_LOG);
}

static void allow_all(struct fence *fence, const struct config *config, const char *config_path)
{
	for (size_t i = 0; i < ARRAY_LEN(system_files); i++)
		allow_file(fence, system_files[i], MAY_READ);
	allow(fence, "/dev/null", LANDLOCK_ACCESS_FS_READ_FILE);  // libuv's spare descriptor
	// c-ares numbers its queries by it, or else by rand(3), which anybody can do likewise.
	allow(fence, "/dev/urandom", LANDLOCK_ACCESS_FS_READ_FILE);
	allow_text(fence, str_from(config_path), MAY_READ);
	config_each_tls(config, allow_tls, fence);
	for (size_t i = 0; i < config->listener_count; i++)
		allow_socket(fence, &config->listeners[i].address);
	allow_socket(fence, &config->admin);
	allow_text(fence, config->tracing.trusted_ca.text, MAY_READ);
	allow_log(fence, &config->audit);
	allow_log(fence, &config->access_log);
}

// All that this kernel can refuse: what is not handled stays open.
static uint64_t handled_by(long abi)
{
	uint64_t rights = RIGHTS_FIRST;
	if (abi >= 2)
		rights |= LANDLOCK_ACCESS_FS_REFER;
	if (abi >= 3)
		rights |= RIGHT_TRUNCATE;
	if (abi >= 5)
		rights |= RIGHT_IOCTL_DEVICE;
	return rights;
}

static bool close_fence(uint64_t handled, const struct config *config, const char *config_path)
{
	const struct landlock_ruleset_attr attributes = {.handled_access_fs = handled};
	struct fence fence = {.handled = handled};
	fence.ruleset = (int)syscall(
	        SYS_landlock_create_ruleset, &attributes, sizeof(attributes.handled_access_fs), 0);
	if (fence.ruleset < 0)
		return false;
	allow_all(&fence, config, config_path);
	bool closed = syscall(SYS_landlock_restrict_self, fence.ruleset, 0) == 0;
	int error = errno;
	close(fence.ruleset);
	errno = error;
	return closed;
}

void sandbox_close_files(const struct config *config, const char *config_path)
{
	if (config->sandbox == SANDBOX_OFF || sandbox_unfit()) {
		log_event(LOG_INFO, "sandbox off", "why=\"%s\"",
		        sandbox_unfit() ? sandbox_unfit() : "the configuration says so");
		return;
	}
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	sandbox_files_closed = abi >= 1 && close_fence(handled_by(abi), config, config_path);
	if (!sandbox_files_closed)
		log_event(LOG_WARN, "sandbox: directories stay open, this kernel has no Landlock",
		        "error=\"%s\"", strerror(errno));
	else
		log_event(LOG_INFO, "sandbox: directories closed", "landlock_abi=%ld", abi);
}
