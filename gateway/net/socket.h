// What the kernel knows of a connected socket that libuv does not tell. Asks only; changes nothing.
// Any thread that owns the handle.
#ifndef GATEWAY_NET_SOCKET_H
#define GATEWAY_NET_SOCKET_H

#include <stdbool.h>
#include <uv.h>

enum { SOCKET_ADDRESS_SIZE = 64 };

// A socket of both families has clients of IPv4 at addresses of IPv6 (RFC 4291, 2.5.5.2): makes the
// address the one under which everybody else knows them.
void socket_unmap(struct sockaddr_storage *address);
// Who is at the other end, unmapped; AF_UNSPEC where nobody can say any more.
void socket_peer(const uv_handle_t *handle, struct sockaddr_storage *peer);
// And at this one.
void socket_own(const uv_handle_t *handle, struct sockaddr_storage *own);
// "127.0.0.1", "::1" or "unix"; and "127.0.0.1:51512", "[::1]:80" or "unix".
void socket_host_text(const struct sockaddr_storage *address, char text[SOCKET_ADDRESS_SIZE]);
void socket_address_text(const struct sockaddr_storage *address, char text[SOCKET_ADDRESS_SIZE]);
void socket_peer_text(const uv_handle_t *handle, char text[SOCKET_ADDRESS_SIZE]);

// After UV_EOF: did the peer end in good order? libuv (1.44, uv__stream_io) takes a hang-up behind
// the last bytes for an orderly end without reading on; a reset then shows in the socket's error.
bool socket_ended_orderly(const uv_handle_t *handle);

#endif
