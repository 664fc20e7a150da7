// HTTP/1.1 as a codec (RFC 9112), both roles: one message after another on one connection.
// Reading: h1_scan finds a whole head, h1_head reads it, h1_body ends its body. Writing: h1_send
// frames anew; nothing a peer framed is ever copied. A server reads the next request only when the
// answer before it has left (pipelines stay in order and cost nothing); a client has one request
// under way. After any fault nothing more is read.
#ifndef GATEWAY_HTTP_H1_H
#define GATEWAY_HTTP_H1_H

#include "gateway/http/codec.h"
#include "gateway/http/h1_body.h"

enum h1_receive {
	H1_RECEIVE_HEAD,
	H1_RECEIVE_BODY,
	H1_RECEIVE_HELD,  // asked for an upgrade: what follows is not ours to read before the
	                  // answer
	H1_RECEIVE_MESSAGE_DONE,
	H1_RECEIVE_DISCARD,  // the rest of a body nobody wants, up to H1_DISCARD_MAX
	H1_RECEIVE_NOTHING,  // after a fault, or the peer ended
};

enum { H1_DISCARD_MAX = 256 * 1024, H1_PENDING_MAX = 64 * 1024 };

struct h1 {
	struct codec codec;
	struct stream *stream;  // the message pair under way
	enum h1_receive receive;
	struct buffer in;  // bytes not parsed yet: a head in the making, or a pipeline
	struct h1_scanner scanner;
	struct h1_body body;
	size_t held;  // content given to the user and not credited yet
	size_t discarded;
	uint64_t messages;  // finished on this connection
	bool keep_alive;
	bool peer_1_0;
	bool peer_ended;
	bool blank_line;       // the empty line that is forgiven before a request was there
	bool asked;            // the request under way may have left (client)
	bool got_bytes;        // of the answer under way (client)
	unsigned interims;     // 1xx answers to the request under way
	bool to_head;          // the request under way is HEAD
	bool awaits_continue;  // the client waits for a 100 we have not sent
	bool upgrading;        // the request under way asks for websocket
	enum h1_framing send_framing;
	uint64_t send_left;
};

MUST_USE struct codec *h1_new(bool server, const struct codec_events *events, void *owner,
        struct buffer *out, const struct codec_limits *limits);

// Between h1.c (life), h1_receive.c (reading) and h1_send.c (writing).
static inline struct h1 *h1_of(struct codec *codec)
{
	return CONTAINER_OF(codec, struct h1, codec);
}
void h1_stream_begin(struct h1 *h1);
// Both halves are over and the user let go: forget the message, make ready for the next or stop.
void h1_turn_over(struct h1 *h1);
void h1_feed(struct codec *codec, struct str bytes);
void h1_feed_end(struct codec *codec);
void h1_stall(struct codec *codec, const char *why);
void h1_fail_stream(struct h1 *h1, enum stream_abort why);  // and the connection with it
enum stream_abort h1_answer_lost(
        const struct h1 *h1);  // client: what the end of the connection means
// Reads as far as bytes and state allow and keeps the rest; `kept`: `bytes` is all of h1->in.
void h1_process(struct h1 *h1, struct str bytes, bool kept);
void h1_send_head(struct stream *stream, const struct head *head, bool end);
void h1_send_body(struct h1 *h1, size_t mark);
void h1_tunnel(struct h1 *h1);  // both directions are raw bytes from here on
void h1_cut(struct h1 *h1);  // the answer under way will not be whole: see that it does not look so
void h1_stop(struct h1 *h1);  // nothing more is read or sent after what is queued

#endif
