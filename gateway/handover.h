// The newcomer's side of an upgrade (SIGUSR2, see upgrade.h): what it got from the gateway whose
// place it takes. It makes itself ready first, down to the last key and socket, and says so; only
// when it is told to go does it serve, with the buckets as they stand then. Until the predecessor
// has ended both write one audit chain. Main's thread.
#ifndef GATEWAY_HANDOVER_H
#define GATEWAY_HANDOVER_H

#include "gateway/net/turn.h"
#include "policy/bucket.h"

// NAMELESS instead of READY, with a byte behind it: ready but for the addresses of so many names
// (255: or more), which the predecessor takes if it has them no more than that itself.
enum { HANDOVER_READY = 'R', HANDOVER_NAMELESS = 'N', HANDOVER_GO = 'G', HANDOVER_GO_S = 30 };

struct handover {
	int channel;  // -1: there is no predecessor
	int state;    // a file in memory with its buckets; its lock is the claim to the audit log
	uv_poll_t poll;
	bool watching;
	void (*gone)(void *owner);
	void *owner;
};

void handover_receive(struct handover *handover);
bool handover_expected(const struct handover *handover);

// The store for this process: its keys are found by the predecessor's seed.
MUST_USE struct bucket_store *handover_store(const struct handover *handover);

// Says that all is ready, but for `nameless` names, and waits for the word. False: the predecessor
// goes on by itself.
MUST_USE bool handover_take(struct handover *handover, struct bucket_store *store, size_t nameless);

// Once serving: `gone` is called when the predecessor has ended.
void handover_watch(
        struct handover *handover, struct turn *turn, void (*gone)(void *owner), void *owner);
void handover_close(struct handover *handover);  // idempotent

// Both sides: buckets into the file, and out of it.
MUST_USE bool handover_write(int state, struct bucket_store *store);

#endif
