#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "gateway/memory.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

static void it_looks_the_sooner_the_nearer_the_ceiling(void **state)
{
	(void)state;
	const struct {
		uint64_t resident_bytes, ceiling_bytes;
		int64_t rest_ms;
	} rows[] = {
	        {10 * MIB, 0, MEMORY_REST_MS},
	        {10 * MIB, 1024 * 1024 * GIB, MEMORY_REST_MS},
	        {10 * MIB, GIB + 10 * MIB, MEMORY_REST_MS},
	        {10 * MIB, GIB / 2 + 10 * MIB, MEMORY_REST_MS / 2},
	        {GIB, GIB + GIB / 8, MEMORY_REST_MS / 8},
	        {GIB, GIB + 16 * MIB, MEMORY_LOOK_MS},
	        {GIB, GIB, MEMORY_LOOK_MS},
	        {GIB, 16 * MIB, MEMORY_LOOK_MS},
	        {UINT64_MAX / 4, 16 * MIB, MEMORY_LOOK_MS},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct memory memory = {.resident_bytes = rows[i].resident_bytes};
		assert_int_equal(memory_rest_ns(&memory, rows[i].ceiling_bytes),
		        rows[i].rest_ms * NS_PER_MS);
	}
}

static void levels_follow_what_the_kernel_says(void **state)
{
	(void)state;
	struct memory memory;
	memory_init(&memory);
	memory_look(&memory, 0, 0);
	uint64_t own = memory.resident_bytes;
	assert_in_range(own, 1, GIB);
	const struct {
		uint64_t ceiling_bytes;
		enum memory_level level;
	} rows[] = {{0, MEMORY_ROOM}, {own * 4, MEMORY_ROOM}, {own / 4, MEMORY_GONE},
	        {own * 4, MEMORY_ROOM}, {0, MEMORY_ROOM}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		memory_look(&memory, rows[i].ceiling_bytes, 1);
		assert_int_equal(memory_level(&memory), rows[i].level);
	}
	assert_int_equal(memory_level(NULL), MEMORY_ROOM);
	memory_fini(&memory);
}

// Where /proc cannot be read nothing is refused for it.
static void who_cannot_look_has_room(void **state)
{
	(void)state;
	struct memory memory;
	memory_init(&memory);
	memory_fini(&memory);
	memory.statm = -1;
	memory_look(&memory, 1, 0);
	assert_int_equal(memory_level(&memory), MEMORY_ROOM);
	memory_fini(&memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(it_looks_the_sooner_the_nearer_the_ceiling),
	        cmocka_unit_test(levels_follow_what_the_kernel_says),
	        cmocka_unit_test(who_cannot_look_has_room),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
