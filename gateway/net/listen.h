// Listening sockets, opened before any worker runs so that an address in use is an error at start
// and not a log line. Every worker gets a socket of its own (SO_REUSEPORT): the kernel spreads
// connections, nothing is handed between threads.
#ifndef GATEWAY_NET_LISTEN_H
#define GATEWAY_NET_LISTEN_H

#include "conf/config.h"

// Opens `count` bound, listening, non-blocking sockets into sockets[]. False with the system's
// words in *why, or better ones; then none is left open. A stale unix socket file is removed, a
// live one is an address in use. So is a port that another process listens on; `beside`: one that
// may be ours.
MUST_USE bool listen_open(const struct config_address *address, size_t count, bool beside,
        int sockets[], const char **why);

#endif
