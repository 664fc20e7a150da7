// One worker's loop and the order of its day. Every turn of the loop: callbacks read and change
// state, then the one prepare hook buries the dead and flushes the dirty, so that all that a turn
// produced leaves in few TLS records and one write a connection; only what a large read brought
// leaves at once, while the caches hold it. Nothing is ever freed inside a callback of libuv,
// llhttp, nghttp2 or OpenSSL: it goes to the grave list. Owned by the worker (or main, for the
// admin listener); its thread only.
#ifndef GATEWAY_NET_TURN_H
#define GATEWAY_NET_TURN_H

#include <uv.h>

#include "base/buffer.h"
#include "base/list.h"
#include "base/wheel.h"

enum {
	TURN_READ_SIZE = 64 * 1024,
	TURN_READ_MUCH = TURN_READ_SIZE / 2,
	// So many in a turn, and whoever has another gives way to the others.
	TURN_LARGE_READS = 8,  // half a millisecond of work
	TURN_HANDSHAKES = 16,  // steps of them; the others queue
	TURN_HANDSHAKE_US = 300,
};

struct grave {
	struct list node;
	void (*bury)(struct grave *grave);
};

struct dirty {
	struct list node;
	void (*flush)(struct dirty *dirty);
};

// Bytes on the wire since the start.
struct turn_traffic {
	uint64_t in, out;
};

static inline void turn_count(uint64_t *of_link, uint64_t *of_turn, size_t bytes)
{
	*of_link += bytes;
	*of_turn += bytes;
}

struct turn {
	uv_loop_t loop;
	uv_prepare_t prepare;
	uv_timer_t alarm;  // the one libuv timer, set to the wheel's next slot
	int64_t alarm_ns;  // when it rings; 0: not set
	struct wheel wheel;
	struct list dirty, last, graves;
	struct list queue;  // who waits for a step of a handshake: so many are called each turn, or
	                    // more after a long one
	int64_t now_ns;     // monotonic, read at each wake-up and each read
	int64_t woke_ns;    // when the first event of this turn came; 0: none yet
	// By the owner, may be NULL: told at the end of a turn how long the loop was at work.
	void (*worked)(struct turn *turn, int64_t worked_ns);
	struct buffer read;   // the last read, of any link: idle connections hold none
	unsigned large;       // reads of TURN_READ_MUCH in this turn
	int64_t handshakes;   // steps of them in this turn
	struct buffer plain;  // scratch for decrypted bytes
	// Of links, by who began them.
	struct turn_traffic accepted, dialled;
};

void turn_init(struct turn *turn);
void turn_run(struct turn *turn);  // until every handle is closed
void turn_close(
        struct turn *turn);  // asks the turn's own handles to close, so that turn_run can return
void turn_fini(struct turn *turn);  // after turn_run; CHECKs that nothing was left open

void turn_wake(struct turn *turn);  // first in every callback that libuv calls for an event

// Flushes the dirty before the turn's end: after a read of TURN_READ_MUCH.
void turn_flush(struct turn *turn);
void turn_mark_dirty(struct turn *turn, struct dirty *dirty);  // idempotent
void turn_mark_last(struct turn *turn, struct dirty *dirty);   // likewise; after all others
void turn_mark_dead(struct turn *turn, struct grave *grave);   // once
// Behind those that wait already. Once called it counts itself in `handshakes`, or has lost
// interest.
void turn_queue(struct turn *turn, struct dirty *step);

char *turn_room(struct turn *turn);                         // TURN_READ_SIZE bytes to read into
struct str turn_has_read(struct turn *turn, size_t count);  // that were read there
// Appends `bytes` to `to`. Where they are much, and all that is left of the last read, and `to` is
// empty, they change hands with the block they are in instead of being copied: whoever brought them
// looks at nothing of it any more.
void turn_pass_on(struct turn *turn, struct str bytes, struct buffer *to);

// Deadlines `after_ns` from now; the timer's owner stops it before freeing.
void turn_set_timer(struct turn *turn, struct timer *timer, int64_t after_ns);
void turn_stop_timer(struct turn *turn, struct timer *timer);

#endif
