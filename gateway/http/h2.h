// HTTP/2 as a codec (RFC 9113) over nghttp2, both roles, with prior knowledge or after ALPN.
// Flow control is ours: a stream's window opens as its body is taken by the other side, the
// connection's at once, so that one stalled stream holds up nobody; no stream is ever ahead by more
// than BODY_HIGH. nghttp2 is not re-entrant: feed and pull alone run it, everything else only
// submits. Streams are freed at the end of feed and pull.
#ifndef GATEWAY_HTTP_H2_H
#define GATEWAY_HTTP_H2_H

#include <nghttp2/nghttp2.h>

#include "gateway/http/codec.h"
#include "gateway/http/h2_calm.h"
#include "gateway/http/h2_early.h"

enum {
	H2_CONNECTION_WINDOW = 1024 * 1024,
	H2_QUEUE_MAX = 4096,  // frames that wait to be sent, beyond which nothing more is read
	H2_HEADER_BOMB = 4,   // times the header limit: past a 431, not worth decoding to its end
	H2_HEADER_BOMB_MIN = 128 * 1024,  // however low that limit
	H2_REFUSED_MAX = 100,  // requests of a refused caller that are answered, each with why
	H2_CLIENT_STREAMS_MAX =
	        256,  // on one upstream connection, whatever more the backend allows
	H2_CLIENT_STREAMS_GUESS = 100,  // as long as no backend has said
};

struct h2 {
	struct codec codec;
	nghttp2_session *session;
	struct list dead;     // streams nobody points to any more
	struct h2_calm calm;  // server
	struct h2_early early;
	size_t mark;        // of the pull that is under way
	int32_t last_id;    // of the newest request (server)
	bool goaway_final;  // the last GOAWAY is queued: finish when the streams are done
	bool violated;
	bool answered;   // client: this connection has served before
	bool asked;      // client: some request has left
	bool own_frame;  // h2_memory.h
	bool gone;       // the connection ended or is past mending: the session never runs again
};

struct h2_stream {
	struct stream stream;
	struct list dead_node;
	struct list early_node;
	struct fields trailers;
	size_t header_bytes, header_count;
	const char *fault;  // of the header block being read
	bool too_large;
	bool white_ends;  // client: some value in it begins or ends with white space
	unsigned interims;
	bool final_head;  // a request, or a final answer, was received
	bool reading_trailers;
	bool on_wire;   // client: its HEADERS have left
	bool deferred;  // nghttp2 waits for nghttp2_session_resume_data
	bool reset_sent;
	bool closed;    // nghttp2 knows it no more
	bool reported;  // the end or abort was told to the user
	bool aborted;   // it was the abort
};

MUST_USE struct codec *h2_new(bool server, const struct codec_events *events, void *owner,
        struct buffer *out, const struct codec_limits *limits);

const char *h2_library_version(void);

// Between h2.c (life), h2_receive.c and h2_send.c.
static inline struct h2 *h2_of(struct codec *codec)
{
	return CONTAINER_OF(codec, struct h2, codec);
}
static inline struct h2_stream *h2_stream_of(struct stream *stream)
{
	return CONTAINER_OF(stream, struct h2_stream, stream);
}
struct h2_stream *h2_stream_new(struct h2 *h2, int32_t id);
void h2_stream_over(struct h2 *h2, struct h2_stream *stream,
        enum stream_abort why);  // told once; frees when released
void h2_reset_with(struct h2_stream *stream, uint32_t code);
void h2_receive_callbacks(nghttp2_session_callbacks *callbacks);
void h2_send_callbacks(nghttp2_session_callbacks *callbacks);
void h2_send_head(struct stream *stream, const struct head *head, bool end);
void h2_wake(struct stream *stream);

#endif
