// Is this a build whose memory or threads a sanitizer watches? It needs more system calls, and sees
// the most where every block comes from malloc and goes back to it at once. Known to the compiler.
#ifndef BASE_WATCHED_H
#define BASE_WATCHED_H

#include <stdbool.h>

#ifdef __has_feature  // clang's
#define WATCHED_BY(sanitizer) __has_feature(sanitizer)
#else
#define WATCHED_BY(sanitizer) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) ||                               \
        WATCHED_BY(address_sanitizer) || WATCHED_BY(thread_sanitizer) ||                           \
        WATCHED_BY(memory_sanitizer)
enum { WATCHED = true };
#else
enum { WATCHED = false };
#endif

#endif
