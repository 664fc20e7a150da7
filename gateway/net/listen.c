#include "gateway/net/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/denied.h"

enum { BACKLOG = 1024 };

static int bound_socket(const struct config_address *address, bool shared)
{
	const int on = 1;
	int descriptor = socket(
	        address->socket.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (descriptor < 0)
		return -1;
	if (address->socket.ss_family != AF_UNIX)
		setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (shared)
		setsockopt(descriptor, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	if (bind(descriptor, (const struct sockaddr *)&address->socket, address->socket_len) == 0)
		return descriptor;
	int error = errno;
	close(descriptor);
	errno = error;
	return -1;
}

// A socket file nobody answers on is left over from a process that died.
static void remove_stale(const struct config_address *address)
{
	const struct sockaddr_un *path = (const struct sockaddr_un *)&address->socket;
	struct stat file;
	// Connecting to what is no socket is refused too; and whoever listens with a full queue
	// must not make us wait.
	if (lstat(path->sun_path, &file) < 0 || !S_ISSOCK(file.st_mode))
		return;
	int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (probe < 0)
		return;
	if (connect(probe, (const struct sockaddr *)&address->socket, address->socket_len) < 0 &&
	        errno == ECONNREFUSED)
		unlink(path->sun_path);
	close(probe);
}

// Of those that were opened; what went wrong stays in errno.
static bool give_up(int sockets[], size_t count)
{
	int error = errno;
	for (size_t i = 0; i < count; i++) {
		close(sockets[i]);
		sockets[i] = -1;
	}
	errno = error;
	return false;
}

static bool open_unix(const struct config_address *address, size_t count, int sockets[])
{
	remove_stale(address);
	sockets[0] = bound_socket(address, false);
	if (sockets[0] < 0)
		return false;
	if (listen(sockets[0], BACKLOG) < 0)
		return give_up(sockets, 1);
	for (size_t i = 1; i < count; i++) {
		// Unix sockets know no SO_REUSEPORT: all accept from one.
		sockets[i] = fcntl(sockets[0], F_DUPFD_CLOEXEC, 0);
		if (sockets[i] < 0)
			return give_up(sockets, i);
	}
	return true;
}

// Without SO_REUSEPORT: with it, a second gateway would silently share the first one's address.
static bool is_free(const struct config_address *address)
{
	int probe = bound_socket(address, false);
	if (probe >= 0)
		close(probe);
	return probe >= 0;
}

static bool open_inet(
        const struct config_address *address, size_t count, bool beside, int sockets[])
{
	if (!beside && !is_free(address))
		return false;
	for (size_t i = 0; i < count; i++) {
		sockets[i] = bound_socket(address, true);
		if (sockets[i] < 0)
			return give_up(sockets, i);
		if (listen(sockets[i], BACKLOG) < 0)
			return give_up(sockets, i + 1);
	}
	return true;
}

// A system error alone would send whoever reads it to `chmod`.
static const char *why_not(const struct config_address *address, int error)
{
	if (error != EACCES)
		return strerror(error);
	if (address->kind != ADDRESS_UNIX)
		return "Permission denied: a port below 1024 is root's, or wants "
		       "CAP_NET_BIND_SERVICE";
	return denied_words(((const struct sockaddr_un *)&address->socket)->sun_path, W_OK, error);
}

bool listen_open(const struct config_address *address, size_t count, bool beside, int sockets[],
        const char **why)
{
	bool good = address->kind == ADDRESS_UNIX ? open_unix(address, count, sockets)
	                                          : open_inet(address, count, beside, sockets);
	if (!good)
		*why = why_not(address, errno);
	return good;
}
