// The admin listener: HTTP for probes, scrapes and people (CONTRACT section 5), on the main
// thread's loop; HTTPS with a client certificate from everybody where the configuration has
// `admin.tls`. It owns its connections and speaks through the same link and HTTP/1 codec as the
// data path, but knows the gateway only through its hooks. Nothing but a reload takes its time:
// that waits for DNS, and for workers to take what is new. Every connection and request has a
// deadline and a cap. A web page must not reach it through a visitor's browser: without TLS the
// Host has to be an address or localhost, and a POST that names another Origin is refused.
#ifndef GATEWAY_ADMIN_H
#define GATEWAY_ADMIN_H

#include "base/buffer.h"
#include "conf/config.h"
#include "gateway/audit.h"
#include "gateway/net/turn.h"
#include "policy/policy.h"
#include "tls/tls.h"

struct admin;

struct admin_hooks {
	bool (*ready)(void *gateway);
	void (*metrics)(void *gateway, struct buffer *out);             // Prometheus text
	void (*config)(void *gateway, struct buffer *out);              // YAML in force
	void (*certificates)(void *gateway, struct buffer *out);        // JSON
	void (*limits)(void *gateway, struct buffer *out);              // JSON
	void (*status)(void *gateway, struct buffer *out);              // JSON
	void (*audit)(void *gateway, size_t most, struct buffer *out);  // JSON, newest first
	bool (*reload)(void *gateway, struct buffer *out);  // false: refused, `out` says why
	void (*drain)(void *gateway);
	// What newcomers are held against, in force now and borrowed; NULL: plain HTTP. With it
	// callers are asked for their identity, at every request, and whoever is refused is told
	// of.
	struct tls_context *(*tls)(void *gateway);
	void (*identify)(void *gateway, const struct policy_peer *peer, struct arena *arena,
	        struct policy_identity *identity);
	void (*refused)(void *gateway, const struct audit_record *record);
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
// Another configuration is in force: who came under other certificates or trust has to come again,
// after the answer under way.
void admin_renew(struct admin *admin);
// Asynchronous: answers under way have a second to leave; frees itself when its last handle is
// closed.
void admin_close(struct admin *admin);

#endif
