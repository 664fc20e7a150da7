#include "gateway/http/h2.h"

#include <stdio.h>

enum { FRAME_HEADER = 9 };  // RFC 9113, 4.1

// Says how much there is; send_data takes it, right after.
static ssize_t read_source(nghttp2_session *session, int32_t id, uint8_t *out, size_t capacity,
        uint32_t *flags, nghttp2_data_source *from, void *user)
{
	struct h2_stream *stream = from->ptr;
	struct body *source = stream->stream.source;
	(void)user, (void)out;
	size_t len = source ? body_ready(source) : 0;
	if (len > capacity)
		len = capacity;
	// None yet; or none any more, and its reset is queued.
	if (!source || (len == 0 && !body_done(source))) {
		stream->deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
	if (!source->ended || len < buffer_len(&source->bytes))
		return (ssize_t)len;
	*flags |= NGHTTP2_DATA_FLAG_EOF;
	if (source->trailers.count) {
		nghttp2_nv *pairs = arena_alloc(
		        &stream->stream.arena, source->trailers.count * sizeof(*pairs));
		for (size_t i = 0; i < source->trailers.count; i++) {
			struct field *field = &source->trailers.items[i];
			pairs[i] = (nghttp2_nv){(uint8_t *)field->name.at,
			        (uint8_t *)field->value.at, field->name.len, field->value.len,
			        NGHTTP2_NV_FLAG_NONE};
		}
		*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
		if (nghttp2_submit_trailer(session, id, pairs, source->trailers.count) != 0)
			return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	}
	return (ssize_t)len;
}

// From the body to where it leaves, without a stop in nghttp2's frame buffer. The mark is looked at
// here, since nghttp2 goes on from frame to frame.
static int send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *header,
        size_t len, nghttp2_data_source *from, void *user)
{
	struct h2 *h2 = user;
	struct h2_stream *stream = from->ptr;
	struct body *source = stream->stream.source;
	struct buffer *out = h2->codec.out;
	(void)session, (void)frame;  // no padding: nobody asked for any
	// Room for all that will follow, not frame by frame.
	size_t rest = len ? body_ready(source) - len : 0;
	char *room = buffer_room(out, FRAME_HEADER + len + (rest < h2->mark ? rest : h2->mark));
	memcpy(room, header, FRAME_HEADER);
	if (len)
		memcpy(room + FRAME_HEADER, buffer_data(&source->bytes), len);
	buffer_added(out, FRAME_HEADER + len);
	if (len)
		body_take(source, len);
	return buffer_len(out) < h2->mark ? 0 : NGHTTP2_ERR_PAUSE;
}

struct pairs {
	nghttp2_nv *items;
	size_t count;
};

// What has another value each time would only push the rest out of the peer's table (RFC 7541,
// 4.4).
static bool is_new_each_time(struct str name)
{
	static const struct str names[] = {{"x-request-id", 12}, {"traceparent", 11},
	        {"grpc-timeout", 12}, {"grpc-retry-pushback-ms", 22}};
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (str_eq(name, names[i]))
			return true;
	return false;
}

static void add_pair(struct pairs *pairs, struct str name, struct str value)
{
	uint8_t flags = is_new_each_time(name) ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE;
	pairs->items[pairs->count++] = (nghttp2_nv){
	        (uint8_t *)name.at, (uint8_t *)value.at, name.len, value.len, flags};
}

static struct pairs pairs_of(struct stream *stream, const struct head *head)
{
	struct arena *arena = &stream->arena;
	struct pairs pairs = {
	        .items = arena_alloc(arena, (head->fields.count + 5) * sizeof(nghttp2_nv))};
	if (stream->codec->server) {
		add_pair(&pairs, STR(":status"), arena_digits(arena, (uint64_t)head->status));
	} else {
		add_pair(&pairs, STR(":method"), head->method);
		add_pair(&pairs, STR(":scheme"), head->scheme);
		add_pair(&pairs, STR(":authority"), head->authority);
		add_pair(&pairs, STR(":path"), head->target);
	}
	for (size_t i = 0; i < head->fields.count; i++)
		add_pair(&pairs, head->fields.items[i].name, head->fields.items[i].value);
	if (head->content_length >= 0)
		add_pair(&pairs, STR("content-length"),
		        arena_digits(arena, (uint64_t)head->content_length));
	return pairs;
}

void h2_send_head(struct stream *stream, const struct head *head, bool end)
{
	struct h2_stream *own = h2_stream_of(stream);
	struct h2 *h2 = h2_of(stream->codec);
	if (own->closed || own->reset_sent)
		return;
	CHECK(!stream->head_sent);
	struct pairs pairs = pairs_of(stream, head);
	nghttp2_data_provider provider = {.source.ptr = own, .read_callback = read_source};
	nghttp2_data_provider *body = end ? NULL : &provider;
	bool interim = stream->codec->server && head->status < 200;
	int result;
	if (interim) {
		result = nghttp2_submit_headers(h2->session, NGHTTP2_FLAG_NONE, stream->id, NULL,
		        pairs.items, pairs.count, NULL);
	} else if (stream->codec->server) {
		result = nghttp2_submit_response(
		        h2->session, stream->id, pairs.items, pairs.count, body);
	} else {
		result = nghttp2_submit_request(
		        h2->session, NULL, pairs.items, pairs.count, body, own);
		if (result > 0)
			stream->id = result;
		// The last there is (RFC 9113, 5.1.1): others need a new connection.
		stream->codec->shutting_down |= result == INT32_MAX;
	}
	stream->head_sent = !interim;
	if (result < 0)
		h2_stream_over(h2, own, ABORT_UNPROCESSED);
	stream->codec->events->dirty(stream->codec);
}

void h2_wake(struct stream *stream)
{
	struct h2_stream *own = h2_stream_of(stream);
	if (own->closed)
		return;
	if (own->deferred) {
		own->deferred = false;
		nghttp2_session_resume_data(h2_of(stream->codec)->session, stream->id);
	}
	stream->codec->events->dirty(stream->codec);
}

// What nghttp2 finds wrong with a stream's DATA or window it resets without a word to us; the
// refusal still has to be told.
static void tell_of_reset(struct h2 *h2, struct h2_stream *own, uint32_t code)
{
	if (own->reset_sent || own->reported || !h2->codec.server)
		return;
	own->reset_sent = true;
	if (code == NGHTTP2_PROTOCOL_ERROR)
		h2->codec.events->faulty(&own->stream, REASON_malformed_request, 0,
		        "the body is not as long as content-length says");
	else if (code == NGHTTP2_FLOW_CONTROL_ERROR || code == NGHTTP2_STREAM_CLOSED)
		h2->codec.events->faulty(
		        &own->stream, REASON_protocol_violation, 0, nghttp2_http2_strerror(code));
}

// What the client made us do (resets for its faults, CVE-2025-8671), and what it was served
// meanwhile.
static void weigh(struct h2 *h2, const nghttp2_frame *frame, const struct h2_stream *own)
{
	uint32_t code = frame->hd.type == NGHTTP2_RST_STREAM ? frame->rst_stream.error_code
	                                                     : NGHTTP2_NO_ERROR;
	bool our_own = code == NGHTTP2_NO_ERROR || code == NGHTTP2_CANCEL ||
	               code == NGHTTP2_INTERNAL_ERROR || code == NGHTTP2_ENHANCE_YOUR_CALM;
	if (!our_own)
		h2_calm_spend(&h2->calm,
		        code == NGHTTP2_REFUSED_STREAM ? H2_PRICE_REFUSED : H2_PRICE_RESET);
	if (frame->hd.type == NGHTTP2_DATA && frame->hd.length)
		h2_calm_reward(&h2->calm, H2_REWARD_CONTENT);
	bool message = frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS;
	if (!message || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		return;
	if (own && own->stream.wasted)
		h2_calm_spend(&h2->calm, H2_PRICE_RESET);
	else
		h2_calm_reward(&h2->calm, H2_REWARD_ANSWER);
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct h2 *h2 = user;
	struct h2_stream *own = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	if (h2->codec.server)
		weigh(h2, frame, own);
	if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR &&
	        !h2->violated) {
		// nghttp2 puts its words into the debug data of the frame.
		char why[160];
		snprintf(why, sizeof(why), "%s: %.*s",
		        nghttp2_http2_strerror(frame->goaway.error_code),
		        (int)frame->goaway.opaque_data_len,
		        frame->goaway.opaque_data ? (const char *)frame->goaway.opaque_data : "");
		h2->violated = h2->codec.broken = true;
		h2->codec.events->violated(&h2->codec, REASON_protocol_violation, why);
	}
	if (own && frame->hd.type == NGHTTP2_RST_STREAM) {
		tell_of_reset(h2, own, frame->rst_stream.error_code);
		own->reset_sent = true;
	}
	if (own && frame->hd.type == NGHTTP2_HEADERS)
		own->on_wire = h2->asked = true;
	bool ends = (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) &&
	            (frame->hd.flags & NGHTTP2_FLAG_END_STREAM);
	if (!own || !ends)
		return 0;
	own->stream.send_done = true;
	if (own->stream.user && !own->aborted)
		h2->codec.events->sent(&own->stream);
	return 0;
}

// A request that never left: the connection ended or said GOAWAY first.
static int on_frame_not_send(
        nghttp2_session *session, const nghttp2_frame *frame, int error, void *user)
{
	struct h2 *h2 = user;
	(void)error;
	if (frame->hd.type != NGHTTP2_HEADERS || h2->codec.server)
		return 0;
	struct h2_stream *own = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	if (!own)
		return 0;
	own->closed = true;  // never opened on the wire: a reset for it would be an error of ours
	h2_stream_over(h2, own, ABORT_UNPROCESSED);
	return 0;
}

void h2_send_callbacks(nghttp2_session_callbacks *callbacks)
{
	nghttp2_session_callbacks_set_send_data_callback(callbacks, send_data);
	nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
	nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, on_frame_not_send);
}
