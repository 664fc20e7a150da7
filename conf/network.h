// Networks as a config writes them: `10.0.0.0/8`, `fd00::/8`, one address alone, or `unix` for
// peers on a unix socket. Pure; any thread.
#ifndef CONF_NETWORK_H
#define CONF_NETWORK_H

#include "base/check.h"
#include "conf/config.h"

// False with what is wrong in *why, which continues "found X, ": a constant text.
MUST_USE bool network_parse(struct str text, struct config_network *network, const char **why);
// An IPv4 address is the same in IPv6's clothes (RFC 4291, 2.5.5.2).
bool network_has(const struct config_network *network, const struct sockaddr_storage *peer);

#endif
