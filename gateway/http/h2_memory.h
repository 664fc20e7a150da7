// What nghttp2 allocates through. Each session holds a buffer for the largest frame, 16 KiB, of which
// a connection with small messages uses some hundred bytes: it gets pages of its own, and those
// never written to cost nothing. All else is malloc's. Any thread; a session's memory is freed by
// the session's thread.
#ifndef GATEWAY_HTTP_H2_MEMORY_H
#define GATEWAY_HTTP_H2_MEMORY_H

#include <nghttp2/nghttp2.h>

extern nghttp2_mem h2_memory;  // nghttp2 only reads it

#endif
