#include "gateway/memory.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"

enum { TRIM_EVERY_MS = 250 };

void memory_init(struct memory *memory)
{
	*memory = (struct memory){.page_bytes = (uint64_t)sysconf(_SC_PAGESIZE)};
	// Kept open: a sandbox may close the door to /proc.
	memory->statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
}

// "size resident shared ...", in pages (proc(5)).
static uint64_t resident(const struct memory *memory)
{
	char text[128], *rest;
	ssize_t len = memory->statm < 0 ? -1 : pread(memory->statm, text, sizeof(text) - 1, 0);
	if (len <= 0)
		return 0;
	text[len] = '\0';
	strtoull(text, &rest, 10);
	return strtoull(rest, NULL, 10) * memory->page_bytes;
}

static enum memory_level judge(const struct memory *memory, uint64_t ceiling_bytes)
{
	uint64_t bytes = memory->resident_bytes;
	if (bytes > ceiling_bytes + ceiling_bytes / 16)
		return MEMORY_GONE;
	bool was_short = memory_level(memory) != MEMORY_ROOM;
	// Once short, it takes more than one closed connection to open the door again.
	return bytes > ceiling_bytes - (was_short ? ceiling_bytes / 16 : 0) ? MEMORY_SHORT
	                                                                    : MEMORY_ROOM;
}

void memory_look(struct memory *memory, uint64_t ceiling_bytes, int64_t now_ns)
{
	enum memory_level before = memory_level(memory), level = MEMORY_ROOM;
	memory->resident_bytes = resident(memory);
	if (ceiling_bytes)
		level = judge(memory, ceiling_bytes);
	// What was freed stays with malloc until it is told to give it back.
	if (level != MEMORY_ROOM &&
	        now_ns - memory->trimmed_ns > (int64_t)TRIM_EVERY_MS * NS_PER_MS) {
		malloc_trim(0);
		memory->trimmed_ns = now_ns;
		memory->resident_bytes = resident(memory);
		level = judge(memory, ceiling_bytes);
	}
	atomic_store_explicit(&memory->level, level, memory_order_relaxed);
	if ((before == MEMORY_ROOM) != (level == MEMORY_ROOM))
		log_event(level == MEMORY_ROOM ? LOG_INFO : LOG_WARN,
		        level == MEMORY_ROOM ? "memory is below its ceiling again"
		                             : "memory is at its ceiling, newcomers are refused",
		        "resident_bytes=%llu ceiling_bytes=%llu",
		        (unsigned long long)memory->resident_bytes,
		        (unsigned long long)ceiling_bytes);
}

int64_t memory_rest_ns(const struct memory *memory, uint64_t ceiling_bytes)
{
	const int64_t least_ns = (int64_t)MEMORY_LOOK_MS * NS_PER_MS,
	              most_ns = (int64_t)MEMORY_REST_MS * NS_PER_MS;
	uint64_t used = memory->resident_bytes;
	if (!ceiling_bytes || used + MEMORY_GROWTH_BYTES <= ceiling_bytes)
		return most_ns;
	uint64_t room = used < ceiling_bytes ? ceiling_bytes - used : 0;
	int64_t rest_ns = (int64_t)(room * NS_PER_S / MEMORY_GROWTH_BYTES);
	return rest_ns > least_ns ? rest_ns : least_ns;
}

void memory_fini(struct memory *memory)
{
	if (memory->statm >= 0)
		close(memory->statm);
}
