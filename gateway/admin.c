#include "gateway/admin.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "conf/address.h"
#include "gateway/admin_caller.h"
#include "gateway/net/listen.h"

static void bury(struct grave *grave)
{
	free(CONTAINER_OF(grave, struct admin, grave));
}

static void die_if_last(struct admin *admin)
{
	if (admin->listener_closed && admin->connection_count == 0)
		turn_mark_dead(admin->turn, &admin->grave);
}

struct tls_context *admin_tls(const struct admin *admin)
{
	return admin->hooks.tls ? admin->hooks.tls(admin->gate.gateway) : NULL;
}

static bool asks_for_nothing(const struct admin_connection *connection)
{
	int64_t idle_ns = connection->admin->turn->now_ns - connection->since_ns;
	return !connection->stream && !connection->link.closing &&
	       !link_pending(&connection->link) && idle_ns > ADMIN_MOMENT_S * (int64_t)NS_PER_S;
}

static bool is_open(const struct admin_connection *connection)
{
	return !connection->link.closing;
}

static struct admin_connection *first_that(
        const struct admin *admin, bool (*goes)(const struct admin_connection *connection))
{
	LIST_EACH (&admin->connections, node) {
		struct admin_connection *connection = LIST_ITEM(
		        node, struct admin_connection, node);
		if (goes(connection))
			return connection;
	}
	return NULL;
}

// Nobody may hold all the places, or a probe would wait for theirs. Who has shown no good
// certificate where one is asked for goes first, then who has no answer coming, then anybody: the
// one who was not answered for longest.
static void make_room(struct admin *admin)
{
	struct admin_connection *chosen = first_that(admin, admin_caller_is_stranger);
	if (!chosen)
		chosen = first_that(admin, asks_for_nothing);
	if (!chosen)
		chosen = first_that(admin, is_open);
	if (!chosen)
		return;  // all are on their way
	admin_caller_left(chosen, LINK_BROKEN);
	link_close(&chosen->link);
}

static void on_knock(struct door *door, int descriptor)
{
	struct admin *admin = door->owner;
	if (admin->connection_count + 1 >= ADMIN_CONNECTIONS_MAX)
		make_room(admin);
	admin_connection_accept(admin, descriptor);
	door_hold(door, admin->connection_count >= ADMIN_CONNECTIONS_MAX);
}

void admin_connection_gone(struct admin *admin)
{
	admin->connection_count--;
	if (admin->closing)
		die_if_last(admin);
	else
		door_hold(&admin->door, admin->connection_count >= ADMIN_CONNECTIONS_MAX);
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

static bool start_listening(
        struct admin *admin, const struct config_address *address, int inherited, const char **why)
{
	int socket = inherited;
	if (inherited < 0 && !listen_open(address, 1, false, &socket, why))
		return false;
	int result = admin->gate.unix_socket ? restrict_file(admin, address) : 0;
	if (result < 0) {
		*why = uv_strerror(result);
		close(socket);
		return false;
	}
	door_open(&admin->door, admin->turn, socket);
	return true;
}

static void on_door_closed(struct door *door)
{
	struct admin *admin = door->owner;
	admin->listener_closed = true;
	die_if_last(admin);
}

struct admin *admin_open(struct turn *turn, const struct config_address *address, int inherited,
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
	admin->door.owner = admin;
	admin->door.knock = on_knock;
	admin->door.closed = on_door_closed;
	const char *why;
	if (!start_listening(admin, address, inherited, &why)) {
		config_problem_add(problems, address->mark, STR("admin.address"),
		        "cannot listen on %.*s (%s), expected an address of this machine that is "
		        "free",
		        STR_FMT(address->text), why);
		remove_file(admin);
		free(admin);
		return NULL;
	}
	bool tls = admin_tls(admin) != NULL;
	log_event(LOG_INFO, "admin listener open", "address=%.*s tls=%s", STR_FMT(address->text),
	        tls ? "true" : "false");
	if (!tls && !address_is_local(address))
		log_event(LOG_WARN,
		        "whoever reaches the admin address may look, reload and drain: it has "
		        "neither TLS nor a password; give admin.tls or a loopback address",
		        "address=%.*s", STR_FMT(address->text));
	return admin;
}

int admin_socket(const struct admin *admin)
{
	return admin->door.socket;
}

void admin_give_way(struct admin *admin)
{
	free(admin->socket_path);
	admin->socket_path = NULL;
	admin_close(admin);
}

void admin_renew(struct admin *admin)
{
	const struct tls_context *now = admin_tls(admin);
	LIST_EACH (&admin->connections, node) {
		struct admin_connection *connection = LIST_ITEM(
		        node, struct admin_connection, node);
		if (connection->tls != now)
			admin_connection_leave(connection);
	}
}

void admin_close(struct admin *admin)
{
	if (admin->closing)
		return;
	admin->closing = true;
	door_shut(&admin->door);
	remove_file(admin);
	LIST_EACH (&admin->connections, node)
		admin_connection_drain(LIST_ITEM(node, struct admin_connection, node));
}
