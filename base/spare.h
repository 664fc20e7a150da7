// Spare blocks of memory: what a thread freed is kept by size for whoever asks for as much next.
// A request, a stream or a TLS record takes the same few blocks as the one before, and malloc, made
// for every order of sizes and threads, would split and join them anew each time.
//
// A thread has spares between spare_open and spare_close; without, and in the builds that watch
// memory themselves, all goes straight to malloc and free. Every block is malloc's own: free() is
// right for one as well, and any thread may free what another took. What is kept is bounded; blocks
// are as they were left. Never fails by itself: NULL is malloc's.
#ifndef BASE_SPARE_H
#define BASE_SPARE_H

#include <stddef.h>

#include "base/check.h"

// Of one thread, in bytes; and what is too large to be kept: more than a buffer (base/buffer.h) of
// 128 KiB, which 64 KiB of body and their frames double to.
enum { SPARE_HELD_MAX = 2 << 20, SPARE_BLOCK_MAX = 132 << 10 };

void spare_open(void);
void spare_close(void);  // frees what is kept

MUST_USE void *spare_alloc(size_t size);
MUST_USE void *spare_realloc(void *old, size_t size);  // NULL: `old` stays
void spare_free(void *block);                          // NULL is nothing

// As in check.h: there, or the process ends.
MUST_USE void *must_spare(size_t size);  // zeroed
MUST_USE void *must_spare_again(void *old, size_t size);

#endif
