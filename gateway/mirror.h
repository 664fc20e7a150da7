// Copies of requests for another backend (`mirror` of a route). While the request passes its body
// is gathered besides; once it is whole, and only then, a copy of all of it is sent, over
// connections that carry nothing else. Nobody waits for it: what is answered is thrown away, what
// fails is counted. It never slows the exchange, never fails it, and never sends less than the
// whole. Bounded: by body, by how many are on their way, by time. Belongs to the exchange while it
// gathers, then to the worker; its thread.
#ifndef GATEWAY_MIRROR_H
#define GATEWAY_MIRROR_H

#include "gateway/exchange.h"

enum {
	MIRROR_BODY_MAX = 64 * 1024,  // as much as an exchange gathers for a slow backend
	MIRROR_ON_WAY_MAX = 256,      // of a worker: 32 MiB with the largest heads and bodies
	MIRROR_DEADLINE_MS = 10 * 1000,
};

// Behind the doors of the inline functions below, which cost a route without `mirror` one look.
void mirror_draw(struct exchange *exchange, bool whole);
void mirror_gather(struct exchange *exchange, struct str bytes);
void mirror_whole(struct exchange *exchange);
void mirror_give_up(struct exchange *exchange);

// The request has been forwarded; `whole`: it ended with its head.
static inline void mirror_begin(struct exchange *exchange, bool whole)
{
	if (exchange_route(exchange)->mirror.backend_name.text.len)
		mirror_draw(exchange, whole);
}

static inline void mirror_take(struct exchange *exchange, struct str bytes)
{
	if (exchange->mirror)
		mirror_gather(exchange, bytes);
}

// The request is whole, trailers and all.
static inline void mirror_send(struct exchange *exchange)
{
	if (exchange->mirror)
		mirror_whole(exchange);
}

// The exchange ends; what was sent goes on without it.
static inline void mirror_drop(struct exchange *exchange)
{
	if (exchange->mirror)
		mirror_give_up(exchange);
}

// What the codecs of such connections tell.
void mirror_backend_head(struct stream *stream, bool end);
void mirror_backend_data(struct stream *stream, struct str bytes);
void mirror_backend_end(struct stream *stream, const struct fields *trailers);
void mirror_backend_aborted(struct stream *stream, enum stream_abort why);
void mirror_backend_sent(struct stream *stream);

#endif
