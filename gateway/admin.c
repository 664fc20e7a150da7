#include "gateway/admin.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/admin_connection.h"

enum { LISTEN_QUEUE = 128 };

static void bury(struct grave *grave)
{
	free(CONTAINER_OF(grave, struct admin, grave));
}

static void die_if_last(struct admin *admin)
{
	if (admin->listener_closed && admin->connection_count == 0)
		turn_mark_dead(admin->turn, &admin->grave);
}

static void accept_waiting(struct admin *admin)
{
	admin->waiting = admin->connection_count >= ADMIN_CONNECTIONS_MAX;
	if (!admin->waiting)
		admin_connection_accept(admin);
}

static void on_connection(uv_stream_t *stream, int status)
{
	struct admin *admin = stream->data;
	if (status < 0)
		return;  // it has gone again, or there are no descriptors: libuv has closed it
	accept_waiting(admin);
}

void admin_connection_gone(struct admin *admin)
{
	admin->connection_count--;
	if (admin->closing)
		die_if_last(admin);
	else if (admin->waiting)
		accept_waiting(admin);
}

// A socket file that a process left behind when it died, at which nobody listens any more.
static void remove_stale(const struct sockaddr_un *socket_address)
{
	struct stat file;
	if (lstat(socket_address->sun_path, &file) < 0 || !S_ISSOCK(file.st_mode))
		return;
	int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (probe < 0)
		return;
	const struct sockaddr *address = (const struct sockaddr *)socket_address;
	if (connect(probe, address, sizeof(*socket_address)) < 0 && errno == ECONNREFUSED)
		unlink(socket_address->sun_path);
	close(probe);
}

static int bind_unix(struct admin *admin, const struct config_address *address)
{
	const struct sockaddr_un *socket_address = (const struct sockaddr_un *)&address->socket;
	remove_stale(socket_address);
	int result = uv_pipe_bind(&admin->listener.pipe, socket_address->sun_path);
	// Whoever may write to the file may drain the gateway. Nobody can connect before it
	// listens.
	if (result == 0 && chmod(socket_address->sun_path, S_IRUSR | S_IWUSR) < 0)
		return uv_translate_sys_error(errno);
	return result;
}

static int start_listening(struct admin *admin, const struct config_address *address)
{
	int result;
	if (admin->gate.unix_socket)
		result = bind_unix(admin, address);
	else
		result = uv_tcp_bind(
		        &admin->listener.tcp, (const struct sockaddr *)&address->socket, 0);
	return result ? result : uv_listen(&admin->listener.stream, LISTEN_QUEUE, on_connection);
}

struct admin *admin_open(struct turn *turn, const struct config_address *address,
        const struct admin_hooks *hooks, void *gateway, struct config_problems *problems)
{
	CHECK(address->kind != ADDRESS_NONE);
	bool unix_socket = address->kind == ADDRESS_UNIX;
	struct admin *admin = must_alloc(sizeof(*admin));
	admin->turn = turn;
	admin->hooks = *hooks;
	admin->gate = (struct admin_gate){&admin->hooks, gateway, unix_socket};
	admin->deadline_ns = (int64_t)ADMIN_DEADLINE_S * NS_PER_S;
	admin->grave.bury = bury;
	list_init(&admin->connections);
	CHECK((unix_socket ? uv_pipe_init(&turn->loop, &admin->listener.pipe, 0)
	                   : uv_tcp_init(&turn->loop, &admin->listener.tcp)) == 0);
	admin->listener.any.data = admin;
	int result = start_listening(admin, address);
	if (result < 0) {
		config_problem_add(problems, address->mark, STR("admin.address"),
		        "cannot listen on %.*s (%s), expected an address of this machine that is "
		        "free",
		        STR_FMT(address->text), uv_strerror(result));
		admin_close(admin);
		return NULL;
	}
	log_event(LOG_INFO, "admin listener open", "address=%.*s", STR_FMT(address->text));
	return admin;
}

static void on_listener_closed(uv_handle_t *handle)
{
	struct admin *admin = handle->data;
	admin->listener_closed = true;
	die_if_last(admin);
}

void admin_close(struct admin *admin)
{
	if (admin->closing)
		return;
	admin->closing = true;
	uv_close(&admin->listener.any, on_listener_closed);
	LIST_EACH (&admin->connections, node)
		admin_connection_drain(LIST_ITEM(node, struct admin_connection, node));
}
