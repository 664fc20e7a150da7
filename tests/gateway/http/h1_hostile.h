// How a hostile HTTP/1.1 request must end, however it is split: one refusal, the end of the
// connection, and nothing after it read as a request. For h1_hostile_test.c and
// h1_hostile_body_test.c.
#ifndef TESTS_GATEWAY_HTTP_H1_HOSTILE_H
#define TESTS_GATEWAY_HTTP_H1_HOSTILE_H

#include "tests/gateway/http/side.h"

#define SMUGGLED "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
#define BYTES(literal)                                                                             \
	{                                                                                          \
		(literal), sizeof(literal) - 1                                                     \
	}

#define BYTES(literal)                                                                             \
	{                                                                                          \
		(literal), sizeof(literal) - 1                                                     \
	}

struct hostile {
	const char *what;
	struct str bytes;
	int status;  // 0: 400
};

enum { RANDOM_SPLITS = 3 };

static inline struct str joined(struct buffer *buffer, struct str a, struct str b, struct str c)
{
	buffer_clear(buffer);
	buffer_append_str(buffer, a);
	buffer_append_str(buffer, b);
	buffer_append_str(buffer, c);
	return buffer_str(buffer);
}

// Feeds it whole, byte by byte and split at random; each must give `expected` and end the
// connection.
static inline void assert_refused(const char *what, struct str bytes, const char *expected)
{
	for (unsigned seed = 0; seed < 2 + RANDOM_SPLITS; seed++) {
		struct side side;
		side_open(&side, SERVER | H1, HABIT_ANSWER);
		side_feed_split(&side, bytes,
		        seed == 0   ? bytes.len
		        : seed == 1 ? 1
		                    : 20,
		        seed > 1 ? seed : 0, true);
		const char *log = transcript(&side);
		if (strcmp(log, expected) != 0)
			fail_msg("%s (split %u):\n%s--- instead of\n%s", what, seed, log, expected);
		if (!side.codec->finished || !side.codec->lingering)
			fail_msg("%s: the connection stays open", what);
		if (strstr(c_string(&side.out), "connection: close\r\n") == NULL)
			fail_msg("%s: the answer does not announce the end", what);
		side_say(&side, SMUGGLED);
		side_settle(&side);
		assert_string_equal(transcript(&side), expected);
		side_close(&side);
	}
}

#endif
