// The gateway's end.
#include "gateway/launcher.h"

#include <errno.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/auxv.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/log.h"
#include "gateway/launcher_channel.h"

extern char **environ;

static bool is_same_file(const char *a, const char *b)
{
	struct stat one, other;
	return stat(a, &one) == 0 && stat(b, &other) == 0 && one.st_dev == other.st_dev &&
	       one.st_ino == other.st_ino;
}

// The path by which it was started, which may lead through links that lead elsewhere by the time of
// an upgrade (`current/tollgate`); where that cannot be told, the file itself. Not /proc/self/exe,
// behind which valgrind would be found.
static bool find_self(char path[PATH_MAX])
{
	char file[PATH_MAX], directory[PATH_MAX] = "";
	const char *started = (const char *)getauxval(AT_EXECFN);
	ssize_t len = readlink("/proc/self/exe", file, sizeof(file) - 1);
	if (len <= 0)
		return false;
	file[len] = '\0';
	bool relative = started && *started != '/';
	if (relative && !getcwd(directory, sizeof(directory)))
		started = NULL;
	int size = snprintf(
	        path, PATH_MAX, "%s%s%s", directory, relative ? "/" : "", started ? started : "");
	if (!started || size >= PATH_MAX || !is_same_file(path, file))
		memcpy(path, file, (size_t)len + 1);
	return true;
}

// The program's path, then its arguments, each with its NUL.
static bool say_arguments(int channel, const char *path, char *const arguments[])
{
	struct buffer text = {0};
	buffer_append(&text, path, strlen(path) + 1);
	for (size_t i = 0; arguments[i]; i++)
		buffer_append(&text, arguments[i], strlen(arguments[i]) + 1);
	bool said = buffer_len(&text) <= CHANNEL_ARGUMENTS_MAX &&
	            send(channel, buffer_data(&text), buffer_len(&text), MSG_NOSIGNAL) ==
	                    (ssize_t)buffer_len(&text);
	buffer_fini(&text);
	return said;
}

static int spawn(const char *path, int channel)
{
	char *const words[] = {LAUNCHER_NAME, NULL};
	posix_spawn_file_actions_t actions;
	pid_t child;
	CHECK(posix_spawn_file_actions_init(&actions) == 0);
	CHECK(posix_spawn_file_actions_adddup2(&actions, channel, STDIN_FILENO) == 0);
	int error = posix_spawn(&child, path, &actions, NULL, words, environ);
	posix_spawn_file_actions_destroy(&actions);
	return error;
}

void launcher_begin(struct launcher *launcher, char *const arguments[])
{
	char path[PATH_MAX];
	int ends[2];
	launcher->channel = -1;
	int error = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0 ? errno : 0;
	if (!error) {
		error = find_self(path) ? spawn(path, ends[1]) : ENOENT;
		close(ends[1]);
		if (!error && say_arguments(ends[0], path, arguments))
			launcher->channel = ends[0];
		else
			close(ends[0]);
	}
	if (launcher->channel < 0)
		log_event(LOG_WARN, "no launcher: SIGUSR2 will not upgrade", "error=\"%s\"",
		        strerror(error ? error : E2BIG));
}

bool launcher_ask(const struct launcher *launcher, const int descriptors[], size_t count,
        size_t private_count)
{
	if (launcher->channel < 0 || count > LAUNCHER_DESCRIPTORS_MAX) {
		errno = launcher->channel < 0 ? ENOTCONN : EMFILE;
		return false;
	}
	for (size_t total = count; count;) {
		size_t some = count < CHANNEL_DESCRIPTORS_MAX ? count : CHANNEL_DESCRIPTORS_MAX;
		struct channel_packet packet = {
		        (uint32_t)total, (uint32_t)count, (uint32_t)private_count};
		if (!channel_send(launcher->channel, &packet, descriptors, some))
			return false;
		descriptors += some;
		count -= some;
	}
	return true;
}

void launcher_end(struct launcher *launcher)
{
	if (launcher->channel >= 0)
		close(launcher->channel);
	launcher->channel = -1;
}
