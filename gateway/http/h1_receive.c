#include "gateway/http/h1.h"

static void fail_request(struct h1 *h1, enum reason reason, int status, const char *why)
{
	h1->receive = H1_RECEIVE_NOTHING;
	h1->keep_alive = false;
	h1->codec.lingering = true;
	if (!h1->stream)
		h1_stream_begin(h1);
	buffer_clear(&h1->in);
	h1->codec.events->faulty(h1->stream, reason, status, why);
}

// The answer under way cannot be trusted any more; neither can the connection.
void h1_fail_stream(struct h1 *h1, enum stream_abort why)
{
	struct stream *stream = h1->stream;
	h1->receive = H1_RECEIVE_NOTHING;
	h1->codec.finished = true;
	buffer_clear(&h1->in);
	h1->codec.events->dirty(&h1->codec);
	if (!stream || stream->over)
		return;
	h1_cut(h1);
	stream->over = true;
	if (stream->user)
		h1->codec.events->aborted(stream, why);
}

static void fault(struct h1 *h1, enum reason reason, int status, const char *why)
{
	h1->codec.lingering |= h1->codec.server;
	if (h1->codec.server && h1->stream && h1->stream->over)
		h1_stop(h1);  // in a body nobody wants: its request is answered already
	else if (h1->codec.server)
		fail_request(h1, reason, status, why);
	else
		h1_fail_stream(h1, ABORT_BROKEN);
}

static void message_received(struct h1 *h1, const struct fields *trailers, bool announce)
{
	struct stream *stream = h1->stream;
	h1->receive = H1_RECEIVE_MESSAGE_DONE;
	stream->receive_done = true;
	if (announce && stream->user)
		h1->codec.events->end(stream, trailers);
}

static void request_begins(struct h1 *h1, struct str block)
{
	struct h1_limits limits = {h1->codec.limits.header_bytes, h1->codec.limits.header_fields};
	struct h1_head parsed;
	h1_stream_begin(h1);
	struct stream *stream = h1->stream;
	bool good = h1_request_parse(block, &limits, &stream->arena, &parsed);
	stream->head = parsed.head;
	h1->to_head = str_eq(parsed.head.method, STR("HEAD"));
	h1->peer_1_0 = parsed.http_1_0;
	h1->keep_alive = parsed.keep_alive;
	if (!good) {
		enum reason reason = parsed.fault_status == 431 ? REASON_request_too_large
		                                                : REASON_malformed_request;
		fail_request(h1, reason, parsed.fault_status, parsed.fault);
		return;
	}
	h1->awaits_continue = parsed.head.expects_continue;
	h1->upgrading = parsed.head.websocket;
	h1_body_init(&h1->body, parsed.framing, parsed.head.content_length);
	bool end = parsed.framing == H1_NO_BODY && !h1->upgrading;
	h1->receive = end             ? H1_RECEIVE_MESSAGE_DONE
	              : h1->upgrading ? H1_RECEIVE_HELD
	                              : H1_RECEIVE_BODY;
	stream->receive_done = end;
	if (h1->codec.limits.refused)
		h1->receive = H1_RECEIVE_NOTHING;
	h1->codec.events->head(stream, end);
}

// Two answers, or a body longer than its length: which of it is the answer nobody can know. A line
// end behind a body, and a body where there can be none, are merely careless: they only cost the
// connection.
static bool contradicts(const struct h1 *h1, struct str rest, bool had_body)
{
	if (h1->codec.server || !rest.len)
		return false;
	return had_body ? *rest.at != '\r' && *rest.at != '\n' : str_starts(rest, STR("HTTP/"));
}

static void answer_begins(struct h1 *h1, struct str block, struct str rest)
{
	struct h1_limits limits = {h1->codec.limits.header_bytes, h1->codec.limits.header_fields};
	struct h1_head parsed;
	struct stream *stream = h1->stream;
	if (!stream || !stream->head_sent) {
		h1_fail_stream(h1, ABORT_BROKEN);  // an answer nobody asked for
		return;
	}
	if (!h1_answer_parse(block, &limits, h1->to_head, &stream->arena, &parsed)) {
		h1_fail_stream(h1, ABORT_BROKEN);
		return;
	}
	int status = parsed.head.status;
	if (status == 101 && (!h1->upgrading || !parsed.head.websocket)) {
		h1_fail_stream(h1, ABORT_BROKEN);  // an upgrade nobody asked for
		return;
	}
	stream->head = parsed.head;
	if (status == 101) {
		h1_tunnel(h1);
		h1->codec.events->head(stream, false);
		h1->codec.events->dirty(&h1->codec);
		return;
	}
	if (status < 200) {
		if (++h1->interims > CODEC_INTERIMS_MAX)
			h1_fail_stream(h1, ABORT_BROKEN);
		else
			h1->codec.events->head(stream, false);
		return;
	}
	if (parsed.framing == H1_NO_BODY && contradicts(h1, rest, false)) {
		h1_fail_stream(h1, ABORT_BROKEN);
		return;
	}
	if (h1->upgrading) {  // declined: the request was whole without a body
		h1->upgrading = false;
		stream->send_done = true;
	}
	h1->keep_alive = parsed.keep_alive;
	h1_body_init(&h1->body, parsed.framing, parsed.head.content_length);
	bool end = parsed.framing == H1_NO_BODY;
	h1->receive = end ? H1_RECEIVE_MESSAGE_DONE : H1_RECEIVE_BODY;
	stream->receive_done = end;
	h1->codec.events->head(stream, end);
}

// One empty line before a request is left over from the last one's body by careless clients (RFC
// 9112, 2.2).
static void forgive_blank_line(struct h1 *h1, struct str *bytes)
{
	if (bytes->len < 2)
		return;
	if (bytes->at[1] == '\n') {
		*bytes = str_skip(*bytes, 2);
		h1->blank_line = true;
	} else {
		fault(h1, REASON_malformed_request, 400, "a bare CR before the request");
	}
}

static void receive_head(struct h1 *h1, struct str *bytes)
{
	size_t len = 0, most = h1->codec.limits.header_bytes;
	const char *why = NULL;
	if (h1->scanner.scanned == 0 && bytes->at[0] == '\r' && h1->codec.server &&
	        !h1->blank_line) {
		forgive_blank_line(h1, bytes);
		return;
	}
	if (h1->scanner.scanned == 0 && !field_name_valid(str_of(bytes->at, 1))) {
		fault(h1, REASON_malformed_request, 400, "not HTTP");
		return;
	}
	struct str allowed = str_of(bytes->at, bytes->len < most ? bytes->len : most);
	enum h1_scan scan = h1_scan(&h1->scanner, allowed, &len, &why);
	if (scan == H1_SCAN_FAULTY) {
		fault(h1, REASON_malformed_request, 400, why);
	} else if (scan == H1_SCAN_WHOLE) {
		struct str block = str_of(bytes->at, len);
		*bytes = str_skip(*bytes, len);
		h1->scanner = (struct h1_scanner){0};
		if (h1->codec.server)
			request_begins(h1, block);
		else
			answer_begins(h1, block, *bytes);
	} else if (bytes->len > most) {
		fault(h1, REASON_request_too_large, 431, "the head is too large");
	}
}

static void receive_trailers(struct h1 *h1, struct str *bytes)
{
	struct h1_limits limits = {h1->codec.limits.header_bytes, h1->codec.limits.header_fields};
	struct fields trailers;
	size_t len = 0;
	const char *why;
	struct str allowed = str_of(
	        bytes->at, bytes->len < limits.bytes ? bytes->len : limits.bytes);
	enum h1_scan scan = h1_scan(&h1->body.scanner, allowed, &len, &why);
	if (scan == H1_SCAN_MORE && bytes->len <= limits.bytes)
		return;
	if (scan == H1_SCAN_MORE) {
		fault(h1, REASON_request_too_large, 431, "the trailers are too large");
		return;
	}
	if (scan != H1_SCAN_WHOLE || !h1_trailers_parse(str_of(bytes->at, len), &limits,
	                                     &h1->stream->arena, &trailers)) {
		fault(h1, REASON_malformed_request, 400,
		        scan == H1_SCAN_WHOLE ? "malformed trailers" : why);
		return;
	}
	*bytes = str_skip(*bytes, len);
	if (contradicts(h1, *bytes, true)) {
		h1_fail_stream(h1, ABORT_BROKEN);
		return;
	}
	bool wanted = h1->receive == H1_RECEIVE_BODY;
	h1_body_trailers_end(&h1->body);
	message_received(h1, &trailers, wanted);
}

static void receive_body(struct h1 *h1, struct str *bytes)
{
	static const struct fields none = {0};
	struct str data;
	bool wanted = h1->receive == H1_RECEIVE_BODY;
	h1->awaits_continue = false;  // it did not wait
	h1_body_next(&h1->body, bytes, &data);
	if (h1->body.state == H1_BODY_WHOLE && contradicts(h1, *bytes, true)) {
		h1_fail_stream(h1, ABORT_BROKEN);
		return;
	}
	if (data.len && wanted && h1->stream->user) {
		h1->held += data.len;
		h1->codec.events->data(h1->stream, data);
	} else if (data.len) {
		h1->discarded += data.len;
	}
	// The event may have changed everything: a refusal stops the reading.
	if (h1->receive != H1_RECEIVE_BODY && h1->receive != H1_RECEIVE_DISCARD)
		return;
	if (h1->body.state == H1_BODY_FAULTY)
		fault(h1, REASON_malformed_request, 400, h1->body.fault);
	else if (h1->body.state == H1_BODY_WHOLE)
		message_received(h1, &none, wanted);
	else if (h1->body.state == H1_BODY_TRAILERS)
		receive_trailers(h1, bytes);
	else if (h1->discarded > H1_DISCARD_MAX) {
		h1->codec.lingering = true;
		h1_stop(h1);
	}
}

static bool can_advance(const struct h1 *h1, struct str bytes)
{
	switch (h1->receive) {
	case H1_RECEIVE_HEAD:
		return bytes.len && (!h1->codec.server || !h1->stream) && !h1->codec.finished;
	case H1_RECEIVE_BODY:
	case H1_RECEIVE_DISCARD:
		return bytes.len > 0;
	case H1_RECEIVE_HELD:
	case H1_RECEIVE_MESSAGE_DONE:
	case H1_RECEIVE_NOTHING:
		return false;
	}
	return false;
}

void h1_process(struct h1 *h1, struct str bytes, bool kept)
{
	while (can_advance(h1, bytes)) {
		size_t before = bytes.len;
		enum h1_receive state = h1->receive;
		if (state == H1_RECEIVE_HEAD)
			receive_head(h1, &bytes);
		else
			receive_body(h1, &bytes);
		h1_turn_over(h1);
		if (bytes.len == before && h1->receive == state)
			break;
	}
	if (!h1->codec.server && bytes.len && h1->receive == H1_RECEIVE_MESSAGE_DONE)
		h1->keep_alive = false;  // a second answer to one request: this connection is not
		                         // to be trusted
	if (h1->receive == H1_RECEIVE_NOTHING || bytes.len == 0) {
		buffer_clear(&h1->in);
		if (h1->receive == H1_RECEIVE_HEAD && h1->in.capacity)
			buffer_fini(&h1->in);  // idle connections hold no buffer
	} else if (kept) {
		buffer_take(&h1->in, buffer_len(&h1->in) - bytes.len);
	} else {
		buffer_append_str(&h1->in, bytes);
	}
	h1->codec.head_pending = h1->codec.server && !h1->stream && buffer_len(&h1->in);
}

void h1_feed(struct codec *codec, struct str bytes)
{
	struct h1 *h1 = h1_of(codec);
	if (h1->receive == H1_RECEIVE_NOTHING || bytes.len == 0)
		return;
	if (!codec->server && (!h1->stream || !h1->asked)) {
		h1_fail_stream(
		        h1, ABORT_UNPROCESSED);  // bytes from a backend that was asked nothing yet
		h1_turn_over(h1);
		return;
	}
	h1->got_bytes = true;
	bool kept = buffer_len(&h1->in) > 0;
	if (kept) {
		buffer_append_str(&h1->in, bytes);
		bytes = buffer_str(&h1->in);
	}
	h1_process(h1, bytes, kept);
	h1_turn_over(h1);
	if (!codec->server && !h1->stream && buffer_len(&h1->in))
		h1_stop(h1);  // more than the answer
}

enum stream_abort h1_answer_lost(const struct h1 *h1)
{
	if (!h1->stream || !h1->stream->head_sent)
		return ABORT_UNPROCESSED;
	return h1->got_bytes || h1->messages == 0 ? ABORT_CLOSED : ABORT_UNANSWERED;
}

static void client_ended(struct h1 *h1)
{
	static const struct fields none = {0};
	struct stream *stream = h1->stream;
	h1->codec.finished = true;
	if (!stream || stream->over)
		return;
	if (h1->receive == H1_RECEIVE_BODY && h1->body.framing == H1_TO_END) {
		message_received(h1, &none, true);
		return;
	}
	if (h1->receive == H1_RECEIVE_MESSAGE_DONE)
		return;
	h1_fail_stream(h1, h1_answer_lost(h1));
}

static void server_ended(struct h1 *h1)
{
	static const struct fields none = {0};
	struct stream *stream = h1->stream;
	h1->keep_alive = false;
	if (!stream) {
		h1_stop(h1);
	} else if (h1->receive == H1_RECEIVE_BODY && h1->body.framing == H1_TO_END) {
		message_received(h1, &none, true);
	} else {
		// A half-closed client cannot be told from one that left; either way its request
		// ends here.
		h1->receive = H1_RECEIVE_NOTHING;
		h1->codec.finished = true;
		if (!stream->over) {
			h1_cut(h1);
			stream->over = true;
			if (stream->user)
				h1->codec.events->aborted(stream, ABORT_CANCELLED);
		}
	}
}

void h1_feed_end(struct codec *codec)
{
	struct h1 *h1 = h1_of(codec);
	if (h1->peer_ended)
		return;
	h1->peer_ended = true;
	if (codec->server)
		server_ended(h1);
	else
		client_ended(h1);
	h1_turn_over(h1);
	codec->events->dirty(codec);
}

void h1_stall(struct codec *codec, const char *why)
{
	struct h1 *h1 = h1_of(codec);
	codec->head_pending = 0;
	if (!h1->stream)
		fail_request(h1, REASON_request_timeout, 408, why);
}
