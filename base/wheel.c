#include "base/wheel.h"

#include <string.h>

#include "base/clock.h"

enum { TICK_NS = 8 * NS_PER_MS };

static int64_t tick_after(int64_t time_ns)  // the first tick at which time_ns has passed
{
	return time_ns / TICK_NS + (time_ns % TICK_NS > 0);  // INT64_MAX, "never", must not wrap
}

static size_t slot_number(int64_t tick)
{
	return (uint64_t)tick % WHEEL_SLOTS;
}

static struct list *slot_of(struct wheel *wheel, int64_t tick)
{
	return &wheel->slots[slot_number(tick)];
}

static void park(struct wheel *wheel, struct timer *timer)
{
	int64_t tick = tick_after(timer->due_ns);
	if (tick <= wheel->tick)
		tick = wheel->tick + 1;
	if (tick >= wheel->tick + WHEEL_SLOTS)
		tick = wheel->tick + WHEEL_SLOTS -
		       1;  // farther than one round: look again when it comes up
	timer->parked_tick = tick;
	list_push(slot_of(wheel, tick), &timer->node);
	wheel->used[slot_number(tick) / 64] |= UINT64_C(1) << slot_number(tick) % 64;
}

void wheel_init(struct wheel *wheel, int64_t now_ns)
{
	for (size_t i = 0; i < WHEEL_SLOTS; i++)
		list_init(&wheel->slots[i]);
	memset(wheel->used, 0, sizeof(wheel->used));
	wheel->tick = now_ns / TICK_NS;
	wheel->count = 0;
}

void timer_init(struct timer *timer, void (*fire)(struct timer *))
{
	list_init(&timer->node);
	timer->due_ns = 0;
	timer->parked_tick = 0;
	timer->fire = fire;
}

bool timer_armed(const struct timer *timer)
{
	return list_linked(&timer->node);
}

void timer_set(struct wheel *wheel, struct timer *timer, int64_t due_ns)
{
	timer->due_ns = due_ns;
	if (timer_armed(timer)) {
		if (tick_after(due_ns) >= timer->parked_tick)
			return;
		list_remove(&timer->node);
	} else {
		wheel->count++;
	}
	park(wheel, timer);
}

void timer_stop(struct wheel *wheel, struct timer *timer)
{
	if (!timer_armed(timer))
		return;
	list_remove(&timer->node);
	wheel->count--;
}

static void visit(struct wheel *wheel, int64_t now_ns)
{
	struct list due;
	list_init(&due);
	struct list *slot = slot_of(wheel, wheel->tick);
	for (struct list *node; (node = list_pop(slot));)
		list_push(&due, node);
	for (struct list *node; (node = list_pop(&due));) {
		struct timer *timer = LIST_ITEM(node, struct timer, node);
		if (timer->due_ns > now_ns) {
			park(wheel, timer);
			continue;
		}
		wheel->count--;
		timer->fire(timer);
	}
}

void wheel_turn(struct wheel *wheel, int64_t now_ns)
{
	int64_t last = now_ns / TICK_NS;
	if (last - wheel->tick > WHEEL_SLOTS)
		wheel->tick = last -
		              WHEEL_SLOTS;  // asleep for a whole round: every slot is visited once
	while (wheel->tick < last) {
		wheel->tick++;
		visit(wheel, now_ns);
	}
}

// The first tick to come whose slot holds a timer. Marks of slots emptied meanwhile go on the way.
static int64_t next_used(struct wheel *wheel)
{
	int64_t end = wheel->tick + WHEEL_SLOTS;
	for (int64_t tick = wheel->tick + 1; tick < end;) {
		size_t slot = slot_number(tick);
		uint64_t marks = wheel->used[slot / 64] >> slot % 64;
		if (!marks) {
			tick += (int64_t)(64 - slot % 64);
			continue;
		}
		tick += __builtin_ctzll(marks);
		if (tick >= end || !list_empty(slot_of(wheel, tick)))
			return tick < end ? tick : end;
		slot = slot_number(tick);
		wheel->used[slot / 64] &= ~(UINT64_C(1) << slot % 64);
	}
	return end;
}

int64_t wheel_wait(struct wheel *wheel, int64_t now_ns)
{
	if (wheel->count == 0)
		return -1;
	int64_t wait = next_used(wheel) * TICK_NS - now_ns;
	return wait > 0 ? wait : 0;
}
