#include "gateway/http/h1.h"

#include <stdlib.h>

#include "base/spare.h"

void h1_stream_begin(struct h1 *h1)
{
	struct stream *stream = must_spare(sizeof(*stream));
	stream->codec = &h1->codec;
	list_push(&h1->codec.streams, &stream->node);
	h1->codec.stream_count++;
	h1->stream = stream;
	h1->asked = h1->got_bytes = h1->to_head = h1->awaits_continue = h1->upgrading =
	        h1->blank_line = false;
	h1->interims = 0;
	h1->send_framing = H1_NO_BODY;
	h1->send_left = 0;
	h1->held = h1->discarded = 0;
}

static void stream_free(struct h1 *h1)
{
	struct stream *stream = h1->stream;
	list_remove(&stream->node);
	arena_fini(&stream->arena);
	spare_free(stream);
	h1->codec.stream_count--;
	h1->stream = NULL;
}

// An orderly end of the connection would say that the body is whole (RFC 9112, 8).
void h1_cut(struct h1 *h1)
{
	const struct stream *stream = h1->stream;
	h1->codec.cut_short |= h1->codec.server && stream && stream->head_sent &&
	                       !stream->send_done && h1->send_framing == H1_TO_END;
}

void h1_stop(struct h1 *h1)
{
	h1_fail_stream(h1, ABORT_CLOSED);
}

void h1_tunnel(struct h1 *h1)
{
	h1->keep_alive = false;
	h1->send_framing = H1_TO_END;
	h1_body_init(&h1->body, H1_TO_END, -1);
	h1->receive = H1_RECEIVE_BODY;
}

void h1_turn_over(struct h1 *h1)
{
	struct stream *stream = h1->stream;
	if (!stream || stream->user || !stream->over)
		return;
	bool skipping = !stream->receive_done && h1->receive != H1_RECEIVE_NOTHING;
	if (skipping && h1->keep_alive && !h1->codec.finished)
		return;  // the unwanted rest of the body lies before the next request
	// It may still be on its way: a reset in reply to it would take the answer from the
	// client's hands.
	h1->codec.lingering |= h1->codec.server && !stream->receive_done;
	stream_free(h1);
	h1->messages++;
	if (h1->codec.server ? !h1->keep_alive : (!h1->keep_alive || h1->codec.shutting_down)) {
		h1->codec.finished = true;
		h1->receive = H1_RECEIVE_NOTHING;
	} else if (h1->receive == H1_RECEIVE_MESSAGE_DONE) {
		h1->receive = H1_RECEIVE_HEAD;
	}
	h1->codec.events->dirty(&h1->codec);
}

static void h1_pull(struct codec *codec, size_t mark)
{
	struct h1 *h1 = h1_of(codec);
	for (;;) {
		if (h1->stream) {
			h1->asked |= h1->stream->head_sent;
			h1_send_body(h1, mark);
		}
		h1_turn_over(h1);
		const struct stream *stream = h1->stream;
		size_t pending = buffer_len(&h1->in);
		if (!codec->server || !pending || buffer_len(codec->out) >= mark)
			break;
		h1_process(h1, buffer_str(&h1->in), true);
		if (h1->stream == stream && buffer_len(&h1->in) == pending)
			break;
	}
}

static bool h1_wants_bytes(const struct codec *codec)
{
	const struct h1 *h1 = CONTAINER_OF(codec, const struct h1, codec);
	return h1->held < BODY_HIGH &&
	       buffer_len(&h1->in) < H1_PENDING_MAX + codec->limits.header_bytes;
}

static struct stream *h1_open(struct codec *codec)
{
	struct h1 *h1 = h1_of(codec);
	if (h1->stream || codec->finished || codec->shutting_down)
		return NULL;
	h1_stream_begin(h1);
	h1->receive = H1_RECEIVE_HEAD;
	return h1->stream;
}

static size_t h1_room(const struct codec *codec)
{
	const struct h1 *h1 = CONTAINER_OF(codec, const struct h1, codec);
	return h1->stream || codec->finished || codec->shutting_down ? 0 : 1;
}

static void h1_wake(struct stream *stream)
{
	stream->codec->events->dirty(stream->codec);
}

static void h1_credit(struct stream *stream, size_t count)
{
	struct h1 *h1 = h1_of(stream->codec);
	h1->held -= count < h1->held ? count : h1->held;
	if (h1->held < BODY_LOW)
		stream->codec->events->dirty(stream->codec);
}

static void h1_reset(struct stream *stream, enum stream_abort why)
{
	struct h1 *h1 = h1_of(stream->codec);
	(void)why;
	if (stream->over)
		return;
	h1_cut(h1);
	stream->over = true;
	h1->receive = H1_RECEIVE_NOTHING;
	h1->keep_alive = false;
	h1->codec.finished = true;
	h1->codec.events->dirty(&h1->codec);
}

static void h1_release(struct stream *stream)
{
	struct h1 *h1 = h1_of(stream->codec);
	stream->user = NULL;
	stream->source = NULL;
	h1->held = 0;
	if (h1->codec.server ? !stream->send_done : !(stream->receive_done && stream->send_done))
		h1_reset(stream, ABORT_CANCELLED);
	stream->over = true;
	if (h1->receive == H1_RECEIVE_BODY)
		h1->receive = H1_RECEIVE_DISCARD;
	if (h1->receive == H1_RECEIVE_HELD)
		h1->receive = H1_RECEIVE_MESSAGE_DONE, stream->receive_done = true;
	h1->codec.events->dirty(&h1->codec);
}

// A client's next request may be under way already: it is answered, and told that it was the last.
static void h1_shutdown(struct codec *codec)
{
	struct h1 *h1 = h1_of(codec);
	bool again = codec->shutting_down;
	codec->shutting_down = true;
	if (!h1->stream && !buffer_len(&h1->in) && (!codec->server || again))
		codec->finished = true;
	codec->events->dirty(codec);
}

static void h1_free(struct codec *codec)
{
	struct h1 *h1 = h1_of(codec);
	CHECK(!h1->stream || !h1->stream->user);
	if (h1->stream)
		stream_free(h1);
	buffer_fini(&h1->in);
	free(h1);
}

static void h1_fail(struct codec *codec, enum stream_abort why)
{
	struct h1 *h1 = h1_of(codec);
	h1_fail_stream(h1, !codec->server && why == ABORT_CLOSED ? h1_answer_lost(h1) : why);
	h1_turn_over(h1);
}

static const struct codec_ops ops = {
        .feed = h1_feed,
        .feed_end = h1_feed_end,
        .pull = h1_pull,
        .wants_bytes = h1_wants_bytes,
        .open = h1_open,
        .room = h1_room,
        .send_head = h1_send_head,
        .wake = h1_wake,
        .credit = h1_credit,
        .reset = h1_reset,
        .release = h1_release,
        .fail = h1_fail,
        .stall = h1_stall,
        .shutdown = h1_shutdown,
        .free = h1_free,
};

struct codec *h1_new(bool server, const struct codec_events *events, void *owner,
        struct buffer *out, const struct codec_limits *limits)
{
	struct h1 *h1 = must_alloc(sizeof(*h1));
	h1->codec.ops = &ops;
	h1->codec.events = events;
	h1->codec.owner = owner;
	h1->codec.out = out;
	h1->codec.limits = *limits;
	h1->codec.server = server;
	h1->keep_alive = true;
	list_init(&h1->codec.streams);
	return &h1->codec;
}
