// Replies of a Redis server out of bytes, over hiredis' reader, which never gets to make objects of
// them: a reply here is a handful of integers or one short text. Anything larger, deeper or longer
// in coming is an error, so that a server gone mad costs a connection and no memory. One thread.
#ifndef GATEWAY_REDIS_REPLY_H
#define GATEWAY_REDIS_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/check.h"
#include "base/str.h"

enum {
	REDIS_NUMBERS_MAX = 64,
	REDIS_TEXT_MAX = 256,
	REDIS_REPLY_BYTES_MAX = 64 * 1024,
	REDIS_WORDS_MAX = 100,  // of a command
};

struct redis_reply {
	bool error;  // what the server says of a command; `text` is its message
	int64_t numbers[REDIS_NUMBERS_MAX];
	size_t number_count;
	char text[REDIS_TEXT_MAX];  // the last one, cut off at that
	size_t text_len;
};

struct redis_replies;  // opaque: a reader and the reply it is at

MUST_USE struct redis_replies *redis_replies_new(void);
void redis_replies_free(struct redis_replies *replies);

// Takes what has come; false when it can be no reply.
MUST_USE bool redis_replies_feed(struct redis_replies *replies, struct str bytes);
// The next whole reply, good until the next call; NULL: none yet. False as above.
MUST_USE bool redis_replies_next(struct redis_replies *replies, const struct redis_reply **reply);

bool redis_reply_is(const struct redis_reply *reply, const char *code);  // an error of that code
// The same, also where it befell a script: before Redis 7 the code stands in the message then.
bool redis_reply_tells(const struct redis_reply *reply, const char *code);

const char *redis_library_version(void);  // of its headers: it says none itself

// Appends a command in the server's protocol.
void redis_command_append(struct buffer *out, const struct str *words, size_t count);

#endif
