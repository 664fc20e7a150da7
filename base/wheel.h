// The deadlines of one worker: a hashed wheel of 1024 slots of 8 ms. Setting, moving and stopping
// are O(1). A timer is embedded in what it watches and owned by it; stop it before freeing. One
// thread. Re-arming to a later time only stores the time (the common case: idle timers); the slot
// is corrected when it comes up. Never fires early.
#ifndef BASE_WHEEL_H
#define BASE_WHEEL_H

#include <stdint.h>

#include "base/list.h"

enum { WHEEL_SLOTS = 1024 };

struct timer {
	struct list node;
	int64_t due_ns;       // what the owner asked for
	int64_t parked_tick;  // the slot it lies in; <= the tick of due_ns
	void (*fire)(struct timer *);
};

struct wheel {
	struct list slots[WHEEL_SLOTS];
	uint64_t used[WHEEL_SLOTS / 64];  // a mark for each slot that may hold a timer
	int64_t tick;  // every slot up to and including this tick has been visited
	size_t count;
};

void wheel_init(struct wheel *wheel, int64_t now_ns);
void timer_init(struct timer *timer, void (*fire)(struct timer *));
void timer_set(struct wheel *wheel, struct timer *timer, int64_t due_ns);
void timer_stop(struct wheel *wheel, struct timer *timer);
bool timer_armed(const struct timer *timer);

// Fires what is due. A firing timer is stopped first and may set or stop any timer.
void wheel_turn(struct wheel *wheel, int64_t now_ns);

// Nanoseconds from now until wheel_turn has something to look at; -1 when no timer is set.
int64_t wheel_wait(struct wheel *wheel, int64_t now_ns);

#endif
