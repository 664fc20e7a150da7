// The few things of gRPC over HTTP/2 a gateway must read and write itself: timeouts, statuses,
// messages. Pure; any thread.
#ifndef GATEWAY_HTTP_GRPC_H
#define GATEWAY_HTTP_GRPC_H

#include <stdint.h>

#include "gateway/http/head.h"

enum grpc_status {
	GRPC_OK = 0,
	GRPC_UNKNOWN = 2,
	GRPC_DEADLINE_EXCEEDED = 4,
	GRPC_UNIMPLEMENTED = 12,
	GRPC_INTERNAL = 13,
	GRPC_UNAVAILABLE = 14,
};

// `grpc-timeout`: one to eight digits and a unit of H M S m u n. False when it is not that;
// saturates.
MUST_USE bool grpc_timeout_parse(struct str text, int64_t *timeout_ns);
struct str grpc_timeout_format(
        int64_t timeout_ns, struct arena *arena);  // rounded down, at least 1n

// Where in a body one message ends and the next begins: before each stand a byte of flags and four
// of its length (doc/PROTOCOL-HTTP2.md). Zeroed: between two.
struct grpc_scan {
	uint64_t left;    // bytes of the message, once its length is known
	uint32_t length;  // as far as it has come
	uint8_t prefix;   // bytes of the five that have come
};

static inline bool grpc_scan_between(const struct grpc_scan *scan)
{
	return scan->prefix == 0;
}

// Passes over the message that goes on or begins with these bytes; how many of them are its own.
size_t grpc_scan_message(struct grpc_scan *scan, struct str bytes);

// The status a gRPC client infers from an HTTP status (doc/http-grpc-status-mapping.md).
int grpc_status_of_http(int status);

// Percent-encodes what may not stand in grpc-message.
struct str grpc_message_encode(struct str message, struct arena *arena);
// An encoded one, with white space at its ends percent-encoded too: there HTTP has none.
struct str grpc_message_escape_ends(struct str encoded, struct arena *arena);

#endif
