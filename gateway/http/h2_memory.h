// What nghttp2 allocates through. Each session holds a buffer for the largest frame, 16 KiB, which
// nghttp2_session_mem_send fills and whose bytes the codec takes at once: between two calls nothing
// in a server's counts. (A client's holds the preface from the start on.) So the server sessions of
// a thread that shares have one, which stays in the processor's cache, and an idle connection holds
// none. Others, and a second large block of a session (the continuation of a head), have their own,
// whose pages cost nothing until they are written to. All else are spare blocks (base/spare.h). A
// session's memory is freed by the session's thread.
#ifndef GATEWAY_HTTP_H2_MEMORY_H
#define GATEWAY_HTTP_H2_MEMORY_H

#include <nghttp2/nghttp2.h>
#include <stdbool.h>

// From here on the server sessions of this thread share, until none of them is left.
void h2_memory_share(void);
void h2_memory_part(void);

// For one session, with which `own_frame` lives: false at first for one that may share.
nghttp2_mem h2_memory(bool *own_frame);

#endif
