// One codec with its users (user.h): opened, fed, pulled from, closed as its connection would do
// it. What is fed lies in a block of its own that is freed right after. Single thread.
#ifndef TESTS_FUZZ_PEER_H
#define TESTS_FUZZ_PEER_H

#include "tests/fuzz/user.h"

static const struct codec_limits limits_table[] = {
        {.header_bytes = 60 * 1024, .header_fields = 100, .concurrent_streams = 100},
        {.header_bytes = 256, .header_fields = 5, .concurrent_streams = 3},
        {.header_bytes = 4096, .header_fields = 20, .concurrent_streams = 1, .refused = true},
};

enum { CLIENT = 0, SERVER = 1, H1 = 0, H2 = 2 };

static inline void side_open(
        struct side *side, int kind, enum habit habit, const struct codec_limits *limits)
{
	bool server = kind & SERVER;
	*side = (struct side){.habit = habit};
	list_init(&side->users);
	side->codec = kind & H2 ? h2_new(server, &side_events, side, &side->out, limits)
	                        : h1_new(server, &side_events, side, &side->out, limits);
}

static inline void side_feed(struct side *side, struct str bytes)
{
	struct str copy = own_copy(bytes);
	codec_feed(side->codec, copy);
	own_free(copy);
}

// Pulls until there is nothing more to pull; what was pulled stays in side->out.
static inline void side_settle(struct side *side)
{
	size_t before, logged;
	do {
		before = buffer_len(&side->out), logged = buffer_len(&side->log);
		codec_pull(side->codec, before + 64 * 1024);
	} while (buffer_len(&side->out) != before || buffer_len(&side->log) != logged);
}

static inline void side_end(struct side *side)
{
	side->codec->ops->feed_end(side->codec);
	side_settle(side);
}

// The data a stream has still to tell of comes last, stream by stream.
static inline struct str side_log(struct side *side)
{
	LIST_EACH (&side->users, node)
		log_data(LIST_ITEM(node, struct user, node));
	return buffer_str(&side->log);
}

static inline void check_streams(const struct codec *codec)
{
	size_t count = 0;
	for (const struct list *node = codec->streams.next; node != &codec->streams;
	        node = node->next)
		count++;
	CHECK(count == codec->stream_count);
}

// As the connection's owner does it: the connection is gone, whoever still holds a stream lets go.
static inline void side_close(struct side *side)
{
	side->codec->ops->fail(side->codec, ABORT_CANCELLED);
	for (struct list *node; (node = list_pop(&side->users));) {
		struct user *user = LIST_ITEM(node, struct user, node);
		user_release(user);
		buffer_fini(&user->unwritten);
		buffer_fini(&user->source.bytes);
		arena_fini(&user->arena);
		free(user);
	}
	check_streams(side->codec);
	side->codec->ops->free(side->codec);
	buffer_fini(&side->out);
	buffer_fini(&side->log);
}

// How input is cut: whole, byte by byte, or in pieces that follow from a seed.
enum cut { CUT_WHOLE, CUT_BYTES, CUT_RANDOM };

static inline void side_feed_cut(
        struct side *side, struct str bytes, enum cut cut, uint64_t seed, bool settle)
{
	while (bytes.len) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		size_t piece = cut == CUT_WHOLE   ? bytes.len
		               : cut == CUT_BYTES ? 1
		                                  : 1 + (seed >> 33) % 40;
		if (piece > bytes.len)
			piece = bytes.len;
		side_feed(side, str_of(bytes.at, piece));
		bytes = str_skip(bytes, piece);
		if (settle)
			side_settle(side);
	}
}

static inline void check_same(const char *what, struct str one, struct str other)
{
	if (str_eq(one, other))
		return;
	fprintf(stderr, "%s differ:\n--- one\n", what);
	fwrite(one.at, 1, one.len, stderr);
	fprintf(stderr, "\n--- other\n");
	fwrite(other.at, 1, other.len, stderr);
	CHECK(!"both ways of feeding tell the same");
}

#endif
