// The admin listener's inside: the listener (admin.c) and its connections (admin_connection.c).
// A connection is a link, an HTTP/1 server codec and the one answer under way. It has a whole
// deadline for each request, from the end of the answer before to the end of its own, so that
// nobody holds one by dripping bytes. The main thread.
#ifndef GATEWAY_ADMIN_CONNECTION_H
#define GATEWAY_ADMIN_CONNECTION_H

#include <sys/types.h>

#include "gateway/admin_answer.h"
#include "gateway/date_field.h"
#include "gateway/http/codec.h"
#include "gateway/net/door.h"
#include "gateway/net/link.h"

enum {
	ADMIN_CONNECTIONS_MAX = 64,  // one more takes the place of another
	ADMIN_DEADLINE_S = 10,
	ADMIN_MOMENT_S = 1,  // in which a caller may well begin to ask
	ADMIN_CLOSE_S = 1,   // for answers under way when the listener is closed
};

struct admin {
	struct turn *turn;
	struct admin_hooks hooks;
	struct admin_gate gate;
	struct door door;
	char *socket_path;  // of a unix listener
	ino_t socket_inode;
	struct list connections;
	size_t connection_count;
	struct date_field date;
	int64_t deadline_ns;
	struct grave grave;
	bool closing;
	bool listener_closed;
};

struct admin_connection {
	struct link link;
	struct admin *admin;
	struct codec *codec;
	struct stream *stream;  // being answered, or NULL
	struct body body;       // of that answer
	struct timer deadline;
	int64_t since_ns;  // when it came, or was answered last
	struct list node;  // in admin->connections, behind those that were not answered for longer
	struct grave grave;
	struct tls_context *tls;  // under which it began; its session's; NULL: plain
	struct arena arena;       // of `identity`
	struct policy_identity identity;
	bool judged;  // a request came, or its refusal has its record
	char address[64];
	bool peer_ended;  // it will send nothing more, but what it asked for is still to be
	                  // answered
};

// NULL: plain HTTP.
struct tls_context *admin_tls(const struct admin *admin);

void admin_connection_accept(struct admin *admin, int descriptor);
void admin_connection_leave(
        struct admin_connection *connection);  // the answer under way in its time, then close
void admin_connection_drain(
        struct admin_connection *connection);     // the answer under way, then close
void admin_connection_gone(struct admin *admin);  // for admin_connection.c to tell: one less

#endif
