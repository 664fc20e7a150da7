// Invariants that stay on in release builds, and the attributes every file uses.
// CHECK states what must hold whatever a peer sends; it never tests input. Breaking one aborts with
// the place and the words, because a gateway that goes on after a broken invariant is a hole. Any
// thread.
#ifndef BASE_CHECK_H
#define BASE_CHECK_H

#include <stddef.h>
#include <stdnoreturn.h>

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF(format_at, first_at) __attribute__((format(printf, format_at, first_at)))

#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))
#define CONTAINER_OF(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (__builtin_expect(!(condition), 0))                                             \
			check_failed(__FILE__, __LINE__, #condition);                              \
	} while (0)

noreturn void check_failed(const char *file, int line, const char *condition);

// What malloc gave, or the process ends.
MUST_USE void *check_memory(void *memory);
// Memory that is there or the process ends: caps make exhaustion unreachable from the network
// (DESIGN 3.6). All are freed with free().
MUST_USE void *must_alloc(size_t size);                  // zeroed
MUST_USE void *must_realloc(void *old, size_t size);     // not zeroed beyond the old size
MUST_USE char *must_copy(const char *text, size_t len);  // NUL-terminated

#endif
