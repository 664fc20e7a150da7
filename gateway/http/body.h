// One direction of an exchange: bytes between the stream that receives them and the stream that
// sends them on. Owned by the exchange. The receiver appends and ends, the sender takes; whoever
// takes tells the owner through `taken`, which credits the receiver: that is the whole of flow
// control. It never refuses bytes: the receiver's window (or stopped reading) keeps it near
// BODY_HIGH.
#ifndef GATEWAY_HTTP_BODY_H
#define GATEWAY_HTTP_BODY_H

#include "base/buffer.h"
#include "gateway/http/head.h"

enum {
	BODY_HIGH = 64 *
	            1024,  // an HTTP/1 source stops being read above this much; an HTTP/2 window
	BODY_LOW = 32 * 1024,
};

struct body {
	struct buffer bytes;
	size_t held;             // of them, the last so many are not to be sent yet
	bool ended;              // nothing more will be added; trailers are final
	struct fields trailers;  // in an arena that outlives the body
	uint64_t total_in, total_taken;
	void (*taken)(struct body *body, size_t count);
};

static inline void body_add(struct body *body, struct str bytes)
{
	buffer_append_str(&body->bytes, bytes);
	body->total_in += bytes.len;
}

// Tells of bytes that are gone from `bytes` already; the last word of whoever sends them, for the
// owner may act on it at once.
static inline void body_credit(struct body *body, size_t count)
{
	body->total_taken += count;
	if (body->taken)
		body->taken(body, count);
}

static inline void body_take(struct body *body, size_t count)
{
	buffer_take(&body->bytes, count);
	body_credit(body, count);
}

// Bytes that may be sent now.
static inline size_t body_ready(const struct body *body)
{
	return buffer_len(&body->bytes) - body->held;
}

static inline bool body_done(const struct body *body)
{
	return body->ended && buffer_len(&body->bytes) == 0;
}

#endif
