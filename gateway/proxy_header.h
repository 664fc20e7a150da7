// The header that a load balancer puts before a connection's own bytes, to say where that really
// comes from: PROXY protocol, versions 1 and 2 (haproxy's doc/proxy-protocol.txt). Pure: bytes in,
// an address out, or the other way round; whoever feeds it keeps what is not whole yet. It believes
// every word: whether the sender may say so is the caller's business. Any thread.
#ifndef GATEWAY_PROXY_HEADER_H
#define GATEWAY_PROXY_HEADER_H

#include <sys/socket.h>

#include "base/buffer.h"

// A header that is not whole within so many bytes is broken: version 1 has at most 107, version 2's
// addresses 52; the rest is for its extensions, which are skipped.
enum { PROXY_HEADER_MAX = 2048 };

struct proxy_header {
	size_t len;                      // of the header, which is to be skipped
	bool told;                       // false: the balancer speaks for itself (LOCAL, UNKNOWN)
	struct sockaddr_storage client;  // AF_INET or AF_INET6, where it is told
};

enum proxy_verdict { PROXY_MORE, PROXY_WHOLE, PROXY_BROKEN };

// `bytes` are all there are so far, at least one. *why is set where it is broken: a constant.
enum proxy_verdict proxy_header_read(
        struct str bytes, struct proxy_header *header, const char **why);

// Appends the header of a connection made for `client`, who reached us at `gateway`; of nobody's
// (LOCAL, UNKNOWN) where either is no internet address. `version` is 1 or 2.
void proxy_header_write(int version, const struct sockaddr_storage *client,
        const struct sockaddr_storage *gateway, struct buffer *out);

#endif
