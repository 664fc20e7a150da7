// Names of servers, asked of DNS through c-ares. Who loads a configuration waits for the answer
// (lookup_wait); the loop does not (gateway/names.h). Both are answered alike: all IPv4 addresses
// of a name, or all IPv6 ones where it has no other; of a service (RFC 2782) those of its servers,
// with their ports and weights; in the order of their bytes, each once. /etc/hosts is read first,
// as libc does. A channel is its opener's thread's.
#ifndef CONF_LOOKUP_H
#define CONF_LOOKUP_H

#include <ares.h>

#include "base/arena.h"
#include "base/check.h"
#include "conf/config.h"

enum { LOOKUP_SERVERS_MAX = 8, LOOKUP_DEADLINE_S = 5 };

// To the servers of `dns`, or where it names none those of /etc/resolv.conf. `watch` is told of its
// sockets; NULL: who opens it asks for them. NULL when resolv.conf cannot be read.
MUST_USE ares_channel lookup_open(
        const struct config_dns *dns, ares_sock_state_cb watch, void *argument);

struct lookup_answer {
	const char *why;                         // in words why there is no address; NULL: there is
	bool gone;                               // for there is none, as the servers say
	const struct config_address *addresses;  // without text, and but for services without port
	size_t count;
	int64_t ttl_s;  // 0: not said
};

// Called once, maybe before the question returns; what it is told is gone when it returns.
typedef void (*lookup_answered)(void *argument, const struct lookup_answer *answer);
void lookup_ask(ares_channel channel, struct str host, lookup_answered answered, void *argument);
void lookup_ask_service(
        ares_channel channel, struct str service, lookup_answered answered, void *argument);
// The answer that there is none.
struct lookup_answer lookup_none(int ares_status);

// Sorts them, leaves out what is repeated, and returns how many are left.
size_t lookup_order(struct config_address *addresses, size_t count);

// An address found becomes one of `name:port`.
void lookup_aim(struct config_address *address, uint16_t port, struct str text);

// Blocks up to LOOKUP_DEADLINE_S. NULL, or in words why there is no address.
MUST_USE const char *lookup_wait(const struct config_dns *dns, struct str name, bool service,
        struct arena *arena, struct config_address **addresses, size_t *count);

const char *lookup_library_version(void);  // of c-ares

#endif
