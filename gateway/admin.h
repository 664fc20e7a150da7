// The admin listener: plain HTTP for probes, scrapes and people (CONTRACT section 5), on the main
// thread's loop. It owns its connections and speaks through the same link and HTTP/1 codec as the
// data path, but knows the gateway only through its hooks. It never blocks and never waits for a
// worker. Every connection and request has a deadline and a cap. A web page must not reach it
// through a visitor's browser: the Host has to be an address or localhost, and a POST that names
// another Origin is refused.
#ifndef GATEWAY_ADMIN_H
#define GATEWAY_ADMIN_H

#include "base/buffer.h"
#include "conf/config.h"
#include "gateway/net/turn.h"

struct admin;

struct admin_hooks {
	bool (*ready)(void *gateway);
	void (*metrics)(void *gateway, struct buffer *out);       // Prometheus text
	void (*config)(void *gateway, struct buffer *out);        // YAML in force
	void (*certificates)(void *gateway, struct buffer *out);  // JSON
	void (*limits)(void *gateway, struct buffer *out);        // JSON
	bool (*reload)(void *gateway, struct buffer *out);        // false: refused, `out` says why
	void (*drain)(void *gateway);
};

// Listens, or adds a problem and returns NULL; what it had opened by then closes in the next turn
// of the loop. A socket file at which nobody listens any more is replaced. The hooks are copied and
// may close the listener. `inherited`: a socket that listens there already, or -1.
MUST_USE struct admin *admin_open(struct turn *turn, const struct config_address *address,
        int inherited, const struct admin_hooks *hooks, void *gateway,
        struct config_problems *problems);
int admin_socket(const struct admin *admin);  // on which it listens; it stays admin's
// Another process answers there from now on: the file of a unix socket is its.
void admin_give_way(struct admin *admin);
// Asynchronous: answers under way have a second to leave; frees itself when its last handle is
// closed.
void admin_close(struct admin *admin);

#endif
