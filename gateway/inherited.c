#include "gateway/inherited.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "conf/address.h"

// The name systemd gives where the unit does not, and ours for what a predecessor hands over.
static const char *const no_names[] = {"unknown", "stored", "inherited"};

static char *name_of(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(no_names); i++)
		if (strcmp(name, no_names[i]) == 0)
			name = "";
	return must_copy(name, strlen(name));
}

static bool listens(int descriptor)
{
	return sd_is_socket(descriptor, AF_UNSPEC, SOCK_STREAM, 1) > 0;
}

void inherited_receive(struct inherited *inherited)
{
	char **names = NULL;
	int count = sd_listen_fds_with_names(1, &names);
	*inherited = (struct inherited){0};
	if (count <= 0)
		return;
	inherited->items = must_alloc((size_t)count * sizeof(*inherited->items));
	for (int i = 0; i < count; i++) {
		int descriptor = SD_LISTEN_FDS_START + i;
		if (listens(descriptor)) {
			fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK);
			inherited->items[inherited->count++] = (struct inherited_socket){
			        descriptor, name_of(names[i])};
		} else {
			log_event(LOG_WARN, "a descriptor that was handed over does not listen",
			        "name=\"%s\"", names[i]);
			close(descriptor);
		}
		free(names[i]);
	}
	free(names);
}

bool inherited_is_at(int descriptor, const struct config_address *address)
{
	struct config_address own = {.kind = address->kind, .socket_len = sizeof(own.socket)};
	if (getsockname(descriptor, (struct sockaddr *)&own.socket, &own.socket_len) < 0)
		return false;
	if (own.socket.ss_family != address->socket.ss_family)
		return false;
	// The kernel's length of a unix socket's address ends with its path.
	if (address->kind == ADDRESS_UNIX)
		return strcmp(((const struct sockaddr_un *)&own.socket)->sun_path,
		               ((const struct sockaddr_un *)&address->socket)->sun_path) == 0;
	return address_equal(&own, address);
}

size_t inherited_take(struct inherited *inherited, const struct config_address *address,
        struct str name, int sockets[])
{
	size_t taken = 0;
	for (size_t i = 0; i < inherited->count; i++) {
		struct inherited_socket *item = &inherited->items[i];
		bool named = name.len && str_eq(str_from(item->name), name);
		if (item->socket < 0)
			continue;
		bool at = inherited_is_at(item->socket, address);
		if (!named && !at)
			continue;
		if (!at)
			log_event(LOG_WARN,
			        "a socket that was handed over by name listens elsewhere than "
			        "configured",
			        "name=\"%s\" configured=%.*s", item->name, STR_FMT(address->text));
		sockets[taken++] = item->socket;
		item->socket = -1;
	}
	return taken;
}

void inherited_say_rest(const struct inherited *inherited)
{
	for (size_t i = 0; i < inherited->count; i++)
		if (inherited->items[i].socket >= 0)
			log_event(LOG_WARN,
			        "a socket that was handed over belongs to no listener, closed",
			        "name=\"%s\"", inherited->items[i].name);
}

void inherited_fini(struct inherited *inherited)
{
	for (size_t i = 0; i < inherited->count; i++) {
		if (inherited->items[i].socket >= 0)
			close(inherited->items[i].socket);
		free(inherited->items[i].name);
	}
	free(inherited->items);
	*inherited = (struct inherited){0};
}
