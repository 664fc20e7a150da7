// The process's memory against its ceiling (`memory` in the configuration): main looks at what the
// kernel says is resident, twenty times a second near the ceiling and once a second far below it,
// so that an idle gateway sleeps; workers read how it stands. Above the ceiling new requests and
// connections are refused as `overloaded`; a sixteenth above it new connections are shut out
// without a word. It frees nothing that is in use and stops nothing under way: what streams may
// still take is bounded by their windows, and by what replay.h keeps. Owned by the gateway.
#ifndef GATEWAY_MEMORY_H
#define GATEWAY_MEMORY_H

#include <stdatomic.h>
#include <stdint.h>

enum memory_level { MEMORY_ROOM, MEMORY_SHORT, MEMORY_GONE };

enum { MEMORY_LOOK_MS = 50, MEMORY_REST_MS = 1000 };

// Nobody fills memory faster in a second: each connection costs a handshake, each body its copies.
#define MEMORY_GROWTH_BYTES (UINT64_C(1) << 30)

#define MEMORY_DETAIL "the process is at its memory ceiling"

struct memory {
	int statm;
	uint64_t page_bytes, resident_bytes;  // main's
	int64_t trimmed_ns;
	_Atomic(enum memory_level) level;
};

void memory_init(struct memory *memory);
void memory_look(struct memory *memory, uint64_t ceiling_bytes, int64_t now_ns);  // 0: no ceiling
// How long the look may be the last one: within MEMORY_LOOK_MS and MEMORY_REST_MS.
int64_t memory_rest_ns(const struct memory *memory, uint64_t ceiling_bytes);
void memory_fini(struct memory *memory);

// Any thread; NULL is room.
static inline enum memory_level memory_level(const struct memory *memory)
{
	return memory ? atomic_load_explicit(&memory->level, memory_order_relaxed) : MEMORY_ROOM;
}

#endif
