// HTTP/2 by hand: writes frames that no library would send, and reads what a codec says as lines of
// text. HPACK is written as literals without Huffman code and read with nghttp2's inflater.
// SETTINGS, PING and WINDOW_UPDATE are counted, not written down; the next that is said acks PINGs.
// Tests only.
#ifndef TESTS_GATEWAY_HTTP_H2_WIRE_H
#define TESTS_GATEWAY_HTTP_H2_WIRE_H

#include "tests/gateway/http/side.h"

enum { END_STREAM = NGHTTP2_FLAG_END_STREAM, END_HEADERS = NGHTTP2_FLAG_END_HEADERS };

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

static inline void put_u32(struct buffer *out, uint32_t value, unsigned bytes)
{
	while (bytes--)
		buffer_append(out, &(char){(char)(value >> (8 * bytes))}, 1);
}

static inline void put_frame(
        struct buffer *out, uint8_t type, uint8_t flags, uint32_t stream, struct str payload)
{
	put_u32(out, (uint32_t)payload.len, 3);
	put_u32(out, type, 1);
	put_u32(out, flags, 1);
	put_u32(out, stream, 4);
	buffer_append_str(out, payload);
}

static inline void put_hpack_text(struct buffer *out, struct str text)
{
	if (text.len < 127) {
		put_u32(out, (uint32_t)text.len, 1);
	} else {
		put_u32(out, 127, 1);
		size_t rest = text.len - 127;
		for (; rest >= 128; rest >>= 7)
			put_u32(out, 128 | (rest & 127), 1);
		put_u32(out, (uint32_t)rest, 1);
	}
	buffer_append_str(out, text);
}

static inline void put_field(struct buffer *block, struct str name, struct str value)
{
	put_u32(block, 0, 1);
	put_hpack_text(block, name);
	put_hpack_text(block, value);
}

// "name: value" lines, each ended by '\n'; the first ": " behind the first byte divides.
static inline void put_lines(struct buffer *block, struct str lines)
{
	while (lines.len) {
		const char *end = str_find_byte(lines, '\n');
		struct str line = str_of(lines.at, (size_t)(end - lines.at)),
		           rest = str_skip(line, 1);
		const char *colon = line.at[0] == '|' ? line.at
		                                      : memmem(rest.at, rest.len, ": ", 2);
		assert_non_null(colon);
		bool nameless = line.at[0] == '|';  // "|value": an empty name
		struct str name = str_of(line.at, nameless ? 0 : (size_t)(colon - line.at));
		put_field(block, name, str_skip(line, nameless ? 1 : name.len + 2));
		lines = str_skip(lines, line.len + 1);
	}
}

static inline void put_headers(struct buffer *out, uint32_t stream, uint8_t flags, struct str lines)
{
	struct buffer block = {0};
	put_lines(&block, lines);
	put_frame(out, NGHTTP2_HEADERS, flags | END_HEADERS, stream, buffer_str(&block));
	buffer_fini(&block);
}

static inline void put_data(struct buffer *out, uint32_t stream, uint8_t flags, const char *text)
{
	put_frame(out, NGHTTP2_DATA, flags, stream, str_from(text));
}

static inline void put_code(struct buffer *out, uint8_t type, uint32_t stream, uint32_t value)
{
	struct buffer payload = {0};
	put_u32(&payload, value, 4);
	put_frame(out, type, 0, stream, buffer_str(&payload));
	buffer_fini(&payload);
}

static inline void put_goaway(struct buffer *out, uint32_t last, uint32_t code)
{
	struct buffer payload = {0};
	put_u32(&payload, last, 4);
	put_u32(&payload, code, 4);
	put_frame(out, NGHTTP2_GOAWAY, 0, 0, buffer_str(&payload));
	buffer_fini(&payload);
}

static inline void put_setting(struct buffer *out, uint32_t id, uint32_t value)
{
	struct buffer payload = {0};
	put_u32(&payload, id, 2);
	put_u32(&payload, value, 4);
	put_frame(out, NGHTTP2_SETTINGS, 0, 0, buffer_str(&payload));
	buffer_fini(&payload);
}

// What a codec under test says, seen from the other end of the wire.
struct wire {
	struct side *side;
	struct buffer say;  // to be fed
	struct buffer log;
	nghttp2_hd_inflater *inflater;
	bool prefaced;
	size_t window_updates[8];  // added up, by stream; beyond the seventh in the last
	size_t data[8];
	unsigned settings, pings, pongs;
};

static inline void wire_open(struct wire *wire, struct side *side)
{
	*wire = (struct wire){.side = side, .prefaced = side->codec->server};
	assert_int_equal(nghttp2_hd_inflate_new(&wire->inflater), 0);
	if (side->codec->server)
		buffer_append_str(&wire->say, STR(PREFACE));
	put_frame(&wire->say, NGHTTP2_SETTINGS, 0, 0, STR(""));
}

static inline void wire_close(struct wire *wire)
{
	nghttp2_hd_inflate_del(wire->inflater);
	buffer_fini(&wire->say);
	buffer_fini(&wire->log);
}

static inline void read_header_block(struct wire *wire, struct str block)
{
	for (const char *before = "{";;) {
		nghttp2_nv pair;
		int flags = 0;
		ssize_t len = nghttp2_hd_inflate_hd2(
		        wire->inflater, &pair, &flags, (const uint8_t *)block.at, block.len, 1);
		assert_true(len >= 0);
		block = str_skip(block, (size_t)len);
		if (flags & NGHTTP2_HD_INFLATE_EMIT) {
			buffer_append_str(&wire->log, str_from(before));
			write_text(&wire->log, str_of((char *)pair.name, pair.namelen));
			buffer_append_str(&wire->log, STR(": "));
			write_text(&wire->log, str_of((char *)pair.value, pair.valuelen));
			before = "; ";
		}
		if (flags & NGHTTP2_HD_INFLATE_FINAL)
			break;
	}
	nghttp2_hd_inflate_end_headers(wire->inflater);
	buffer_append_str(&wire->log, STR("}"));
}

static inline uint32_t get_u32(struct str bytes, size_t at, unsigned count)
{
	uint32_t value = 0;
	for (unsigned i = 0; i < count; i++)
		value = value << 8 | (unsigned char)bytes.at[at + i];
	return value;
}

static inline void read_frame(
        struct wire *wire, uint32_t type, uint32_t flags, uint32_t stream, struct str payload)
{
	struct buffer *log = &wire->log;
	size_t slot = stream < 8 ? stream : 7;
	switch (type) {
	case NGHTTP2_DATA:
		wire->data[slot] += payload.len;
		buffer_printf(log, "DATA %u ", stream);
		if (payload.len > 64)
			buffer_printf(log, "%zu bytes", payload.len);
		else
			write_text(log, payload);
		buffer_printf(log, "%s\n", flags & END_STREAM ? " end" : "");
		break;
	case NGHTTP2_HEADERS:
		assert_true(flags & END_HEADERS);
		buffer_printf(log, "HEADERS %u ", stream);
		read_header_block(
		        wire, flags & NGHTTP2_FLAG_PRIORITY ? str_skip(payload, 5) : payload);
		buffer_printf(log, "%s\n", flags & END_STREAM ? " end" : "");
		break;
	case NGHTTP2_RST_STREAM:
		buffer_printf(log, "RST_STREAM %u %s\n", stream,
		        nghttp2_http2_strerror(get_u32(payload, 0, 4)));
		break;
	case NGHTTP2_GOAWAY:
		buffer_printf(log, "GOAWAY %u %s\n", get_u32(payload, 0, 4),
		        nghttp2_http2_strerror(get_u32(payload, 4, 4)));
		break;
	case NGHTTP2_SETTINGS:
		wire->settings += !(flags & NGHTTP2_FLAG_ACK);
		break;
	case NGHTTP2_PING:
		wire->pongs += flags & NGHTTP2_FLAG_ACK;
		wire->pings += !(flags & NGHTTP2_FLAG_ACK);
		if (!(flags & NGHTTP2_FLAG_ACK))
			put_frame(&wire->say, NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, payload);
		break;
	case NGHTTP2_WINDOW_UPDATE:
		wire->window_updates[slot] += get_u32(payload, 0, 4);
		break;
	default:
		buffer_printf(log, "frame of type %u\n", type);
	}
}

// Reads all that the codec has to say into wire->log.
static inline void wire_listen(struct wire *wire)
{
	side_settle(wire->side);
	struct str bytes = buffer_str(&wire->side->out);
	if (!wire->prefaced && bytes.len) {
		assert_true(str_starts(bytes, STR(PREFACE)));
		bytes = str_skip(bytes, strlen(PREFACE));
		wire->prefaced = true;
	}
	while (bytes.len) {
		assert_true(bytes.len >= 9);
		uint32_t len = get_u32(bytes, 0, 3);
		assert_true(bytes.len >= 9 + len);
		read_frame(wire, get_u32(bytes, 3, 1), get_u32(bytes, 4, 1), get_u32(bytes, 5, 4),
		        str_of(bytes.at + 9, len));
		bytes = str_skip(bytes, 9 + len);
	}
	buffer_clear(&wire->side->out);
}

// Says what was put together, then listens.
static inline void wire_say(struct wire *wire)
{
	side_feed(wire->side, buffer_str(&wire->say));
	buffer_clear(&wire->say);
	wire_listen(wire);
}

static inline const char *heard(struct wire *wire)
{
	return c_string(&wire->log);
}

// One end under test and the other end by hand.
struct rig {
	struct side side;
	struct wire wire;
};

static inline void rig_open(struct rig *rig, int kind, enum habit habit)
{
	side_open(&rig->side, kind | H2, habit);
	wire_open(&rig->wire, &rig->side);
}

static inline void rig_close(struct rig *rig)
{
	wire_close(&rig->wire);
	side_close(&rig->side);
}

static inline struct buffer *say(struct rig *rig)
{
	return &rig->wire.say;
}

static inline void answer_head(struct rig *rig, unsigned number, int status, bool end)
{
	struct head head;
	head_answer(&head, status);
	stream_send_head(user_at(&rig->side, number)->stream, &head, end);
}

#define GET_LINES ":method: GET\n:scheme: https\n:authority: a\n:path: /\n"
#define POST_LINES ":method: POST\n:scheme: https\n:authority: a\n:path: /\n"

#endif
