// Addresses as a config writes them: `127.0.0.1:8443`, `[::]:8443`, `unix:/path`, and where allowed
// `name:port`. Resolving a name may block: while loading only, never on a worker. Everything made
// lives in the caller's arena.
#ifndef CONF_ADDRESS_H
#define CONF_ADDRESS_H

#include "base/arena.h"
#include "base/check.h"
#include "conf/config.h"

enum { ADDRESS_SILENCE_MS = 1000 };  // an answer that there is no address comes sooner

#define ADDRESS_EXAMPLES "127.0.0.1:8443, [::1]:8443 or unix:/path"
#define ADDRESS_NAME_EXAMPLES "127.0.0.1:50051, [::1]:50051, localhost:50051 or unix:/path"

// A numeric address or a unix socket, whose path is made absolute with `directory`. False with what
// is wrong in *why, which continues "found X, ": a constant text.
MUST_USE bool address_parse(struct str text, struct str directory, struct arena *arena,
        struct config_address *address, const char **why);

// The same, and names too: all IPv4 addresses of a name, or all IPv6 ones where it has no other.
// Asks the servers of `dns`, or where it names none the system's resolver. `_grpc._tcp.users.test`
// is a service (RFC 2782): the servers that its SRV records name, with their ports and weights; of
// those DNS is asked in any case. `dns` NULL: nobody is asked, and a name has one address,
// which is `unknown`.
MUST_USE bool address_resolve(struct str text, struct str directory, const struct config_dns *dns,
        struct arena *arena, struct config_address **addresses, size_t *count, const char **why);
// The same for whoever cannot wait: where DNS is silent the system's resolver, which has no
// deadline (LOOKUP_DEADLINE_S), is not asked.
MUST_USE bool address_resolve_briefly(struct str text, struct str directory,
        const struct config_dns *dns, struct arena *arena, struct config_address **addresses,
        size_t *count, const char **why);

// Whether it is a name or a service, so that address_resolve asks somebody.
bool address_is_looked_up(struct str text);

// `localhost` of `localhost:50051`, an IPv6 host without its brackets; empty for a unix socket.
struct str address_host(const struct config_address *address);

bool address_is_service(const struct config_address *address);  // one of its servers
uint16_t address_port(const struct config_address *address);    // of ADDRESS_INET

// Whether the text is such a host: a name, or an IP address without brackets.
bool address_is_host(struct str text);

// An IP address as one writes it, without brackets: its 4 or 16 bytes, by family.
MUST_USE bool address_numeric(struct str text, int family, void *bytes);

// Called before each name is looked up, which may take some time; NULL: nobody wants to know.
extern void (*address_before_lookup)(void);

bool address_equal(const struct config_address *a, const struct config_address *b);
// `wide` is every address of this machine, and `narrow` has its port.
bool address_takes(const struct config_address *wide, const struct config_address *narrow);
// Reachable from this machine alone.
bool address_is_local(const struct config_address *address);

#endif
