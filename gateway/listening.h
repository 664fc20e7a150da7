// The sockets on which one address is listened to. They outlive configurations: a reload that keeps
// the address keeps them, and so does a new binary that takes them over (SIGUSR2) or a service
// manager that brought them. Counted: each snapshot that listens there holds one reference, and
// each worker's listener. Main opens, shuts and hands over; workers listen on duplicates, so that
// main's stay good for a successor. Every worker has a socket to itself (SO_REUSEPORT), or shares
// one where the address knows no better.
#ifndef GATEWAY_LISTENING_H
#define GATEWAY_LISTENING_H

#include <stdatomic.h>

#include "conf/config.h"

struct listening {
	atomic_size_t references;
	// That came in by it, over all workers: those served, and those that are only told that
	// there is no room.
	atomic_size_t served, told;
	struct config_address address;
	size_t socket_count;      // at least one for each worker
	int *sockets;             // main's
	_Atomic int *duplicates;  // the workers'; -1 once taken
};

// False with the system's words in *why. `inherited` are sockets bound to the address already,
// taken over; `beside`: one of our own sockets may hold the port, so that it is not in use.
MUST_USE struct listening *listening_open(const struct config_address *address, size_t workers,
        const int inherited[], size_t inherited_count, bool beside, const char **why);
struct listening *listening_ref(struct listening *listening);
void listening_unref(struct listening *listening);  // NULL is nothing

// Main stops listening, and nobody begins to; workers that do stop when they hear of it.
// Idempotent.
void listening_shut(struct listening *listening);

bool listening_is_at(const struct listening *listening, const struct config_address *address);

// Counts one more, in one of its counts: false where there are `most`. Any thread.
MUST_USE bool listening_enter(atomic_size_t *count, size_t most, atomic_size_t **counted);
void listening_leave(atomic_size_t **counted);  // idempotent

// For worker `index` of `workers`: on how many sockets it has to listen, and its `number`th one,
// once; -1 where it was shut meanwhile.
size_t listening_share(const struct listening *listening, size_t index, size_t workers);
MUST_USE int listening_take(
        struct listening *listening, size_t index, size_t workers, size_t number);

#endif
