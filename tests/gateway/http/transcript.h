// One codec under test and the people who use its streams, written down as a transcript: one line
// an event, data joined as far as nothing else happens on its stream. Streams are numbered in the
// order they appear. The users keep the rules of codec.h: they release after `sent` (server), `end`
// (client) and `aborted`. Included by one test program each; single thread.
#ifndef TESTS_GATEWAY_HTTP_TRANSCRIPT_H
#define TESTS_GATEWAY_HTTP_TRANSCRIPT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <cmocka.h>

#include "gateway/http/h1.h"
#include "gateway/http/h2.h"

enum habit {
	HABIT_WATCH,   // says nothing unless the test does
	HABIT_ANSWER,  // server: 200 "ok" once the request is whole
	HABIT_REFUSE,  // server: 403 "no" as soon as the head is there
	HABIT_LEAVE,   // lets go as soon as the head is there
};

struct side {
	struct codec *codec;
	struct buffer out, log;
	struct list users;
	unsigned user_count;
	enum habit habit;
	bool keeps_credit;   // data is not credited until the test does
	bool keeps_streams;  // streams are not released until the test does
	bool quiet;          // data is only counted and hashed
	bool dirty;
};

struct user {
	struct list node;
	struct side *side;
	struct stream *stream;  // NULL once released
	struct body source;
	struct arena arena;
	struct buffer unwritten;  // data not in the transcript yet
	unsigned number;
	size_t received, uncredited;
	uint64_t digest;  // of the data received
	bool whole, aborted;
};

static inline void write_text(struct buffer *out, struct str text)
{
	for (size_t i = 0; i < text.len; i++) {
		unsigned char byte = (unsigned char)text.at[i];
		if (byte < 0x20 || byte >= 0x7f)
			buffer_printf(out, "\\x%02x", byte);
		else
			buffer_append(out, &byte, 1);
	}
}

static inline void write_fields(struct buffer *out, const struct fields *fields)
{
	for (size_t i = 0; i < fields->count; i++) {
		buffer_append_str(out, i ? STR("; ") : STR(" {"));
		write_text(out, fields->items[i].name);
		buffer_append_str(out, STR(": "));
		write_text(out, fields->items[i].value);
	}
	if (fields->count)
		buffer_append_str(out, STR("}"));
}

static inline void write_data(struct user *user)
{
	if (!buffer_len(&user->unwritten))
		return;
	buffer_printf(&user->side->log, "%u data ", user->number);
	write_text(&user->side->log, buffer_str(&user->unwritten));
	buffer_append_str(&user->side->log, STR("\n"));
	buffer_clear(&user->unwritten);
}

static inline struct user *user_new(struct side *side, struct stream *stream)
{
	struct user *user = must_alloc(sizeof(*user));
	user->side = side;
	user->stream = stream;
	user->number = ++side->user_count;
	list_push(&side->users, &user->node);
	stream->user = user;
	return user;
}

static inline struct user *user_at(struct side *side, unsigned number)
{
	LIST_EACH (&side->users, node) {
		struct user *user = LIST_ITEM(node, struct user, node);
		if (user->number == number)
			return user;
	}
	fail_msg("there is no stream %u", number);
	return NULL;
}

static inline void user_release(struct user *user)
{
	struct stream *stream = user->stream;
	user->stream = NULL;
	if (stream)
		stream_release(stream);
}

// Sends a whole answer of known length.
static inline void user_answer(struct user *user, int status, const char *body)
{
	struct head head;
	head_answer(&head, status);
	head.content_length = (int64_t)strlen(body);
	bool to_head = str_eq(user->stream->head.method, STR("HEAD"));
	if (!to_head)
		body_add(&user->source, str_from(body));
	user->source.ended = true;
	user->stream->source = &user->source;
	stream_send_head(user->stream, &head, body_done(&user->source));
}

static inline void user_say(struct user *user, const char *bytes, bool end)
{
	body_add(&user->source, str_from(bytes));
	user->source.ended = end;
	user->stream->source = &user->source;
	stream_wake(user->stream);
}

static inline void user_trailer(struct user *user, const char *name, const char *value)
{
	fields_add(&user->source.trailers, &user->arena, str_from(name), str_from(value));
}

static inline void saw_head(struct stream *stream, bool end)
{
	struct side *side = stream->codec->owner;
	struct user *user = stream->user ? stream->user : user_new(side, stream);
	const struct head *head = &stream->head;
	write_data(user);
	assert_false(user->whole || user->aborted);
	buffer_printf(&side->log, "%u head ", user->number);
	if (side->codec->server) {
		const struct str parts[] = {head->method, head->authority, head->target};
		for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
			buffer_append_str(&side->log, i ? STR(" ") : STR(""));
			write_text(&side->log, parts[i]);
		}
	} else {
		buffer_printf(&side->log, "%d", head->status);
	}
	if (head->content_length >= 0)
		buffer_printf(&side->log, " length=%lld", (long long)head->content_length);
	write_fields(&side->log, &head->fields);
	buffer_printf(&side->log, "%s%s%s\n", head->expects_continue ? " expects" : "",
	        head->websocket ? " websocket" : "", end ? " end" : "");
	user->whole = end;
	if (side->habit == HABIT_LEAVE)
		user_release(user);
	else if (side->habit == HABIT_REFUSE)
		user_answer(user, 403, "no");
	else if (side->habit == HABIT_ANSWER && end && side->codec->server)
		user_answer(user, 200, "ok");
	else if (end && !side->codec->server && !side->keeps_streams)
		user_release(user);
}

static inline uint64_t digest_of(uint64_t before, struct str bytes)
{
	for (size_t i = 0; i < bytes.len; i++)
		before = (before ^ (unsigned char)bytes.at[i]) * 0x100000001b3u;
	return before;
}

static inline void saw_data(struct stream *stream, struct str bytes)
{
	struct user *user = stream->user;
	assert_non_null(user);
	assert_false(user->whole || user->aborted);
	user->digest = digest_of(user->digest, bytes);
	user->received += bytes.len;
	if (!user->side->quiet)
		buffer_append_str(&user->unwritten, bytes);
	if (user->side->keeps_credit)
		user->uncredited += bytes.len;
	else
		stream_credit(stream, bytes.len);
}

static inline void saw_end(struct stream *stream, const struct fields *trailers)
{
	struct user *user = stream->user;
	struct side *side = user->side;
	assert_false(user->whole || user->aborted);
	write_data(user);
	buffer_printf(&side->log, "%u end", user->number);
	write_fields(&side->log, trailers);
	buffer_append_str(&side->log, STR("\n"));
	user->whole = true;
	if (side->habit == HABIT_ANSWER && side->codec->server && !stream->head_sent)
		user_answer(user, 200, "ok");
	else if (!side->codec->server && !side->keeps_streams)
		user_release(user);
}

static inline void saw_aborted(struct stream *stream, enum stream_abort why)
{
	static const char *const names[] = {
	        [ABORT_CANCELLED] = "cancelled",
	        [ABORT_UNPROCESSED] = "unprocessed",
	        [ABORT_UNANSWERED] = "unanswered",
	        [ABORT_CLOSED] = "closed",
	        [ABORT_BROKEN] = "broken",
	        [ABORT_DEADLINE] = "deadline",
	};
	struct user *user = stream->user;
	assert_non_null(user);
	assert_false(user->aborted);
	write_data(user);
	buffer_printf(&user->side->log, "%u aborted %s\n", user->number, names[why]);
	user->aborted = true;
	if (!user->side->keeps_streams)
		user_release(user);
}

static inline void saw_faulty(
        struct stream *stream, enum reason reason, int status, const char *why)
{
	struct side *side = stream->codec->owner;
	struct user *user = stream->user;
	unsigned number = user ? user->number : 0;
	assert_true(side->codec->server);
	assert_non_null(why);
	assert_true(*why);
	if (user)
		write_data(user);
	else if (status)
		number = (user = user_new(side, stream))->number;
	buffer_printf(&side->log, "%u faulty %s %d\n", number, reason_name(reason), status);
	if (user && (stream->head_sent || !status))
		user_release(user);
	else if (status)
		user_answer(user, status, "bad");
}

static inline void saw_sent(struct stream *stream)
{
	struct user *user = stream->user;
	assert_non_null(user);
	write_data(user);
	buffer_printf(&user->side->log, "%u sent\n", user->number);
	if (user->side->codec->server && !user->side->keeps_streams)
		user_release(user);
}

static inline void saw_violated(struct codec *codec, enum reason reason, const char *why)
{
	struct side *side = codec->owner;
	assert_non_null(why);
	buffer_printf(&side->log, "violated %s\n", reason_name(reason));
}

static inline void saw_dirty(struct codec *codec)
{
	((struct side *)codec->owner)->dirty = true;
}

static const struct codec_events transcript_events = {
        .head = saw_head,
        .data = saw_data,
        .end = saw_end,
        .aborted = saw_aborted,
        .faulty = saw_faulty,
        .sent = saw_sent,
        .violated = saw_violated,
        .dirty = saw_dirty,
};

static inline const char *c_string(struct buffer *buffer)
{
	*buffer_room(buffer, 1) = '\0';
	return buffer_len(buffer) ? buffer_data(buffer) : "";
}

static inline const char *transcript(struct side *side)
{
	LIST_EACH (&side->users, node)
		write_data(LIST_ITEM(node, struct user, node));
	return c_string(&side->log);
}

static inline void assert_transcript(struct side *side, const char *what, const char *expected)
{
	const char *log = transcript(side);
	size_t same = 0;
	while (log[same] && log[same] == expected[same])
		same++;
	if (log[same] == expected[same])
		return;
	while (same && log[same - 1] != '\n')
		same--;
	fail_msg("%s: after %zu bytes alike\n%.400s--- instead of\n%.400s", what, same, log + same,
	        expected + same);
}

#endif
