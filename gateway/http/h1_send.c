#include "base/digits.h"
#include "gateway/http/h1.h"

// Reason phrases are optional (RFC 9112, 4) but people read them in traces.
static const char *reason_phrase(int status)
{
	static const char *const phrases[] = {
	        [100] = "Continue",
	        [101] = "Switching Protocols",
	        [103] = "Early Hints",
	        [200] = "OK",
	        [201] = "Created",
	        [202] = "Accepted",
	        [204] = "No Content",
	        [206] = "Partial Content",
	        [301] = "Moved Permanently",
	        [302] = "Found",
	        [303] = "See Other",
	        [304] = "Not Modified",
	        [307] = "Temporary Redirect",
	        [308] = "Permanent Redirect",
	        [400] = "Bad Request",
	        [401] = "Unauthorized",
	        [403] = "Forbidden",
	        [404] = "Not Found",
	        [405] = "Method Not Allowed",
	        [408] = "Request Timeout",
	        [409] = "Conflict",
	        [413] = "Content Too Large",
	        [417] = "Expectation Failed",
	        [429] = "Too Many Requests",
	        [431] = "Request Header Fields Too Large",
	        [500] = "Internal Server Error",
	        [501] = "Not Implemented",
	        [502] = "Bad Gateway",
	        [503] = "Service Unavailable",
	        [504] = "Gateway Timeout",
	};
	size_t row = (size_t)status;
	return row < ARRAY_LEN(phrases) && phrases[row] ? phrases[row] : "";
}

static void append_status_line(struct buffer *out, int status)
{
	char digits[DIGITS_MAX];
	struct str phrase = str_from(reason_phrase(status));
	char *room = buffer_room(out, strlen("HTTP/1.1 ") + DIGITS_MAX + phrase.len + 3),
	     *at = room;
	at = mempcpy(at, "HTTP/1.1 ", strlen("HTTP/1.1 "));
	at = mempcpy(at, digits, digits_decimal(digits, (uint64_t)status));
	*at++ = ' ';
	at = mempcpy(at, phrase.at, phrase.len);
	at = mempcpy(at, "\r\n", 2);
	buffer_added(out, (size_t)(at - room));
}

static void append_field(struct buffer *out, struct str name, struct str value)
{
	char *room = buffer_room(out, name.len + value.len + 4);
	memcpy(room, name.at, name.len);
	memcpy(room + name.len, ": ", 2);
	if (value.len)
		memcpy(room + name.len + 2, value.at, value.len);
	memcpy(room + name.len + 2 + value.len, "\r\n", 2);
	buffer_added(out, name.len + value.len + 4);
}

static void append_fields(struct buffer *out, const struct fields *fields)
{
	for (size_t i = 0; i < fields->count; i++)
		append_field(out, fields->items[i].name, fields->items[i].value);
}

// Decides how the body will be delimited and writes the field that says so.
static void frame(
        struct h1 *h1, const struct head *head, bool end, bool no_body, bool chunked_understood)
{
	struct buffer *out = h1->codec.out;
	bool length_known = head->content_length >= 0;
	if (length_known) {
		buffer_append_str(out, STR("content-length: "));
		buffer_append_digits(out, (uint64_t)head->content_length);
		buffer_append_str(out, STR("\r\n"));
	}
	if (no_body || end) {
		h1->send_framing = H1_NO_BODY;
		if (!length_known && !no_body)
			buffer_append_str(out, STR("content-length: 0\r\n"));
	} else if (length_known) {
		h1->send_framing = H1_LENGTH;
		h1->send_left = (uint64_t)head->content_length;
	} else if (chunked_understood) {
		h1->send_framing = H1_CHUNKED;
		buffer_append_str(out, STR("transfer-encoding: chunked\r\n"));
	} else {
		h1->send_framing = H1_TO_END;
		h1->keep_alive = false;
	}
}

static void send_interim(struct h1 *h1, const struct head *head)
{
	if (h1->peer_1_0)
		return;  // HTTP/1.0 knows none (RFC 9110, 15.2)
	h1->awaits_continue &= head->status != 100;
	append_status_line(h1->codec.out, head->status);
	append_fields(h1->codec.out, &head->fields);
	buffer_append_str(h1->codec.out, STR("\r\n"));
}

// The answer is whole, and so much of the request is still to come that it will not be read.
static bool leaves_too_much(const struct h1 *h1)
{
	const struct stream *stream = h1->stream;
	return stream->source && stream->source->ended && !stream->receive_done &&
	       h1->body.framing == H1_LENGTH && h1->body.left > H1_DISCARD_MAX;
}

static void send_answer(struct h1 *h1, const struct head *head, bool end)
{
	struct buffer *out = h1->codec.out;
	if (head->status < 200 && head->status != 101) {
		send_interim(h1, head);
		return;
	}
	append_status_line(out, head->status);
	append_fields(out, &head->fields);
	h1->stream->head_sent = true;
	if (head->status == 101) {
		buffer_append_str(out, STR("connection: upgrade\r\nupgrade: websocket\r\n\r\n"));
		h1_tunnel(h1);
		return;
	}
	// A client told to wait and answered without a 100 may send its body or not: only closing
	// is unambiguous. And one told that it was too slow is not waited for (RFC 9110, 15.5.9).
	if (h1->awaits_continue || h1->codec.shutting_down || h1->receive == H1_RECEIVE_NOTHING ||
	        h1->peer_ended || h1->codec.limits.refused || head->status == 408 ||
	        leaves_too_much(h1))
		h1->keep_alive = false;
	bool no_body = h1->to_head || head->status == 204 || head->status == 304;
	frame(h1, head, end, no_body, !h1->peer_1_0);
	if (!h1->keep_alive)
		buffer_append_str(out, STR("connection: close\r\n"));
	else if (h1->peer_1_0)
		buffer_append_str(out, STR("connection: keep-alive\r\n"));
	buffer_append_str(out, STR("\r\n"));
}

static bool method_expects_body(struct str method)
{
	return str_eq(method, STR("POST")) || str_eq(method, STR("PUT")) ||
	       str_eq(method, STR("PATCH"));
}

static void send_request(struct h1 *h1, const struct head *head, bool end)
{
	struct buffer *out = h1->codec.out;
	buffer_append_str(out, head->method);
	buffer_append_str(out, STR(" "));
	buffer_append_str(out, head->target);
	buffer_append_str(out, STR(" HTTP/1.1\r\n"));
	append_field(out, STR("host"), head->authority);
	append_fields(out, &head->fields);
	h1->to_head = str_eq(head->method, STR("HEAD"));
	h1->upgrading = head->websocket;
	h1->stream->head_sent = true;
	if (head->websocket) {
		buffer_append_str(out, STR("connection: upgrade\r\nupgrade: websocket\r\n"));
		h1->send_framing = H1_NO_BODY;
	} else {
		frame(h1, head, end, end && !method_expects_body(head->method), true);
	}
	buffer_append_str(out, STR("\r\n"));
}

void h1_send_head(struct stream *stream, const struct head *head, bool end)
{
	struct h1 *h1 = h1_of(stream->codec);
	CHECK(h1->stream == stream && !stream->head_sent);
	if (stream->over)
		return;
	if (h1->codec.server)
		send_answer(h1, head, end);
	else
		send_request(h1, head, end);
	h1->codec.events->dirty(&h1->codec);
}

static void send_last_chunk(struct h1 *h1, const struct fields *trailers)
{
	buffer_append_str(h1->codec.out, STR("0\r\n"));
	append_fields(h1->codec.out, trailers);
	buffer_append_str(h1->codec.out, STR("\r\n"));
}

static void send_some(struct h1 *h1, struct body *source, size_t len)
{
	struct buffer *out = h1->codec.out;
	if (h1->send_framing == H1_CHUNKED) {
		char size[DIGITS_HEX];
		buffer_append(out, size, digits_hex(size, len));
		buffer_append_str(out, STR("\r\n"));
	}
	if (h1->send_framing == H1_NO_BODY)
		buffer_take(&source->bytes, len);
	else
		buffer_move(out, &source->bytes, len);
	if (h1->send_framing == H1_CHUNKED)
		buffer_append_str(out, STR("\r\n"));
	if (h1->send_framing == H1_LENGTH)
		h1->send_left -= len;
	body_credit(source, len);
}

// A body longer or shorter than the length announced cannot be mended: the message stays visibly
// unfinished.
static bool length_broken(const struct h1 *h1, const struct body *source)
{
	return h1->send_framing == H1_LENGTH &&
	       (buffer_len(&source->bytes) > h1->send_left || (body_done(source) && h1->send_left));
}

// The last byte waits for the word that nothing follows: a message with more DATA than its length
// (RFC 9113, 8.1.1) must not look whole first.
static size_t sendable(const struct h1 *h1, const struct body *source)
{
	size_t len = body_ready(source);
	bool last = h1->send_framing == H1_LENGTH && !source->ended && len == h1->send_left;
	return last && len ? len - 1 : len;
}

void h1_send_body(struct h1 *h1, size_t mark)
{
	struct stream *stream = h1->stream;
	struct body *source = stream->source;
	bool held_back = !h1->codec.server && h1->upgrading && h1->send_framing != H1_TO_END;
	if (!stream->head_sent || stream->send_done || stream->over || held_back)
		return;
	while (source && buffer_len(h1->codec.out) < mark && !length_broken(h1, source)) {
		size_t room = mark - buffer_len(h1->codec.out), len = sendable(h1, source);
		if (len == 0)
			break;
		send_some(h1, source, len < room ? len : room);
	}
	if (source && length_broken(h1, source)) {
		h1_stop(h1);
		return;
	}
	if (source ? !body_done(source) : h1->send_framing != H1_NO_BODY)
		return;
	if (h1->send_framing == H1_CHUNKED)
		send_last_chunk(h1, &source->trailers);
	stream->send_done = true;
	stream->codec->events->sent(stream);
}
