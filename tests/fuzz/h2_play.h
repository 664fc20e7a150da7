// An HTTP/2 connection as a play: the input is a row of acts, some of the peer on the wire (good
// frames, bad frames, raw bytes), some of the users on our side (answer, say, credit, release,
// reset), in any order. HPACK is written as literals or comes raw from the input. Single thread.
#ifndef TESTS_FUZZ_H2_PLAY_H
#define TESTS_FUZZ_H2_PLAY_H

#include "tests/fuzz/peer.h"

#define H2_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

struct play {
	struct side side;
	struct dice dice;
	struct buffer wire;  // what the peer says in this act
	enum cut cut;
	uint32_t next_id;
	const struct codec_limits *limits;
	struct {
		unsigned char header[9];
		size_t header_len, payload_left;
	} frame;          // the one being sent
	bool open_block;  // some HEADERS went out without END_HEADERS
};

static inline void put_number(struct buffer *out, uint64_t value, unsigned bytes)
{
	while (bytes--)
		buffer_append(out, &(char){(char)(value >> (8 * bytes))}, 1);
}

static inline void put_frame(
        struct buffer *out, unsigned type, unsigned flags, uint32_t stream, struct str payload)
{
	put_number(out, payload.len, 3);
	put_number(out, type, 1);
	put_number(out, flags, 1);
	put_number(out, stream, 4);
	buffer_append_str(out, payload);
}

static inline void put_field(struct buffer *block, bool indexed, struct str name, struct str value)
{
	put_number(block, indexed ? 0x40 : 0, 1);
	put_number(block, name.len, 1);
	buffer_append_str(block, name);
	put_number(block, value.len, 1);
	buffer_append_str(block, value);
}

// "name: value" lines; names and values of at most 126 bytes.
static inline void put_lines(struct buffer *block, bool indexed, struct str lines)
{
	while (lines.len) {
		const char *end = str_find_byte(lines, '\n'), *colon;
		struct str line = str_of(lines.at, (size_t)(end - lines.at));
		colon = memmem(line.at + 1, line.len - 1, ": ", 2);
		struct str name = str_of(line.at, (size_t)(colon - line.at));
		put_field(block, indexed, name, str_skip(line, name.len + 2));
		lines = str_skip(lines, line.len + 1);
	}
}

static inline uint32_t some_stream(struct play *play)
{
	return dice(&play->dice, 8) + (dice(&play->dice, 16) == 15 ? 1000 : 0);
}

// A head from the table, perhaps a field of the input's, perhaps in two frames.
static inline void act_headers(
        struct play *play, const char *const *heads, size_t count, uint32_t id)
{
	struct buffer block = {0};
	bool indexed = dice(&play->dice, 2);
	put_lines(&block, indexed, str_from(heads[dice(&play->dice, (unsigned)count)]));
	if (dice(&play->dice, 2)) {
		struct str name = dice_bytes(&play->dice, dice(&play->dice, 24));
		put_field(&block, indexed, name, dice_bytes(&play->dice, dice(&play->dice, 64)));
	}
	unsigned flags = dice(&play->dice, 2) ? NGHTTP2_FLAG_END_STREAM : 0;
	struct str whole = buffer_str(&block);
	size_t first = dice(&play->dice, 4) == 3 ? whole.len / 2 : whole.len;
	put_frame(&play->wire, NGHTTP2_HEADERS,
	        flags | (first == whole.len ? NGHTTP2_FLAG_END_HEADERS : 0u), id,
	        str_of(whole.at, first));
	if (first < whole.len)
		put_frame(&play->wire, NGHTTP2_CONTINUATION, NGHTTP2_FLAG_END_HEADERS, id,
		        str_skip(whole, first));
	buffer_fini(&block);
}

static inline void act_data(struct play *play)
{
	static const char block[16384];
	uint32_t id = some_stream(play);
	unsigned flags = dice(&play->dice, 2) ? NGHTTP2_FLAG_END_STREAM : 0;
	if (dice(&play->dice, 4) == 3)
		put_frame(&play->wire, NGHTTP2_DATA, flags, id, str_of(block, sizeof(block)));
	else
		put_frame(&play->wire, NGHTTP2_DATA, flags, id,
		        dice_bytes(&play->dice, dice(&play->dice, 16)));
}

static inline void act_number(struct play *play, unsigned type)
{
	static const uint32_t numbers[] = {0, 1, 8, 7, 65535, 0x7fffffff, 0xffffffff, 16384, 5};
	struct buffer payload = {0};
	uint32_t id = some_stream(play), number = numbers[dice(&play->dice, ARRAY_LEN(numbers))];
	if (type == NGHTTP2_SETTINGS) {
		put_number(&payload, dice(&play->dice, 10), 2);
		id = 0;
	}
	if (type == NGHTTP2_GOAWAY) {
		put_number(&payload, id, 4);
		id = 0;
	}
	put_number(&payload, number, 4);
	put_frame(&play->wire, type, 0, id, buffer_str(&payload));
	buffer_fini(&payload);
}

static inline void act_any_frame(struct play *play)
{
	unsigned type = dice(&play->dice, 12), flags = dice(&play->dice, 256);
	uint32_t id = some_stream(play);
	put_frame(&play->wire, type, flags, id, dice_bytes(&play->dice, dice(&play->dice, 256)));
}

static inline struct user *some_user(struct play *play)
{
	size_t number = 1 + dice(&play->dice, 8);
	LIST_EACH (&play->side.users, node) {
		struct user *user = LIST_ITEM(node, struct user, node);
		if (user->number == number)
			return user->stream ? user : NULL;
	}
	return NULL;
}

static inline void user_say(struct user *user, size_t len, bool end, bool trailers)
{
	static const char words[20000];
	if (user->source.ended || (user->side->codec->server && !user->stream->head_sent))
		return;
	body_add(&user->source, str_of(words, len));
	if (end && trailers)
		fields_add(&user->source.trailers, &user->arena, STR("x-sum"), STR("1"));
	user->source.ended = end;
	user->stream->source = &user->source;
	stream_wake(user->stream);
}

static inline void user_begin(struct user *user)
{
	struct head head;
	if (!user->side->codec->server || user->stream->head_sent)
		return;
	head_answer(&head, 200);
	user->stream->source = &user->source;
	stream_send_head(user->stream, &head, false);
}

static inline void user_credit(struct user *user, size_t most)
{
	size_t count = user->uncredited < most ? user->uncredited : most;
	user->uncredited -= count;
	stream_credit(user->stream, count);
}

static inline void deed(struct play *play)
{
	struct user *user = some_user(play);
	unsigned which = dice(&play->dice, 12);
	bool server = play->side.codec->server;
	if (!user)
		return;
	switch (which) {
	case 0:
		if (server)
			user_answer(user, 200, STR("ok"));
		break;
	case 1:
		if (server)
			user_stream_answer(user);
		break;
	case 2:
		if (server)
			user_interim(user, dice(&play->dice, 2) ? 103 : 100);
		break;
	case 3:
		user_begin(user);
		break;
	case 4:
		user_say(user, 20000, false, false);
		break;
	case 5:
		user_say(user, 3, false, false);
		break;
	case 6:
		user_say(user, dice(&play->dice, 4), true, dice(&play->dice, 2));
		break;
	case 7:
		user_release(user);
		break;
	case 8:
		stream_reset(user->stream, dice(&play->dice, 2) ? ABORT_CANCELLED : ABORT_BROKEN);
		break;
	case 9:
		user_credit(user, SIZE_MAX);
		break;
	case 10:
		user_credit(user, 1000);
		break;
	default:
		stream_wake(user->stream);
	}
}

// nghttp2 counts every call that ends in or before a CONTINUATION frame's header as a frame of its
// own (it allows eight): how such a block is cut matters, by its rule and not by ours.
static inline void watch_blocks(struct play *play, struct str bytes)
{
	for (size_t i = 0; i < bytes.len; i++) {
		if (play->frame.payload_left) {
			play->frame.payload_left--;
			continue;
		}
		unsigned char *header = play->frame.header;
		header[play->frame.header_len++] = (unsigned char)bytes.at[i];
		if (play->frame.header_len < sizeof(play->frame.header))
			continue;
		play->frame.header_len = 0;
		play->frame.payload_left = (size_t)header[0] << 16 | (size_t)header[1] << 8 |
		                           header[2];
		bool block = header[3] == NGHTTP2_HEADERS || header[3] == NGHTTP2_CONTINUATION ||
		             header[3] == NGHTTP2_PUSH_PROMISE;
		play->open_block |= block && !(header[4] & NGHTTP2_FLAG_END_HEADERS);
	}
}

// What the peer said in this act, in one piece or in many.
static inline void say(struct play *play)
{
	struct str frames = buffer_str(&play->wire);
	if (str_starts(frames, STR(H2_PREFACE)))
		frames = str_skip(frames, strlen(H2_PREFACE));
	watch_blocks(play, frames);
	side_feed_cut(&play->side, buffer_str(&play->wire), play->cut, 0, false);
	buffer_clear(&play->wire);
}

// nghttp2 still hands over the frame that went beyond the window, then resets the stream.
enum { FRAME_MAX = 16384 };

// What must hold between any two acts.
static inline void check_play(const struct play *play)
{
	const struct codec *codec = play->side.codec;
	size_t at_work = 0;
	check_streams(codec);
	for (const struct list *node = codec->streams.next; node != &codec->streams;
	        node = node->next)
		at_work += !LIST_ITEM(node, struct stream, node)->over;
	if (codec->server)
		CHECK(at_work <= play->limits->concurrent_streams);
	for (const struct list *node = play->side.users.next; node != &play->side.users;
	        node = node->next)
		CHECK(LIST_ITEM(node, struct user, node)->uncredited <= BODY_HIGH + FRAME_MAX);
}

static inline void act_on_wire(struct play *play, unsigned which)
{
	static const unsigned numbered[] = {
	        NGHTTP2_SETTINGS, NGHTTP2_WINDOW_UPDATE, NGHTTP2_RST_STREAM, NGHTTP2_GOAWAY};
	if (which == 0)
		act_data(play);
	else if (which == 1)
		act_any_frame(play);
	else if (which == 2)
		buffer_append_str(&play->wire, dice_bytes(&play->dice, dice(&play->dice, 64)));
	else if (which - 3 < ARRAY_LEN(numbered))
		act_number(play, numbered[which - 3]);
	else
		put_frame(&play->wire, NGHTTP2_PING, dice(&play->dice, 2), 0, STR("12345678"));
}

static inline void common_act(struct play *play, unsigned which)
{
	struct codec *codec = play->side.codec;
	if (which < 8)
		act_on_wire(play, which);
	else if (which == 8)
		side_settle(&play->side);
	else if (which == 9)
		codec->ops->shutdown(codec);
	else if (which > 10)
		deed(play);
	else if (codec->server && codec->head_pending)
		codec->ops->stall(codec, "too slow");
}

enum { COMMON_ACTS = 14 };

#endif
