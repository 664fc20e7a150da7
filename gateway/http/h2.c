#include "gateway/http/h2.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/spare.h"
#include "gateway/http/h2_memory.h"

static nghttp2_session_callbacks *callbacks;
static nghttp2_option *options[2];  // of clients, of servers

static void make_shared(void)
{
	CHECK(nghttp2_session_callbacks_new(&callbacks) == 0);
	h2_receive_callbacks(callbacks);
	h2_send_callbacks(callbacks);
	for (int server = 0; server < 2; server++) {
		CHECK(nghttp2_option_new(&options[server]) == 0);
		nghttp2_option_set_no_auto_window_update(options[server], 1);
		// Until the backend has said how many streams it takes, no more than one leaves.
		nghttp2_option_set_peer_max_concurrent_streams(options[server], 1);
		// Heads are bounded where they are read, some beyond the 64 KiB of nghttp2.
		nghttp2_option_set_max_send_header_block_length(options[server], 16 * 1024 * 1024);
	}
	// How many requests a client may take back is for h2_calm.c to say, which knows what others
	// it saw through; nghttp2's own 33 a second would cut off who makes many.
	nghttp2_option_set_stream_reset_rate_limit(options[1], UINT32_MAX, UINT32_MAX);
	// gRPC's servers send the message of an error as it is, and many end in a space: that is
	// judged where it is read (h2_receive.c).
	nghttp2_option_set_no_rfc9113_leading_and_trailing_ws_validation(options[0], 1);
}

const char *h2_library_version(void)
{
	return nghttp2_version(0)->version_str;
}

struct h2_stream *h2_stream_new(struct h2 *h2, int32_t id)
{
	struct h2_stream *own = must_spare(sizeof(*own));
	own->stream.codec = &h2->codec;
	own->stream.id = id;
	list_init(&own->dead_node);
	list_push(&h2->codec.streams, &own->stream.node);
	h2->codec.stream_count++;
	return own;
}

static void free_dead(struct h2 *h2)
{
	for (struct list *node; (node = list_pop(&h2->dead));) {
		struct h2_stream *own = LIST_ITEM(node, struct h2_stream, dead_node);
		arena_fini(&own->stream.arena);
		spare_free(own);
	}
}

// Off the list of the living once nghttp2 and the user have both let go.
static void bury(struct h2 *h2, struct h2_stream *own)
{
	if (!own->closed || own->stream.user || list_linked(&own->dead_node))
		return;
	list_remove(&own->stream.node);
	h2_early_forget(h2, own);
	h2->codec.stream_count--;
	list_push(&h2->dead, &own->dead_node);
}

void h2_stream_over(struct h2 *h2, struct h2_stream *own, enum stream_abort why)
{
	struct stream *stream = &own->stream;
	// A client with its whole answer has lost nothing when the rest of its request is not
	// wanted (RFC 9113, 8.1).
	bool whole = stream->receive_done && (stream->send_done || !h2->codec.server);
	stream->over = true;
	if (stream->id == 0)
		own->closed = true;  // nghttp2 never knew it
	if (!own->reported && stream->user && !whole) {
		own->reported = own->aborted = true;
		h2->codec.events->aborted(stream, why);
	}
	own->reported = true;
	bury(h2, own);
}

void h2_reset_with(struct h2_stream *own, uint32_t code)
{
	struct h2 *h2 = h2_of(own->stream.codec);
	if (own->closed || own->reset_sent)
		return;
	own->reset_sent = true;
	if (own->stream.id == 0)
		own->closed = true;
	else
		nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, own->stream.id, code);
	h2->codec.events->dirty(&h2->codec);
}

static void fail_session(struct h2 *h2, const char *why)
{
	if (!h2->violated && h2->codec.server)
		h2->codec.events->violated(&h2->codec, REASON_protocol_violation, why);
	h2->violated = h2->gone = true;
	h2->codec.finished = true;
}

// What a connection that ended tells of one request (codec.h).
static enum stream_abort loss_of(
        const struct h2 *h2, const struct h2_stream *own, enum stream_abort why)
{
	// TLS that failed behind the handshake: what had not left yet never will have been read.
	bool refused = why == ABORT_TLS_FAILED && h2->asked;
	if (h2->codec.server || (why != ABORT_CLOSED && !refused))
		return why;
	if (!own->on_wire)
		return ABORT_UNPROCESSED;
	if (refused)
		return why;
	return h2->answered && !own->final_head && !own->interims ? ABORT_UNANSWERED : ABORT_CLOSED;
}

// The connection is gone: no stream will hear more.
static void abort_streams(struct h2 *h2, enum stream_abort why)
{
	LIST_EACH (&h2->codec.streams, node) {
		struct h2_stream *own = h2_stream_of(LIST_ITEM(node, struct stream, node));
		own->closed = true;
		h2_stream_over(h2, own, loss_of(h2, own, why));
		if (!own->stream.user || own->aborted)
			continue;
		own->aborted = true;  // its message is whole, but the stream will not outlive the
		                      // connection
		h2->codec.events->aborted(&own->stream, why);
	}
}

// After a fatal error and after the last GOAWAY no stream will hear more from nghttp2.
static void check_finished(struct h2 *h2)
{
	struct codec *codec = &h2->codec;
	if (!h2->gone && !nghttp2_session_want_read(h2->session) &&
	        !nghttp2_session_want_write(h2->session))
		codec->finished = true;
	if (codec->shutting_down && codec->stream_count == 0 &&
	        (h2->goaway_final || !codec->server) && !nghttp2_session_want_write(h2->session))
		codec->finished = true;
	if (!codec->finished)
		return;
	h2->gone = true;  // nghttp2 may still know streams that are freed now
	abort_streams(h2, codec->server ? ABORT_CANCELLED : ABORT_CLOSED);
}

// Good until the next call for any session of this thread (h2_memory.h).
static ssize_t next_bytes(struct h2 *h2, const uint8_t **bytes)
{
	static _Thread_local bool filling;
	CHECK(!filling);
	filling = true;
	ssize_t len = nghttp2_session_mem_send(h2->session, bytes);
	filling = false;
	return len;
}

// Says so and ends, whether or not the client reads: what is queued leaves with the link, which
// waits for nobody long.
static void cut_off(struct h2 *h2)
{
	const uint8_t *bytes;
	ssize_t len;
	if (!h2->violated)
		h2->codec.events->violated(&h2->codec, REASON_protocol_violation, h2->calm.lost);
	h2->violated = true;
	nghttp2_session_terminate_session(h2->session, NGHTTP2_ENHANCE_YOUR_CALM);
	h2->mark = SIZE_MAX;
	while ((len = next_bytes(h2, &bytes)) > 0)
		buffer_append(h2->codec.out, bytes, (size_t)len);
	h2->codec.finished = h2->gone = true;
}

static void h2_feed(struct codec *codec, struct str bytes)
{
	struct h2 *h2 = h2_of(codec);
	if (codec->finished || h2->gone)
		return;
	if (codec->server)
		h2_calm_watch(&h2->calm, bytes);
	ssize_t taken = h2->calm.lost ? 0
	                              : nghttp2_session_mem_recv(
	                                        h2->session, (const uint8_t *)bytes.at, bytes.len);
	if (taken < 0)
		fail_session(h2, nghttp2_strerror((int)taken));
	else if (h2->calm.lost)
		cut_off(h2);
	check_finished(h2);
	free_dead(h2);
	codec->events->dirty(codec);
}

static void h2_feed_end(struct codec *codec)
{
	struct h2 *h2 = h2_of(codec);
	codec->finished = h2->gone = true;
	abort_streams(h2, codec->server ? ABORT_CANCELLED : ABORT_CLOSED);
	free_dead(h2);
	codec->events->dirty(codec);
}

static void h2_fail(struct codec *codec, enum stream_abort why)
{
	struct h2 *h2 = h2_of(codec);
	codec->finished = h2->gone = true;
	abort_streams(h2, why);
	codec->events->dirty(codec);
}

static void h2_stall(struct codec *codec, const char *why)
{
	struct h2 *h2 = h2_of(codec);
	codec->head_pending = 0;
	if (h2->violated || h2->gone)
		return;
	h2->violated = true;
	codec->events->violated(codec, REASON_request_timeout, why);
	nghttp2_session_terminate_session(h2->session, NGHTTP2_ENHANCE_YOUR_CALM);
	codec->events->dirty(codec);
}

static void h2_pull(struct codec *codec, size_t mark)
{
	struct h2 *h2 = h2_of(codec);
	h2->mark = mark;
	while (!h2->gone && buffer_len(codec->out) < mark) {
		const uint8_t *bytes;
		ssize_t len = next_bytes(h2, &bytes);
		if (len < 0) {
			fail_session(h2, nghttp2_strerror((int)len));
			break;
		}
		if (len == 0 && !h2_early_ask(h2))
			break;
		buffer_append(codec->out, bytes, (size_t)len);
	}
	check_finished(h2);
	free_dead(h2);
}

static bool h2_wants_bytes(const struct codec *codec)
{
	// Windows bound every stream, and stopping would hold up the others; but what nghttp2
	// itself answers (RST_STREAM to each stream too many) has no window, and a client that does
	// not read it must not go on asking.
	const struct h2 *h2 = CONTAINER_OF(codec, const struct h2, codec);
	return h2->gone || nghttp2_session_get_outbound_queue_size(h2->session) < H2_QUEUE_MAX;
}

static size_t h2_room(const struct codec *codec)
{
	const struct h2 *h2 = CONTAINER_OF(codec, const struct h2, codec);
	if (codec->finished || codec->shutting_down ||
	        !nghttp2_session_check_request_allowed(h2->session))
		return 0;
	size_t most = codec->peer_streams                ? codec->peer_streams
	              : codec->limits.concurrent_streams ? codec->limits.concurrent_streams
	                                                 : H2_CLIENT_STREAMS_GUESS;
	if (most > H2_CLIENT_STREAMS_MAX)
		most = H2_CLIENT_STREAMS_MAX;
	return most > codec->stream_count ? most - codec->stream_count : 0;
}

static struct stream *h2_open(struct codec *codec)
{
	return h2_room(codec) ? &h2_stream_new(h2_of(codec), 0)->stream : NULL;
}

static void h2_credit(struct stream *stream, size_t count)
{
	struct h2_stream *own = h2_stream_of(stream);
	if (own->closed || stream->id == 0)
		return;
	nghttp2_session_consume_stream(h2_of(stream->codec)->session, stream->id, count);
	stream->codec->events->dirty(stream->codec);
}

static void h2_reset(struct stream *stream, enum stream_abort why)
{
	// For gRPC the last is RESOURCE_EXHAUSTED (doc/PROTOCOL-HTTP2.md, Errors).
	h2_reset_with(h2_stream_of(stream), why == ABORT_CANCELLED   ? NGHTTP2_CANCEL
	                                    : why == ABORT_EXHAUSTED ? NGHTTP2_ENHANCE_YOUR_CALM
	                                                             : NGHTTP2_INTERNAL_ERROR);
}

static void h2_release(struct stream *stream)
{
	struct h2_stream *own = h2_stream_of(stream);
	bool server = stream->codec->server;
	stream->user = NULL;
	stream->source = NULL;
	bool over = own->closed || own->reset_sent || (stream->send_done && stream->receive_done);
	if (!over && server && stream->send_done)
		h2_early_stop(h2_of(stream->codec), own);
	else if (!over)
		h2_reset_with(own, server ? NGHTTP2_INTERNAL_ERROR : NGHTTP2_CANCEL);
	own->reported = true;
	bury(h2_of(stream->codec), own);
	stream->codec->events->dirty(stream->codec);
}

static void h2_shutdown(struct codec *codec)
{
	struct h2 *h2 = h2_of(codec);
	bool again = codec->shutting_down;
	if (h2->gone || h2->goaway_final)
		return;
	codec->shutting_down = true;
	if (!codec->server) {
		check_finished(h2);
	} else if (codec->limits.refused || again) {
		h2->goaway_final = true;
		nghttp2_submit_goaway(h2->session, NGHTTP2_FLAG_NONE,
		        nghttp2_session_get_last_proc_stream_id(h2->session), NGHTTP2_NO_ERROR,
		        NULL, 0);
	} else {
		nghttp2_submit_shutdown_notice(h2->session);
		nghttp2_submit_ping(h2->session, NGHTTP2_FLAG_NONE, NULL);
	}
	codec->events->dirty(codec);
}

static void h2_free(struct codec *codec)
{
	struct h2 *h2 = h2_of(codec);
	LIST_EACH (&codec->streams, node) {
		struct h2_stream *own = h2_stream_of(LIST_ITEM(node, struct stream, node));
		CHECK(!own->stream.user);
		own->closed = true;
		bury(h2, own);
	}
	free_dead(h2);
	nghttp2_session_del(h2->session);
	free(h2);
}

static const struct codec_ops ops = {
        .feed = h2_feed,
        .feed_end = h2_feed_end,
        .pull = h2_pull,
        .wants_bytes = h2_wants_bytes,
        .open = h2_open,
        .room = h2_room,
        .send_head = h2_send_head,
        .wake = h2_wake,
        .credit = h2_credit,
        .reset = h2_reset,
        .release = h2_release,
        .fail = h2_fail,
        .stall = h2_stall,
        .shutdown = h2_shutdown,
        .free = h2_free,
};

static void open_session(struct h2 *h2, const struct codec_limits *limits)
{
	bool server = h2->codec.server;
	nghttp2_mem memory = h2_memory(&h2->own_frame);
	int result = (server ? nghttp2_session_server_new3 : nghttp2_session_client_new3)(
	        &h2->session, callbacks, h2, options[server], &memory);
	CHECK(result == 0);
	nghttp2_settings_entry settings[] = {
	        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, BODY_HIGH},
	        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)limits->header_bytes},
	        {server ? NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS : NGHTTP2_SETTINGS_ENABLE_PUSH,
	                server ? limits->concurrent_streams : 0},
	};
	CHECK(nghttp2_submit_settings(
	              h2->session, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings)) == 0);
	CHECK(nghttp2_session_set_local_window_size(
	              h2->session, NGHTTP2_FLAG_NONE, 0, H2_CONNECTION_WINDOW) == 0);
}

struct codec *h2_new(bool server, const struct codec_events *events, void *owner,
        struct buffer *out, const struct codec_limits *limits)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, make_shared);
	struct h2 *h2 = must_alloc(sizeof(*h2));
	h2->codec.ops = &ops;
	h2->codec.events = events;
	h2->codec.owner = owner;
	h2->codec.out = out;
	h2->codec.limits = *limits;
	h2->codec.server = server;
	h2->codec.h2 = true;
	list_init(&h2->codec.streams);
	list_init(&h2->dead);
	h2_calm_init(&h2->calm);
	h2_early_init(&h2->early);
	h2->own_frame = !server;
	open_session(h2, limits);
	return &h2->codec;
}
