// The people who use a codec's streams, as the rules of codec.h would have them behave; each event
// is checked against those rules and written into a log, so that two runs can be compared. Events
// beyond the rules (data before a head, two ends, a head that no strict reader would take) break a
// CHECK. Single thread.
#ifndef TESTS_FUZZ_USER_H
#define TESTS_FUZZ_USER_H

#include "gateway/http/h1.h"
#include "gateway/http/h2.h"
#include "tests/fuzz/fuzz.h"

enum habit {
	HABIT_ANSWER,  // server: an answer of known length once the request is whole
	HABIT_STREAM,  // server: 103 at the head; a chunked answer with trailers once it is whole
	HABIT_REFUSE,  // server: 403 as soon as the head is there
	HABIT_LEAVE,   // lets go as soon as the head is there
	HABIT_WATCH,   // says nothing unless the harness does
	HABIT_COUNT,
};

struct side {
	struct codec *codec;
	struct buffer out, log;
	struct list users;
	size_t user_count;
	enum habit habit;
	bool keeps_credit;   // data is not credited until the harness does
	bool keeps_streams;  // streams are not released until the harness does
};

struct user {
	struct list node;
	struct side *side;
	struct stream *stream;  // NULL once released
	struct body source;
	struct arena arena;
	struct buffer unwritten;  // data not in the log yet
	size_t number;
	size_t received, uncredited;
	bool head, whole, aborted, faulty, to_head;
};

// In HTTP/2 how much arrives before a fault depends on how it is cut: only a whole message is told.
static inline void log_data(struct user *user)
{
	if (!buffer_len(&user->unwritten) || (user->side->codec->h2 && !user->whole))
		return;
	buffer_printf(
	        &user->side->log, "%zu data %zu: ", user->number, buffer_len(&user->unwritten));
	buffer_append_str(&user->side->log, buffer_str(&user->unwritten));
	buffer_append_str(&user->side->log, STR("\n"));
	buffer_clear(&user->unwritten);
}

static inline void check_fields(const struct fields *fields, bool trailers)
{
	for (size_t i = 0; i < fields->count; i++) {
		const struct field *field = &fields->items[i];
		CHECK(field_name_valid(field->name) && field_value_valid(field->value));
		for (size_t k = 0; k < field->name.len; k++)
			CHECK(field->name.at[k] < 'A' || field->name.at[k] > 'Z');
		CHECK(str_eq(str_trim(field->value), field->value));
		CHECK(!field_is_hop_by_hop(field->name) || str_eq(field->name, STR("te")));
		CHECK(!str_eq(field->name, STR("content-length")));
		CHECK(!str_eq(field->name, STR("transfer-encoding")));
		CHECK(!trailers || !field_forbidden_in_trailers(field->name));
	}
}

static inline void log_fields(struct buffer *log, const struct fields *fields)
{
	for (size_t i = 0; i < fields->count; i++) {
		buffer_append_str(log, STR("; "));
		buffer_append_str(log, fields->items[i].name);
		buffer_append_str(log, STR(": "));
		buffer_append_str(log, fields->items[i].value);
	}
}

static inline void check_head(const struct head *head, bool server)
{
	check_fields(&head->fields, false);
	CHECK(head->content_length >= -1);
	if (!server) {
		CHECK(head->status >= 100 && head->status <= 599);
		return;
	}
	CHECK(field_name_valid(head->method) && !str_eq(head->method, STR("CONNECT")));
	CHECK(!fields_find(&head->fields, STR("host")));
	CHECK(!head->authority.len || authority_valid(head->authority));
	if (!str_eq(head->target, STR("*")) || !str_eq(head->method, STR("OPTIONS")))
		CHECK(target_valid(head->target));
}

static inline struct user *user_new(struct side *side, struct stream *stream)
{
	struct user *user = must_alloc(sizeof(*user));
	user->side = side;
	user->stream = stream;
	user->number = ++side->user_count;
	list_push(&side->users, &user->node);
	CHECK(!stream->user);
	stream->user = user;
	return user;
}

static inline void user_release(struct user *user)
{
	struct stream *stream = user->stream;
	user->stream = NULL;
	if (stream)
		stream_release(stream);
}

static inline void user_answer(struct user *user, int status, struct str body)
{
	struct head head;
	if (!user->stream || user->stream->head_sent)
		return;
	head_answer(&head, status);
	head.content_length = (int64_t)body.len;
	if (!str_eq(user->stream->head.method, STR("HEAD")))
		body_add(&user->source, body);
	user->source.ended = true;
	user->stream->source = &user->source;
	stream_send_head(user->stream, &head, body_done(&user->source));
}

static inline void user_stream_answer(struct user *user)
{
	struct head head;
	if (!user->stream || user->stream->head_sent)
		return;
	head_answer(&head, 200);
	body_add(&user->source, STR("streamed"));
	fields_add(&user->source.trailers, &user->arena, STR("x-sum"), STR("1"));
	user->source.ended = true;
	user->stream->source = &user->source;
	stream_send_head(user->stream, &head, false);
}

static inline void user_interim(struct user *user, int status)
{
	struct head head;
	if (!user->stream || user->stream->head_sent)
		return;
	head_answer(&head, status);
	stream_send_head(user->stream, &head, false);
}

static inline void user_answer_whole(struct user *user)
{
	if (user->side->habit == HABIT_ANSWER)
		user_answer(user, 200, STR("ok"));
	else if (user->side->habit == HABIT_STREAM)
		user_stream_answer(user);
}

static inline void check_length(const struct user *user)
{
	const struct head *head = &user->stream->head;
	bool bodiless = user->to_head || head->status == 304 || head->status == 204;
	if (head->content_length >= 0 && !bodiless)
		CHECK(user->received == (uint64_t)head->content_length);
}

static inline void saw_head(struct stream *stream, bool end)
{
	struct side *side = stream->codec->owner;
	bool server = stream->codec->server;
	struct user *user = stream->user;
	CHECK(server ? !user : user && user->stream == stream);
	if (!user)
		user = user_new(side, stream);
	CHECK(!user->head && !user->whole && !user->aborted && !user->faulty);
	const struct head *head = &stream->head;
	check_head(head, server);
	user->head = server || head->status >= 200 || head->status == 101;
	const struct str parts[] = {head->method, head->authority, head->target};
	buffer_printf(&side->log, "%zu head %d", user->number, head->status);
	for (size_t i = 0; server && i < ARRAY_LEN(parts); i++) {
		buffer_append_str(&side->log, STR(" "));
		buffer_append_str(&side->log, parts[i]);
	}
	buffer_printf(&side->log, " length=%lld", (long long)head->content_length);
	log_fields(&side->log, &head->fields);
	buffer_printf(&side->log, "%s%s%s\n", head->expects_continue ? " expects" : "",
	        head->websocket ? " websocket" : "", end ? " end" : "");
	user->whole = end;
	if (end)
		check_length(user);
	if (side->habit == HABIT_LEAVE && user->head)
		user_release(user);
	else if (side->habit == HABIT_REFUSE && server)
		user_answer(user, 403, STR("no"));
	else if (side->habit == HABIT_STREAM && server)
		user_interim(user, 103);
	if (end && server)
		user_answer_whole(user);
	else if (end && !side->keeps_streams)
		user_release(user);
}

static inline void saw_data(struct stream *stream, struct str bytes)
{
	struct user *user = stream->user;
	CHECK(user && !user->whole && !user->aborted && bytes.len);
	if (user->faulty) {  // HTTP/2 goes on: the body of a head that was too large
		CHECK(stream->codec->h2);
		stream_credit(stream, bytes.len);
		return;
	}
	CHECK(user->head);
	user->received += bytes.len;
	buffer_append_str(&user->unwritten, bytes);
	const struct head *head = &stream->head;
	if (head->content_length >= 0 && !head->websocket)
		CHECK(user->received <= (uint64_t)head->content_length);
	if (user->side->keeps_credit)
		user->uncredited += bytes.len;
	else
		stream_credit(stream, bytes.len);
}

static inline void saw_end(struct stream *stream, const struct fields *trailers)
{
	struct user *user = stream->user;
	struct side *side = user->side;
	CHECK(!user->whole && !user->aborted && (user->faulty ? side->codec->h2 : user->head));
	check_fields(trailers, true);
	if (!user->faulty)
		check_length(user);
	user->whole = true;
	log_data(user);
	buffer_printf(&side->log, "%zu end", user->number);
	log_fields(&side->log, trailers);
	buffer_append_str(&side->log, STR("\n"));
	if (side->codec->server)
		user_answer_whole(user);
	else if (!side->keeps_streams)
		user_release(user);
}

static inline void saw_aborted(struct stream *stream, enum stream_abort why)
{
	struct user *user = stream->user;
	CHECK(user && !user->aborted);
	log_data(user);
	buffer_printf(&user->side->log, "%zu aborted %d\n", user->number, why);
	user->aborted = true;
	if (!user->side->keeps_streams)
		user_release(user);
}

static inline void saw_faulty(
        struct stream *stream, enum reason reason, int status, const char *why)
{
	struct side *side = stream->codec->owner;
	struct user *user = stream->user;
	CHECK(side->codec->server && why && *why && reason != REASON_NONE);
	// HTTP/2 reads on behind a head that was too large, and may find its trailers malformed.
	CHECK(!user || (!user->whole && !user->aborted && (!user->faulty || side->codec->h2)));
	if (user)
		log_data(user);
	bool known = user;
	if (!user && status)
		user = user_new(side, stream);
	buffer_printf(&side->log, "%zu faulty %s %d %s\n", user ? user->number : 0,
	        reason_name(reason), status, why);
	if (!user)
		return;
	user->faulty = true;
	if (known && (stream->head_sent || !status))
		user_release(user);
	else
		user_answer(user, status, STR("bad"));
}

static inline void saw_sent(struct stream *stream)
{
	struct user *user = stream->user;
	CHECK(user && !user->aborted && stream->send_done);
	log_data(user);
	buffer_printf(&user->side->log, "%zu sent\n", user->number);
	if (user->side->codec->server && !user->side->keeps_streams)
		user_release(user);
}

static inline void saw_violated(struct codec *codec, enum reason reason, const char *why)
{
	struct side *side = codec->owner;
	CHECK(why && *why);
	buffer_printf(&side->log, "violated %s: %s\n", reason_name(reason), why);
}

static inline void saw_dirty(struct codec *codec)
{
	(void)codec;
}

static const struct codec_events side_events = {
        .head = saw_head,
        .data = saw_data,
        .end = saw_end,
        .aborted = saw_aborted,
        .faulty = saw_faulty,
        .sent = saw_sent,
        .violated = saw_violated,
        .dirty = saw_dirty,
};

#endif
