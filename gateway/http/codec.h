// One HTTP connection as a machine: bytes in, events out; messages in, bytes out. Server or client
// role, HTTP/1.1 or HTTP/2, one interface: left and right of an exchange stand the same types. No
// sockets, no TLS, no policy. A codec is owned by its connection; its streams are owned by the
// codec and live until they are over *and* released by their user. Events may come from inside feed
// and pull only; inside an event any send function may be called, but neither feed, pull nor free.
// One thread.
#ifndef GATEWAY_HTTP_CODEC_H
#define GATEWAY_HTTP_CODEC_H

#include "base/buffer.h"
#include "base/list.h"
#include "base/reason.h"
#include "gateway/http/body.h"
#include "gateway/http/head.h"

struct codec;

enum { CODEC_INTERIMS_MAX = 32 };  // 1xx answers to one request; each is kept until the last

// One request and its answer on one connection.
struct stream {
	struct codec *codec;
	void *user;           // the exchange; NULL before it attached and after stream_release
	struct arena arena;   // holds the received head and trailers
	struct head head;     // received: the request (server) or the newest answer (client)
	struct body *source;  // what this stream sends, after its head; NULL: nothing yet
	struct list node;     // in codec->streams
	int32_t id;
	bool head_sent;     // a final head
	bool send_done;     // everything we send has left the codec
	bool receive_done;  // everything the peer sends has arrived
	bool over;          // the protocol has nothing more for it
	bool wasted;        // server: the client gave it too little time to come to anything
};

// Why a stream ended before its message was whole.
enum stream_abort {
	ABORT_CANCELLED,    // the peer took it back (RST_STREAM, or went away)
	ABORT_UNPROCESSED,  // the peer certainly did not act on it: safe to send again
	ABORT_UNANSWERED,   // a reused connection closed before any byte of the answer: safe if
	                    // idempotent
	ABORT_CLOSED,       // the connection ended in the middle
	ABORT_BROKEN,       // the peer broke the protocol
	ABORT_DEADLINE,     // the connection was not made in time
	ABORT_EXHAUSTED,    // by us: more was sent than may pass
	ABORT_TLS_FAILED,   // it failed before the backend had said anything over TLS
};

struct codec_events {
	// Server: a request. Client: an interim (1xx) or the final answer. `end`: no body, no
	// trailers.
	void (*head)(struct stream *stream, bool end);
	void (*data)(struct stream *stream, struct str bytes);
	// The message is whole. `trailers` may be empty; it lives in the stream's arena.
	void (*end)(struct stream *stream, const struct fields *trailers);
	// No more events for this stream. The user releases it.
	void (*aborted)(struct stream *stream, enum stream_abort why);
	// Server only: a request that must be refused. The stream carries what was understood of
	// it; the user answers it as it answers any other. HTTP/1: nothing more is read from the
	// connection.
	void (*faulty)(struct stream *stream, enum reason reason, int status, const char *why);
	// What the stream had to send has left the codec, end included.
	void (*sent)(struct stream *stream);
	// Nothing in particular happened to a stream, but the peer broke the rules; the codec has
	// queued its GOAWAY.
	void (*violated)(struct codec *codec, enum reason reason, const char *why);
	// There is something to pull. Called freely; cheap.
	void (*dirty)(struct codec *codec);
};

struct codec_limits {
	size_t header_bytes, header_fields;  // of one head
	uint32_t concurrent_streams;         // client: a guess until the peer has said; 0: none
	bool refused;  // a refused caller: small heads, no bodies, what comes at once
};

struct codec_ops {
	void (*feed)(struct codec *codec, struct str bytes);
	void (*feed_end)(struct codec *codec);  // the peer will send nothing more
	void (*pull)(struct codec *codec, size_t mark);
	bool (*wants_bytes)(const struct codec *codec);
	struct stream *(*open)(
	        struct codec *codec);  // client: a new request; NULL when there is no room
	size_t (*room)(
	        const struct codec *codec);  // client: how many more streams could be opened now
	void (*send_head)(struct stream *stream, const struct head *head, bool end);
	void (*wake)(struct stream *stream);  // source grew or ended
	void (*credit)(struct stream *stream, size_t count);
	void (*reset)(struct stream *stream, enum stream_abort why);
	void (*release)(struct stream *stream);
	void (*fail)(struct codec *codec,
	        enum stream_abort why);  // the connection is gone: every stream ends so
	void (*stall)(
	        struct codec *codec, const char *why);  // server: the head being read took too long
	// No new requests; those under way finish, and those that the peer sent before it could
	// know. Once more: without waiting for the peer to agree.
	void (*shutdown)(struct codec *codec);
	void (*free)(struct codec *codec);
};

struct codec {
	const struct codec_ops *ops;
	const struct codec_events *events;
	void *owner;         // the connection
	struct buffer *out;  // the connection's; outlives the codec
	struct list streams;
	struct codec_limits limits;
	bool server;
	bool h2;
	bool finished;   // nothing more will be read or sent: close the link once flushed
	bool lingering;  // finished while the peer may still be sending: close gently
	bool cut_short;  // finished before a body that only the connection's end delimits was whole
	bool broken;     // the peer broke the protocol, and so it finished
	bool shutting_down;
	uint32_t head_pending;  // server: which request's head has come in part; 0: none has
	size_t stream_count;
	uint32_t
	        peer_streams;  // HTTP/2 client: how many the peer takes at once; 0: it has not said
};

static inline void codec_feed(struct codec *codec, struct str bytes)
{
	codec->ops->feed(codec, bytes);
}

// Appends what can be sent now to codec->out, until it holds `mark` bytes.
static inline void codec_pull(struct codec *codec, size_t mark)
{
	codec->ops->pull(codec, mark);
}

static inline void stream_send_head(struct stream *stream, const struct head *head, bool end)
{
	stream->codec->ops->send_head(stream, head, end);
}

static inline void stream_wake(struct stream *stream)
{
	stream->codec->ops->wake(stream);
}

static inline void stream_credit(struct stream *stream, size_t count)
{
	stream->codec->ops->credit(stream, count);
}

static inline void stream_reset(struct stream *stream, enum stream_abort why)
{
	stream->codec->ops->reset(stream, why);
}

// The user wants no more events; what is not finished is reset. The stream may be gone afterwards.
static inline void stream_release(struct stream *stream)
{
	stream->codec->ops->release(stream);
}

#endif
