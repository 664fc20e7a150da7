#include "gateway/admin.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/admin_connection.h"
#include "gateway/net/listen.h"

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

// Whoever may write to the file may drain the gateway.
static int restrict_file(struct admin *admin, const struct config_address *address)
{
	const char *path = ((const struct sockaddr_un *)&address->socket)->sun_path;
	struct stat file;
	if (chmod(path, S_IRUSR | S_IWUSR) < 0 || lstat(path, &file) < 0)
		return uv_translate_sys_error(errno);
	admin->socket_path = must_copy(path, strlen(path));
	admin->socket_inode = file.st_ino;
	return 0;
}

// Unless another process has put its own in our place meanwhile.
static void remove_file(struct admin *admin)
{
	struct stat file;
	if (admin->socket_path && lstat(admin->socket_path, &file) == 0 &&
	        file.st_ino == admin->socket_inode)
		unlink(admin->socket_path);
	free(admin->socket_path);
	admin->socket_path = NULL;
}

static int serve_socket(struct admin *admin, const struct config_address *address, int socket)
{
	bool unix_socket = admin->gate.unix_socket;
	int result = unix_socket ? uv_pipe_open(&admin->listener.pipe, socket)
	                         : uv_tcp_open(&admin->listener.tcp, socket);
	if (result < 0) {
		close(socket);
		return result;
	}
	if (unix_socket)
		result = restrict_file(admin, address);
	return result ? result : uv_listen(&admin->listener.stream, LISTEN_QUEUE, on_connection);
}

static bool start_listening(
        struct admin *admin, const struct config_address *address, const char **why)
{
	int socket;
	if (!listen_open(address, 1, &socket, why))
		return false;
	int result = serve_socket(admin, address, socket);
	if (result < 0)
		*why = uv_strerror(result);
	return result == 0;
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
	const char *why;
	if (!start_listening(admin, address, &why)) {
		config_problem_add(problems, address->mark, STR("admin.address"),
		        "cannot listen on %.*s (%s), expected an address of this machine that is "
		        "free",
		        STR_FMT(address->text), why);
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
	remove_file(admin);
	LIST_EACH (&admin->connections, node)
		admin_connection_drain(LIST_ITEM(node, struct admin_connection, node));
}
