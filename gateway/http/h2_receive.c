#include "gateway/http/grpc.h"
#include "gateway/http/h2.h"

static struct h2_stream *stream_of(nghttp2_session *session, int32_t id)
{
	return nghttp2_session_get_stream_user_data(session, id);
}

// A stream that was skipped is closed for good (RFC 9113, 5.1.1); nghttp2 only ignores such a
// request. It remembers as many closed streams as may be open, so one that it does not know was
// never opened, or long ago.
static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *header, void *user)
{
	struct h2 *h2 = user;
	if (h2->codec.server && header->type == NGHTTP2_HEADERS &&
	        header->stream_id <= h2->last_id &&
	        !nghttp2_session_find_stream(session, header->stream_id))
		nghttp2_session_terminate_session(session, NGHTTP2_PROTOCOL_ERROR);
	return 0;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct h2 *h2 = user;
	if (frame->hd.type != NGHTTP2_HEADERS)
		return 0;
	struct h2_stream *own = stream_of(session, frame->hd.stream_id);
	if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
		own = h2_stream_new(h2, frame->hd.stream_id);
		h2->last_id = frame->hd.stream_id;
		nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, own);
		head_request(&own->stream.head);
		h2->codec.head_pending = (uint32_t)frame->hd.stream_id;
	}
	if (!own)
		return 0;
	own->header_bytes = own->header_count = 0;
	own->fault = NULL;
	own->too_large = own->white_ends = false;
	own->reading_trailers = own->final_head;
	if (!h2->codec.server && !own->reading_trailers)
		head_answer(&own->stream.head, 0);
	return 0;
}

// nghttp2 has checked that each stands once, first and well-formed (RFC 9113, 8.3).
static void take_pseudo(struct head *head, struct str name, struct str value)
{
	uint64_t status;
	if (str_eq(name, STR(":method")))
		head->method = value;
	else if (str_eq(name, STR(":path")))
		head->target = value;
	else if (str_eq(name, STR(":scheme")))
		head->scheme = value;
	else if (str_eq(name, STR(":authority")))
		head->authority = value;
	else if (str_eq(name, STR(":status")) && str_to_u64(value, 599, &status))
		head->status = (int)status;
}

static bool is_white(char byte)
{
	return byte == ' ' || byte == '\t';
}

// White space around a value is no part of it (RFC 9110, 5.5), but in grpc-message it is: servers
// of gRPC send it and clients keep it. Escaped it passes.
static struct str without_ends(struct h2_stream *own, struct str name, struct str value)
{
	if (!value.len || (!is_white(value.at[0]) && !is_white(value.at[value.len - 1])))
		return value;
	own->white_ends = true;
	return str_eq(name, STR("grpc-message"))
	               ? grpc_message_escape_ends(value, &own->stream.arena)
	               : str_trim(value);
}

// Of answers to gRPC calls it is tolerated; others are malformed (RFC 9113, 8.2.1).
static bool malformed(const struct h2_stream *own)
{
	return own->fault || (own->white_ends && !head_is_grpc(&own->stream.head));
}

// Of a head that is too large nothing is kept but whether it is a gRPC call: that says how to
// refuse it, and often stands last.
static bool kept_when_too_large(const struct h2_stream *own, struct str name, struct str value)
{
	enum { CONTENT_TYPE_MAX = 256 };
	return str_eq(name, STR("content-type")) && value.len <= CONTENT_TYPE_MAX &&
	       !own->reading_trailers && !fields_find(&own->stream.head.fields, name);
}

// Goes on decoding, HPACK's state is the connection's, but not without end.
static int over_limit(struct h2 *h2, struct h2_stream *own)
{
	own->too_large = true;
	if (own->header_bytes / H2_HEADER_BOMB <= h2->codec.limits.header_bytes ||
	        own->header_bytes <= H2_HEADER_BOMB_MIN || !h2->codec.server)
		return 0;
	h2->calm.lost = "a header list far over its limit";
	return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name_at,
        size_t name_len, const uint8_t *value_at, size_t value_len, uint8_t flags, void *user)
{
	struct h2 *h2 = user;
	struct h2_stream *own = stream_of(session, frame->hd.stream_id);
	struct str name = str_of((const char *)name_at, name_len);
	struct str value = str_of((const char *)value_at, value_len);
	(void)flags;
	if (!own)
		return 0;
	own->header_bytes += name_len + value_len + 32;
	own->header_count += *name_at != ':';
	if (own->header_bytes > h2->codec.limits.header_bytes ||
	        own->header_count > h2->codec.limits.header_fields) {
		int result = over_limit(h2, own);
		if (result || !kept_when_too_large(own, name, value))
			return result;
	}
	struct arena *arena = &own->stream.arena;
	name = arena_str(arena, name);
	value = arena_str(arena, value);
	if (!h2->codec.server)
		value = without_ends(own, name, value);
	if (*name.at == ':')
		take_pseudo(&own->stream.head, name, value);
	else if (!own->reading_trailers)
		fields_add(&own->stream.head.fields, arena, name, value);
	else if (!field_forbidden_in_trailers(name))
		fields_add(&own->trailers, arena, name, value);
	return 0;
}

// Left alone, nghttp2 would drop the field and pass the rest on.
static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame,
        const uint8_t *name, size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
        void *user)
{
	struct h2_stream *own = stream_of(session, frame->hd.stream_id);
	(void)name, (void)name_len, (void)value, (void)value_len, (void)flags, (void)user;
	if (own)
		own->fault = "an invalid header field";
	return 0;
}

// Cookie crumbs become one field again (RFC 9113, 8.2.3).
static void join_cookies(struct fields *fields, struct arena *arena)
{
	if (!fields_find(fields, STR("cookie")))
		return;
	struct str joined = fields_joined_with(fields, STR("cookie"), STR("; "), arena);
	fields_remove(fields, STR("cookie"));
	fields_add(fields, arena, STR("cookie"), joined);
}

static const char *take_length(struct head *head)
{
	uint64_t length;
	const struct field *field = fields_find(&head->fields, STR("content-length"));
	if (!field)
		return NULL;
	if (!str_to_u64(field->value, INT64_MAX, &length))
		return "content-length is not a number";
	head->content_length = (int64_t)length;
	fields_remove(&head->fields, STR("content-length"));
	return NULL;
}

// What nghttp2 leaves to us, and what would read differently once written down as HTTP/1.1.
static const char *request_fault(struct head *head, struct arena *arena)
{
	const struct field *host = fields_find(&head->fields, STR("host"));
	if (str_eq(head->method, STR("CONNECT")))
		return "CONNECT is not served";
	if (!field_name_valid(head->method))
		return ":method is no token";
	if (!str_eq(head->scheme, STR("https")) && !str_eq(head->scheme, STR("http")))
		return ":scheme is neither https nor http";
	if (host && head->authority.len && !str_eq_nocase(host->value, head->authority))
		return "host differs from :authority";
	if (host && head->authority.len == 0)
		head->authority = host->value;
	fields_remove(&head->fields, STR("host"));
	if (!authority_valid(head->authority))
		return ":authority is not valid";
	if (str_eq(head->target, STR("*")) ? !str_eq(head->method, STR("OPTIONS"))
	                                   : !target_valid(head->target))
		return ":path is not valid";
	struct str expect = fields_get(&head->fields, STR("expect"));
	head->expects_continue = str_eq_nocase(expect, STR("100-continue"));
	fields_remove(&head->fields, STR("expect"));
	join_cookies(&head->fields, arena);
	return take_length(head);
}

static void strip_hop(struct fields *fields)
{
	size_t kept = 0;
	for (size_t i = 0; i < fields->count; i++)
		if (!field_is_hop_by_hop(fields->items[i].name))
			fields->items[kept++] = fields->items[i];
	fields->count = kept;
}

static void request_received(struct h2 *h2, struct h2_stream *own, bool end)
{
	struct stream *stream = &own->stream;
	const char *why = own->fault ? own->fault : request_fault(&stream->head, &stream->arena);
	own->final_head = true;
	stream->receive_done = end;
	if (h2->codec.limits.refused && stream->id > 2 * H2_REFUSED_MAX) {
		h2_reset_with(own, NGHTTP2_REFUSED_STREAM);
	} else if (own->too_large) {
		h2->codec.events->faulty(
		        stream, REASON_request_too_large, 431, "the head is too large");
	} else if (why) {
		h2_reset_with(own, NGHTTP2_PROTOCOL_ERROR);
		h2->codec.events->faulty(stream, REASON_malformed_request, 0, why);
	} else {
		strip_hop(&stream->head.fields);
		h2->codec.events->head(stream, end);
	}
}

static void answer_received(struct h2 *h2, struct h2_stream *own, bool end)
{
	struct stream *stream = &own->stream;
	own->final_head = stream->head.status >= 200;
	h2->answered = true;
	if (malformed(own) || own->too_large || take_length(&stream->head) ||
	        stream->head.status < 100 || stream->head.status == 101 ||
	        (!own->final_head && ++own->interims > CODEC_INTERIMS_MAX)) {
		h2_reset_with(own, NGHTTP2_PROTOCOL_ERROR);
		h2_stream_over(h2, own, ABORT_BROKEN);
		return;
	}
	strip_hop(&stream->head.fields);
	stream->receive_done = end;
	if (stream->user)
		h2->codec.events->head(stream, end);
}

static void message_end(struct h2 *h2, struct h2_stream *own)
{
	own->stream.receive_done = true;
	if (own->stream.user && !own->reported)
		h2->codec.events->end(&own->stream, &own->trailers);
}

static void trailers_refused(struct h2 *h2, struct h2_stream *own)
{
	h2_reset_with(own, NGHTTP2_PROTOCOL_ERROR);
	if (!h2->codec.server)
		h2_stream_over(h2, own, ABORT_BROKEN);
	else if (!own->reported)
		h2->codec.events->faulty(&own->stream,
		        own->too_large ? REASON_request_too_large : REASON_malformed_request, 0,
		        own->too_large ? "the trailers are too large" : own->fault);
}

static void headers_received(struct h2 *h2, struct h2_stream *own, bool end)
{
	if (own->reset_sent)
		return;
	if (!own->reading_trailers && h2->codec.server)
		request_received(h2, own, end);
	else if (!own->reading_trailers)
		answer_received(h2, own, end);
	else if (malformed(own) || own->too_large)
		trailers_refused(h2, own);
	else if (end)
		message_end(h2, own);
}

// Requests that waited for the backend's limit and are above it would wait for others to end, which
// may be never: another connection takes them.
static void give_back_excess(struct h2 *h2)
{
	size_t counted = 0;
	LIST_EACH (&h2->codec.streams, node) {
		struct h2_stream *own = h2_stream_of(LIST_ITEM(node, struct stream, node));
		if (counted++ >= h2->codec.peer_streams && own->stream.id && !own->on_wire)
			h2_stream_over(h2, own, ABORT_UNPROCESSED);
	}
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct h2 *h2 = user;
	bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
	if (frame->hd.type == NGHTTP2_HEADERS)
		h2->codec.head_pending = 0;
	struct h2_stream *own = frame->hd.stream_id ? stream_of(session, frame->hd.stream_id)
	                                            : NULL;
	if (own && frame->hd.type == NGHTTP2_HEADERS)
		headers_received(h2, own, end);
	else if (own && frame->hd.type == NGHTTP2_DATA && end && !own->reset_sent)
		message_end(h2, own);
	if (frame->hd.type == NGHTTP2_SETTINGS && !(frame->hd.flags & NGHTTP2_FLAG_ACK)) {
		uint32_t most = nghttp2_session_get_remote_settings(
		        session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
		h2->codec.peer_streams = most ? most : 1;
		if (!h2->codec.server)
			give_back_excess(h2);
	}
	if (frame->hd.type == NGHTTP2_GOAWAY && !h2->codec.server)
		h2->codec.shutting_down = true;
	bool acked = frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK);
	if (acked && h2_early_acked(h2, frame->ping.opaque_data))
		return 0;
	// Our own ping comes back: every request sent before the notice has arrived (RFC
	// 9113, 6.8).
	if (acked && h2->codec.shutting_down && h2->codec.server && !h2->goaway_final) {
		h2->goaway_final = true;
		nghttp2_submit_goaway(session, NGHTTP2_FLAG_NONE,
		        nghttp2_session_get_last_proc_stream_id(session), NGHTTP2_NO_ERROR, NULL,
		        0);
	}
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *at,
        size_t len, void *user)
{
	struct h2 *h2 = user;
	struct h2_stream *own = stream_of(session, id);
	(void)flags;
	nghttp2_session_consume_connection(session, len);
	if (own && own->stream.user && !own->reset_sent && !own->reported)
		h2->codec.events->data(&own->stream, str_of((const char *)at, len));
	else if (!own || !list_linked(&own->early_node))
		nghttp2_session_consume_stream(session, id, len);
	return 0;
}

// nghttp2 found the frame wrong and resets the stream itself; the refusal still has to be told.
static int on_invalid_frame(
        nghttp2_session *session, const nghttp2_frame *frame, int error, void *user)
{
	struct h2 *h2 = user;
	struct h2_stream *own = frame->hd.stream_id ? stream_of(session, frame->hd.stream_id)
	                                            : NULL;
	// grpc-go says goodbye with a stream id of the wrong side: it is leaving, that is no
	// attack.
	if (frame->hd.type == NGHTTP2_GOAWAY)
		h2->violated = true;
	if (frame->hd.type == NGHTTP2_HEADERS)
		h2->codec.head_pending = 0;
	bool stream_error = error == NGHTTP2_ERR_HTTP_HEADER || error == NGHTTP2_ERR_HTTP_MESSAGING;
	if (!own || own->reset_sent || own->reported || !stream_error)
		return 0;
	own->reset_sent = true;
	if (h2->codec.server)
		h2->codec.events->faulty(
		        &own->stream, REASON_malformed_request, 0, nghttp2_strerror(error));
	else
		h2_stream_over(h2, own, ABORT_BROKEN);
	return 0;
}

static enum stream_abort abort_of(const struct h2 *h2, const struct h2_stream *own, uint32_t code)
{
	if (code == NGHTTP2_REFUSED_STREAM && !h2->codec.server && !own->final_head)
		return ABORT_UNPROCESSED;
	if (own->reset_sent && code == NGHTTP2_PROTOCOL_ERROR)
		return ABORT_BROKEN;
	return ABORT_CANCELLED;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
	struct h2 *h2 = user;
	struct h2_stream *own = stream_of(session, id);
	if (!own)
		return 0;
	own->closed = true;
	h2_stream_over(h2, own, abort_of(h2, own, code));
	return 0;
}

void h2_receive_callbacks(nghttp2_session_callbacks *callbacks)
{
	nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, on_invalid_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
}
