#include "base/spare.h"

#include <malloc.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/watched.h"

// Small sizes in the steps of glibc's malloc, so that nothing is lost by rounding; larger ones in
// steps that lose little. A block of class k has room_of(k) bytes, and fewer than the next class.
enum {
	SMALL_FIRST = 24,
	SMALL_STEP = 16,
	SMALL_CLASSES = 64,
	SMALL_MAX = SMALL_FIRST + (SMALL_CLASSES - 1) * SMALL_STEP,
	LARGE_STEP = 128,
	CLASSES = SMALL_CLASSES + (SPARE_BLOCK_MAX - SMALL_MAX) / LARGE_STEP,
};

struct spare {
	struct spare *next;
};

struct spares {
	size_t held, hand;
	struct spare *lists[CLASSES];
};

static _Thread_local struct spares *spares;

void spare_open(void)
{
	CHECK(!spares);
	if (!WATCHED)
		spares = must_alloc(sizeof(*spares));
}

static void empty(struct spare **list)
{
	for (struct spare *spare = *list, *next; spare; spare = next) {
		next = spare->next;
		free(spare);
	}
}

void spare_close(void)
{
	if (!spares)
		return;
	for (size_t i = 0; i < CLASSES; i++)
		empty(&spares->lists[i]);
	free(spares);
	spares = NULL;
}

static size_t room_of(size_t class)
{
	return class < SMALL_CLASSES ? SMALL_FIRST + class * SMALL_STEP
	                             : SMALL_MAX + (class - SMALL_CLASSES + 1) * LARGE_STEP;
}

// The first class whose every block has room for `size`.
static size_t class_for(size_t size)
{
	if (size <= SMALL_FIRST)
		return 0;
	if (size <= SMALL_MAX)
		return (size - SMALL_FIRST + SMALL_STEP - 1) / SMALL_STEP;
	return SMALL_CLASSES - 1 + (size - SMALL_MAX + LARGE_STEP - 1) / LARGE_STEP;
}

// The last class that a block with this much room can serve.
static size_t class_of(size_t room)
{
	return room < SMALL_MAX ? (room - SMALL_FIRST) / SMALL_STEP
	                        : SMALL_CLASSES - 1 + (room - SMALL_MAX) / LARGE_STEP;
}

void *spare_alloc(size_t size)
{
	size_t class = class_for(size);
	if (!spares || class >= CLASSES)
		return malloc(size ? size : 1);
	struct spare *first = spares->lists[class];
	if (!first)
		return malloc(room_of(class));  // so that it comes back to this list
	spares->lists[class] = first->next;
	spares->held -= room_of(class);
	return first;
}

// Other sizes than those that are asked for now may hold all the room there is: they give way.
static bool make_room(size_t room)
{
	enum { LOOKS = 8 };
	for (int i = 0; i < LOOKS && spares->held + room > SPARE_HELD_MAX; i++) {
		struct spare **list = &spares->lists[spares->hand], *first = *list;
		if (first) {
			*list = first->next;
			spares->held -= room_of(spares->hand);
			free(first);
		} else {
			spares->hand = (spares->hand + 1) % CLASSES;
		}
	}
	return spares->held + room <= SPARE_HELD_MAX;
}

void spare_free(void *block)
{
	size_t room = block && spares ? malloc_usable_size(block) : 0;
	size_t class = room < SMALL_FIRST ? CLASSES : class_of(room);
	if (class >= CLASSES || !make_room(room_of(class))) {
		free(block);
		return;
	}
	struct spare *spare = block, **list = &spares->lists[class];
	CHECK(spare != *list);  // freed twice
	spare->next = *list;
	*list = spare;
	spares->held += room_of(class);
}

void *spare_realloc(void *old, size_t size)
{
	if (!old)
		return spare_alloc(size);
	size_t room = malloc_usable_size(old);
	// A large block may grow or move without being copied.
	if (!spares || room >= SPARE_BLOCK_MAX || class_for(size) >= CLASSES)
		return realloc(old, size ? size : 1);
	if (size <= room && size >= room / 2)
		return old;
	void *block = spare_alloc(size);
	if (!block)
		return NULL;
	memcpy(block, old, size < room ? size : room);
	spare_free(old);
	return block;
}

void *must_spare(size_t size)
{
	return memset(check_memory(spare_alloc(size)), 0, size);
}

void *must_spare_again(void *old, size_t size)
{
	return check_memory(spare_realloc(old, size));
}
