// TLS towards the servers of a backend: how a connection to one begins, and what is told of those
// that end otherwise than open. A server proves who it is before a byte of a request leaves; who it
// has to be the configuration says. No state of its own. The worker's thread only.
#ifndef GATEWAY_BACKEND_TLS_H
#define GATEWAY_BACKEND_TLS_H

#include "gateway/net/link.h"
#include "gateway/worker.h"

// For a connection to that endpoint, to be handed to link_connect: its ClientHello is in the link's
// buffer. NULL: the backend is spoken to in clear text. The snapshot outlives the connection's
// handshake.
struct tls_session *backend_tls_begin(
        const struct snapshot *snapshot, size_t backend, size_t endpoint, struct link *link);

// What a request's URL says of it.
struct str backend_tls_scheme(const struct config_backend *backend);

// The link, which has TLS, is open: counted.
void backend_tls_opened(
        struct worker *worker, const struct snapshot_backend *labels, size_t endpoint);
// It ended within the handshake, or took too long for it, or LINK_TLS_FAILED: said in the log, and
// counted unless the server had been heard by then.
void backend_tls_failed(struct worker *worker, const struct snapshot_backend *labels,
        size_t endpoint, const struct link *link, bool heard);
// Whether the link ended in one of these ways.
bool backend_tls_is_failure(const struct link *link);
// How long the server's chain is still good, from now on; INT64_MAX: nobody knows of an end.
int64_t backend_tls_left_ns(const struct link *link);

#endif
