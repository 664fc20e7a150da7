// How much unrest a client has made on one HTTP/2 connection: frames that cost us work and bring no
// message forward. A leaky bucket of milliseconds: every such frame adds its price, time takes it
// away, and useful work (content moved, requests answered) pays it back, so that a busy client is
// never mistaken for a flood. Too much: h2.c cuts it off. What is an error by itself is left to
// nghttp2, which says which. It reads frame heads by itself, before nghttp2, which keeps quiet
// about what it skips. Embedded in the codec; one thread.
#ifndef GATEWAY_HTTP_H2_CALM_H
#define GATEWAY_HTTP_H2_CALM_H

#include "base/str.h"

enum {
	// 2000 control frames at once and 1000 a second, or 200 cancelled requests at once and 100
	// a second, on top of what is paid back.
	H2_CALM_BURST_MS = 2000,
	H2_PRICE_CONTROL = 1,
	H2_PRICE_SETTINGS = 5,  // acknowledged, and every stream's window may change
	H2_PRICE_REFUSED = 2,   // a stream past the limit: a client may not have seen the limit yet
	H2_PRICE_RESET = 10,    // a request begun and thrown away, by the client or for its fault,
	                        // or by a deadline that is none
	H2_REWARD_CONTENT = 4,  // a DATA frame with content, either way
	H2_REWARD_ANSWER = 10,  // a whole answer
};

struct h2_calm {
	int64_t due_ns;    // when all will be forgiven
	uint32_t skip;     // bytes of the current frame still to come
	uint8_t preface;   // bytes of it that have come
	bool ending;       // nghttp2 will end the connection for what came: the rest is no frames
	uint8_t head[10];  // of the frame, and the pad length where there is one
	unsigned have;
	const char *lost;  // why the client is to be cut off; NULL: it is not
};

void h2_calm_init(struct h2_calm *calm);
void h2_calm_watch(struct h2_calm *calm, struct str bytes);  // what comes in
void h2_calm_spend(struct h2_calm *calm, int price_ms);
void h2_calm_reward(struct h2_calm *calm, int reward_ms);

#endif
