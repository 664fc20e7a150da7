// What the owner of a codec does with it in a test: opens, feeds, pulls, loses and frees it; splits
// what it feeds; carries bytes between two. Everything fed lives in a block of its own that is
// freed right after, so that a codec which keeps a pointer into it is caught. Single thread.
#ifndef TESTS_GATEWAY_HTTP_SIDE_H
#define TESTS_GATEWAY_HTTP_SIDE_H

#include "tests/gateway/http/transcript.h"

static const struct codec_limits ordinary_limits = {
        .header_bytes = 60 * 1024,
        .header_fields = 100,
        .concurrent_streams = 100,
};

enum { CLIENT = 0, SERVER = 1, H1 = 0, H2 = 2 };

static inline void side_open_with(
        struct side *side, int kind, enum habit habit, const struct codec_limits *limits)
{
	bool server = kind & SERVER;
	*side = (struct side){.habit = habit};
	list_init(&side->users);
	side->codec = kind & H2 ? h2_new(server, &transcript_events, side, &side->out, limits)
	                        : h1_new(server, &transcript_events, side, &side->out, limits);
}

static inline void side_open(struct side *side, int kind, enum habit habit)
{
	side_open_with(side, kind, habit, &ordinary_limits);
}

static inline void side_feed(struct side *side, struct str bytes)
{
	char *copy = bytes.len ? malloc(bytes.len) : NULL;
	if (bytes.len)
		memcpy(copy, bytes.at, bytes.len);
	codec_feed(side->codec, str_of(copy, bytes.len));
	free(copy);
}

static inline void side_say(struct side *side, const char *text)
{
	side_feed(side, str_from(text));
}

// Pulls until there is nothing more to pull; what was pulled stays in side->out.
static inline void side_settle(struct side *side)
{
	for (;;) {
		size_t before = buffer_len(&side->out), logged = buffer_len(&side->log);
		codec_pull(side->codec, before + 64 * 1024);
		if (buffer_len(&side->out) == before && buffer_len(&side->log) == logged)
			break;
	}
}

static inline void side_end(struct side *side)
{
	side->codec->ops->feed_end(side->codec);
	side_settle(side);
}

static inline void side_forget(struct side *side)
{
	transcript(side);
	buffer_clear(&side->log);
	buffer_clear(&side->out);
}

// As the connection's owner does it: the connection is gone, whoever still holds a stream lets go.
static inline void side_close(struct side *side)
{
	(side->codec->ops->fail)(side->codec, ABORT_CANCELLED);  // `fail(` is cmocka's
	for (struct list *node; (node = list_pop(&side->users));) {
		struct user *user = LIST_ITEM(node, struct user, node);
		user_release(user);
		buffer_fini(&user->unwritten);
		buffer_fini(&user->source.bytes);
		arena_fini(&user->arena);
		free(user);
	}
	side->codec->ops->free(side->codec);
	buffer_fini(&side->out);
	buffer_fini(&side->log);
}

// Client: opens a stream with an ordinary head; fields are "name", "value" pairs up to NULL.
static inline struct user *side_ask(
        struct side *side, const char *method, const char *target, int64_t content_length, bool end)
{
	struct stream *stream = side->codec->ops->open(side->codec);
	assert_non_null(stream);
	struct user *user = user_new(side, stream);
	struct head head;
	head_request(&head);
	head.method = str_from(method);
	head.authority = STR("a.example");
	head.target = str_from(target);
	head.content_length = content_length;
	user->source.ended = end;
	stream->source = &user->source;
	stream_send_head(stream, &head, end);
	return user;
}

// Feeds `bytes` in pieces: whole, one byte each, or at random places that follow from `seed`.
static inline void side_feed_split(
        struct side *side, struct str bytes, size_t piece_max, unsigned seed, bool pull)
{
	uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
	while (bytes.len) {
		state = state * 6364136223846793005u + 1442695040888963407u;
		size_t piece = seed ? 1 + (size_t)(state >> 33) % piece_max : piece_max;
		if (piece > bytes.len)
			piece = bytes.len;
		side_feed(side, str_of(bytes.at, piece));
		bytes = str_skip(bytes, piece);
		if (pull)
			side_settle(side);
	}
	side_settle(side);
}

// Carries what `from` has to say over to `to`, in pieces of at most `piece_max` bytes.
static inline bool carry(struct side *from, struct side *to, size_t piece_max)
{
	side_settle(from);
	struct str bytes = buffer_str(&from->out);
	bool any = bytes.len > 0;
	while (bytes.len) {
		size_t piece = bytes.len < piece_max ? bytes.len : piece_max;
		side_feed(to, str_of(bytes.at, piece));
		bytes = str_skip(bytes, piece);
	}
	buffer_clear(&from->out);
	return any;
}

// Until neither has anything more to say to the other.
static inline void talk(struct side *one, struct side *other)
{
	for (bool any = true; any;) {
		any = carry(one, other, 64 * 1024);
		any |= carry(other, one, 64 * 1024);
	}
}

#endif
