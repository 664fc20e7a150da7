// Says in the log what nears its end: served certificates and what is sent behind them, trusted
// CAs, revocation lists. Once when it begins to near, and at the start; then once a day each; as an
// error once it is past. Near is the last tenth of its life, and never more than seven days: who
// renews by itself does so at half or two thirds of it, so that at a tenth something has gone
// wrong, for an hour's SVID six minutes before its end; and who renews by hand has a week. Owned by
// the gateway; the main thread, a look a second that mostly compares two numbers.
#ifndef GATEWAY_EXPIRY_H
#define GATEWAY_EXPIRY_H

#include <stdio.h>

#include "gateway/net/turn.h"
#include "gateway/snapshot.h"

enum expiry_state { EXPIRY_FAR, EXPIRY_NEAR, EXPIRY_PAST };

struct expiry_notice;

struct expiry {
	struct turn *turn;
	struct timer timer;
	struct snapshot *const *snapshot;  // where the one in force stands
	uint64_t generation;               // of the one looked at last
	int64_t next_s;                    // when anything changes by itself
	struct expiry_notice *notices;     // of what is near or past now
	size_t notice_count, notice_capacity;
	const char *listener;  // at hand
};

void expiry_begin(struct expiry *expiry, struct turn *turn, struct snapshot *const *snapshot);
void expiry_look(struct expiry *expiry, int64_t now_s);  // at the first time and by its timer
void expiry_end(struct expiry *expiry);                  // the timer stops, all is freed

enum expiry_state expiry_state(const struct tls_expiry *what, int64_t now_s);
// What is wrong with it, in words; NULL when it is far from its end.
const char *expiry_words(const struct tls_expiry *what, int64_t now_s);
// How long: `6d3h`, `12m5s`; of what is past `-2h0m`.
enum { EXPIRY_SPAN_SIZE = 48 };
void expiry_span(int64_t seconds, char text[EXPIRY_SPAN_SIZE]);

// For `check`, on stdout: a line for what is near or past.
void expiry_print(const struct tls_expiry *what, void *config_path);

#endif
