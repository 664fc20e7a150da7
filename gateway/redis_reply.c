#include "gateway/redis_reply.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>

#define XSTRING(x) #x
#define STRING(x) XSTRING(x)

struct redis_replies {
	redisReader *reader;
	struct redis_reply reply;
	size_t unread;  // bytes since the last whole reply
};

static struct redis_replies *replies_of(const redisReadTask *task)
{
	return task->privdata;
}

// What is returned stands for the object; NULL ends the reader with an error.
static void *keep_text(const redisReadTask *task, char *text, size_t len)
{
	struct redis_replies *replies = replies_of(task);
	struct redis_reply *reply = &replies->reply;
	reply->text_len = len < sizeof(reply->text) ? len : sizeof(reply->text);
	memcpy(reply->text, text, reply->text_len);
	reply->error = task->type == REDIS_REPLY_ERROR && !task->parent;
	return replies;
}

#if HIREDIS_MAJOR < 1
typedef int list_count;
#else
typedef size_t list_count;
#endif

static void *open_list(const redisReadTask *task, list_count count)
{
	bool fits = (size_t)count <= REDIS_NUMBERS_MAX && !task->parent;
	return fits ? replies_of(task) : NULL;
}

static void *keep_number(const redisReadTask *task, long long number)
{
	struct redis_replies *replies = replies_of(task);
	struct redis_reply *reply = &replies->reply;
	if (reply->number_count == REDIS_NUMBERS_MAX)
		return NULL;
	reply->numbers[reply->number_count++] = number;
	return replies;
}

static void *keep_nothing(const redisReadTask *task)
{
	return replies_of(task);
}

static void free_nothing(void *object)
{
	(void)object;
}

// What else a newer hiredis knows is asked for by nobody: it stands for itself.
static redisReplyObjectFunctions functions = {
        .createString = keep_text,
        .createArray = open_list,
        .createInteger = keep_number,
        .createNil = keep_nothing,
        .freeObject = free_nothing,
};

struct redis_replies *redis_replies_new(void)
{
	struct redis_replies *replies = must_alloc(sizeof(*replies));
	replies->reader = redisReaderCreateWithFunctions(&functions);
	CHECK(replies->reader);
	replies->reader->privdata = replies;
	return replies;
}

void redis_replies_free(struct redis_replies *replies)
{
	if (!replies)
		return;
	redisReaderFree(replies->reader);
	free(replies);
}

bool redis_replies_feed(struct redis_replies *replies, struct str bytes)
{
	replies->unread += bytes.len;
	return redisReaderFeed(replies->reader, bytes.at, bytes.len) == REDIS_OK;
}

bool redis_replies_next(struct redis_replies *replies, const struct redis_reply **reply)
{
	void *whole = NULL;
	// A reply may come in pieces: what was kept of it so far stays.
	if (replies->reader->ridx < 0)
		replies->reply = (struct redis_reply){0};
	*reply = NULL;
	if (redisReaderGetReply(replies->reader, &whole) != REDIS_OK)
		return false;
	if (!whole)
		return replies->unread <= REDIS_REPLY_BYTES_MAX;
	// However it came: one that is too long is so in one piece, too.
	size_t after = replies->reader->len - replies->reader->pos, size = replies->unread - after;
	replies->unread = after;
	*reply = &replies->reply;
	return size <= REDIS_REPLY_BYTES_MAX;
}

bool redis_reply_is(const struct redis_reply *reply, const char *code)
{
	struct str text = str_of(reply->text, reply->text_len), word = str_from(code);
	return reply->error && text.len > word.len && text.at[word.len] == ' ' &&
	       str_eq(str_of(text.at, word.len), word);
}

const char *redis_library_version(void)
{
	return STRING(HIREDIS_MAJOR) "." STRING(HIREDIS_MINOR) "." STRING(HIREDIS_PATCH);
}

bool redis_reply_tells(const struct redis_reply *reply, const char *code)
{
	return reply->error && memmem(reply->text, reply->text_len, code, strlen(code));
}

void redis_command_append(struct buffer *out, const struct str *words, size_t count)
{
	const char *at[REDIS_WORDS_MAX];
	size_t lengths[REDIS_WORDS_MAX];
	char *command;
	CHECK(count <= REDIS_WORDS_MAX);
	for (size_t i = 0; i < count; i++) {
		at[i] = words[i].at;
		lengths[i] = words[i].len;
	}
	int len = redisFormatCommandArgv(&command, (int)count, at, lengths);
	CHECK(len > 0);
	buffer_append(out, command, (size_t)len);
	redisFreeCommand(command);
}
