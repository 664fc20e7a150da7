// A listening socket on a loop: takes in whoever knocks. When descriptors or memory run out it
// rests a moment and leaves the waiting in the kernel's queue, so that neither a busy loop nor a
// lost listener follows (libuv's own accept spins once two loops fight over the last descriptor).
// It makes no link: whoever owns it does. Owned by a worker or by admin; the loop's thread only.
// After door_shut nobody knocks any more.
#ifndef GATEWAY_NET_DOOR_H
#define GATEWAY_NET_DOOR_H

#include "gateway/net/turn.h"

enum { DOOR_REST_MS = 100, DOOR_COMPLAIN_S = 10 };

struct door {
	uv_poll_t poll;
	struct turn *turn;
	struct timer rest;
	int64_t complained_ns;
	int socket;
	bool held;  // by its owner, for want of room
	bool shut;
	void *owner;
	void (*knock)(struct door *door, int descriptor);  // the descriptor is handed over
	void (*closed)(struct door *door);                 // may be NULL
};

// `socket` is bound, listening and non-blocking; handed over. The rest of `door` is set by its
// owner before.
void door_open(struct door *door, struct turn *turn, int socket);
void door_hold(struct door *door, bool on);
void door_take_waiting(struct door *door);  // whoever is in the kernel's queue by now
void door_shut(struct door *door);          // idempotent

#endif
