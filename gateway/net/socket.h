// What the kernel knows of a connected socket that libuv does not tell. Asks only; changes nothing.
// Any thread that owns the handle.
#ifndef GATEWAY_NET_SOCKET_H
#define GATEWAY_NET_SOCKET_H

#include <stdbool.h>
#include <uv.h>

enum { SOCKET_ADDRESS_SIZE = 64 };

// "127.0.0.1:51512", "[::1]:80" or "unix".
void socket_peer_text(const uv_handle_t *handle, char text[SOCKET_ADDRESS_SIZE]);

// After UV_EOF: did the peer end in good order? libuv (1.44, uv__stream_io) takes a hang-up behind
// the last bytes for an orderly end without reading on; a reset then shows in the socket's error.
bool socket_ended_orderly(const uv_handle_t *handle);

#endif
