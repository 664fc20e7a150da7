// What we write is read back by a fresh codec of the other role and is the same message; a message
// whose source breaks its promise never looks whole.
#include "tests/gateway/http/side.h"

static uint64_t seed_state;

static unsigned dice(unsigned sides)
{
	seed_state = seed_state * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(seed_state >> 33) % sides;
}

struct message {
	struct arena arena;
	struct head head;
	struct buffer body;
	struct fields trailers;
	struct buffer written;  // as a transcript
};

static struct str random_text(struct message *message, const char *alphabet, unsigned len)
{
	char *text = arena_alloc(&message->arena, len + 1);
	for (unsigned i = 0; i < len; i++)
		text[i] = alphabet[dice((unsigned)strlen(alphabet))];
	return str_of(text, len);
}

static void add_random_fields(struct message *message, struct fields *fields, unsigned most)
{
	for (unsigned count = dice(most + 1); count; count--) {
		struct str name = random_text(message, "abz-09_!~", 1 + dice(20));
		struct str value = str_trim(random_text(message, "aB0 ,;:=\"\\\t()\xe9", dice(40)));
		struct str full = arena_printf(&message->arena, "x%.*s", STR_FMT(name));
		fields_add(fields, &message->arena, full, value);
	}
}

static void random_body(struct message *message)
{
	static const char *const bits[] = {
	        "\r\n", "0\r\n\r\n", "GET / HTTP/1.1\r\n", "x", "\n", "chunk"};
	for (unsigned count = dice(30); count; count--)
		buffer_append_str(&message->body, str_from(bits[dice(ARRAY_LEN(bits))]));
	if (dice(2))
		message->head.content_length = (int64_t)buffer_len(&message->body);
	else
		add_random_fields(message, &message->trailers, 3);
}

static void write_message(struct message *message, bool server, bool no_body)
{
	struct buffer *out = &message->written;
	struct head *head = &message->head;
	bool whole = no_body || head->content_length == 0;
	if (server)
		buffer_printf(out, "1 head %.*s %.*s %.*s", STR_FMT(head->method),
		        STR_FMT(head->authority), STR_FMT(head->target));
	else
		buffer_printf(out, "1 head %d", head->status);
	if (head->content_length >= 0)
		buffer_printf(out, " length=%lld", (long long)head->content_length);
	write_fields(out, &head->fields);
	buffer_printf(out, "%s\n", whole ? " end" : "");
	if (whole)
		return;
	if (buffer_len(&message->body)) {
		buffer_append_str(out, STR("1 data "));
		write_text(out, buffer_str(&message->body));
		buffer_append_str(out, STR("\n"));
	}
	buffer_append_str(out, STR("1 end"));
	write_fields(out, &message->trailers);
	buffer_append_str(out, STR("\n"));
}

static void random_message(struct message *message, bool server)
{
	static const char *const methods[] = {"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"};
	static const int statuses[] = {200, 201, 206, 404, 429, 500, 503};
	*message = (struct message){0};
	bool no_body = dice(4) == 0;
	if (server) {
		head_request(&message->head);
		message->head.method = str_from(methods[dice(ARRAY_LEN(methods))]);
		message->head.authority = STR("a.example:8443");
		struct str rest = random_text(message, "ab/%20?&=.", dice(30));
		message->head.target = arena_printf(&message->arena, "/%.*s", STR_FMT(rest));
	} else {
		head_answer(&message->head, statuses[dice(ARRAY_LEN(statuses))]);
	}
	add_random_fields(message, &message->head.fields, 8);
	if (!no_body)
		random_body(message);
	struct str method = message->head.method;
	if (no_body && (!server || str_eq(method, STR("POST")) || str_eq(method, STR("PUT"))))
		message->head.content_length = 0;
	write_message(message, server, no_body);
}

static void message_free(struct message *message)
{
	arena_fini(&message->arena);
	buffer_fini(&message->body);
	buffer_fini(&message->written);
}

// Sends it through `user` bit by bit, taking out a little at a time, and feeds what comes to `to`.
static void send_message(struct message *message, struct user *user, struct side *to)
{
	struct side *from = user->side;
	struct str rest = buffer_str(&message->body);
	bool end = !rest.len && !message->trailers.count && message->head.content_length <= 0 &&
	           strstr(c_string(&message->written), "1 end") == NULL;
	user->source.trailers = message->trailers;
	user->source.ended = end;
	user->stream->source = &user->source;
	stream_send_head(user->stream, &message->head, end);
	while (rest.len || !user->source.ended) {
		size_t piece = 1 + dice(60);
		if (piece > rest.len)
			piece = rest.len;
		body_add(&user->source, str_of(rest.at, piece));
		rest = str_skip(rest, piece);
		user->source.ended = rest.len == 0 && dice(2);
		codec_pull(from->codec, 1 + dice(200));
		carry(from, to, 1 + dice(50));
	}
	carry(from, to, 1 + dice(50));
}

static void what_is_written_reads_back_as_the_same_message(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 2000; seed++) {
		struct side client, server;
		struct message request, answer;
		char what[40];
		seed_state = seed;
		snprintf(what, sizeof(what), "seed %u", seed);
		random_message(&request, true);
		random_message(&answer, false);
		side_open(&client, CLIENT | H1, HABIT_WATCH);
		side_open(&server, SERVER | H1, HABIT_WATCH);
		client.keeps_streams = server.keeps_streams = true;
		struct stream *stream = client.codec->ops->open(client.codec);
		send_message(&request, user_new(&client, stream), &server);
		assert_transcript(&server, what, c_string(&request.written));
		side_forget(&server);
		assert_transcript(&client, what, "1 sent\n");
		side_forget(&client);
		bool to_head = str_eq(request.head.method, STR("HEAD"));
		if (to_head) {
			buffer_clear(&answer.written);
			write_message(&answer, false, true);
		}
		send_message(&answer, user_at(&server, 1), &client);
		assert_transcript(&client, what, c_string(&answer.written));
		// Both connections are good for another message.
		user_release(user_at(&client, 1));
		user_release(user_at(&server, 1));
		side_settle(&client);
		side_settle(&server);
		assert_int_equal(client.codec->ops->room(client.codec), 1);
		assert_false(server.codec->finished);
		side_close(&client);
		side_close(&server);
		message_free(&request);
		message_free(&answer);
	}
}

static void a_source_that_breaks_its_promise_never_looks_whole(void **state)
{
	(void)state;
	static const struct {
		const char *what;
		const char *first, *second;
		int64_t promised;
	} rows[] = {
	        {"too short", "abc", "", 5},
	        {"nothing at all", "", "", 5},
	        {"too long at once", "abcdef", "", 5},
	        {"too long in two", "abc", "def", 5},
	        {"too long for nought", "abc", "", 0},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (int server_sends = 0; server_sends < 2; server_sends++) {
			struct side client, server;
			struct head head;
			side_open(&client, CLIENT | H1, HABIT_WATCH);
			side_open(&server, SERVER | H1, HABIT_WATCH);
			struct user *user = side_ask(&client, "POST", "/",
			        server_sends ? 0 : rows[i].promised, server_sends);
			talk(&client, &server);
			if (server_sends) {
				user = user_at(&server, 1);
				head_answer(&head, 200);
				head.content_length = rows[i].promised;
				user->stream->source = &user->source;
				stream_send_head(user->stream, &head, false);
			}
			struct side *from = server_sends ? &server : &client;
			struct side *to = server_sends ? &client : &server;
			side_forget(from);
			user_say(user, rows[i].first, false);
			talk(&client, &server);
			if (user->stream)
				user_say(user, rows[i].second, true);
			talk(&client, &server);
			assert_string_equal(transcript(from), "1 aborted closed\n");
			assert_true(from->codec->finished);
			side_end(to);
			const char *log = transcript(to);
			bool nought = rows[i].promised == 0;  // then it was whole with its head
			if (!nought && (strstr(log, " end") || !strstr(log, "aborted")))
				fail_msg("%s:\n%s", rows[i].what, log);
			assert_null(strstr(log, "data abcd"));
			side_close(&client);
			side_close(&server);
		}
}

static void an_answer_its_source_gives_up_never_looks_whole(void **state)
{
	(void)state;
	for (int64_t length = -1; length < 10; length += 10)
		for (int how = 0; how < 2; how++) {
			struct side client, server;
			struct head head;
			side_open(&client, CLIENT | H1, HABIT_WATCH);
			side_open(&server, SERVER | H1, HABIT_WATCH);
			side_ask(&client, "GET", "/", -1, true);
			talk(&client, &server);
			struct user *user = user_at(&server, 1);
			head_answer(&head, 200);
			head.content_length = length;
			stream_send_head(user->stream, &head, false);
			user_say(user, "part", false);
			talk(&client, &server);
			if (how)
				stream_reset(user->stream, ABORT_CLOSED);
			user_release(user);
			talk(&client, &server);
			assert_true(server.codec->finished);
			side_end(&client);
			assert_non_null(
			        strstr(transcript(&client), "1 data part\n1 aborted closed\n"));
			side_close(&client);
			side_close(&server);
		}
}

static void old_clients_get_a_body_without_chunks_that_ends_with_the_connection(void **state)
{
	(void)state;
	struct side side;
	struct head head;
	side_open(&side, SERVER | H1, HABIT_WATCH);
	side_say(&side, "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
	struct user *user = user_at(&side, 1);
	head_answer(&head, 200);
	user_trailer(user, "x-sum", "1");
	user_say(user, "one", false);
	stream_send_head(user->stream, &head, false);
	side_settle(&side);
	user_say(user, "two", true);
	side_settle(&side);
	assert_string_equal(
	        c_string(&side.out), "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nonetwo");
	assert_true(side.codec->finished);
	side_close(&side);
}

// Where only the end of the connection ends a body, an orderly end would make a half look whole.
static void a_body_to_the_end_that_is_given_up_is_cut_not_ended(void **state)
{
	(void)state;
	for (int how = 0; how < 3; how++) {
		struct side side;
		struct head head;
		side_open(&side, SERVER | H1, HABIT_WATCH);
		side_say(&side, "GET / HTTP/1.0\r\nHost: a\r\n\r\n");
		struct user *user = user_at(&side, 1);
		head_answer(&head, 200);
		stream_send_head(user->stream, &head, false);
		user_say(user, "half", how == 2);
		side_settle(&side);
		if (how == 0)
			stream_reset(user->stream, ABORT_CLOSED);
		user_release(user);
		side_settle(&side);
		assert_true(side.codec->finished);
		assert_int_equal(side.codec->cut_short, how < 2);
		side_close(&side);
	}
}

static void a_body_whose_source_comes_late_waits(void **state)
{
	(void)state;
	struct side client, server;
	side_open(&client, CLIENT | H1, HABIT_WATCH);
	side_open(&server, SERVER | H1, HABIT_ANSWER);
	struct stream *stream = client.codec->ops->open(client.codec);
	struct user *user = user_new(&client, stream);
	struct head head;
	head_request(&head);
	head.method = STR("POST");
	head.authority = STR("a");
	head.target = STR("/");
	stream_send_head(stream, &head, false);
	talk(&client, &server);
	assert_string_equal(transcript(&server), "1 head POST a /\n");
	user_say(user, "late", true);
	talk(&client, &server);
	assert_string_equal(transcript(&client), "1 sent\n1 head 200 length=2\n1 data ok\n1 end\n");
	side_close(&client);
	side_close(&server);
}

static void a_user_told_of_an_abort_may_still_try_to_answer(void **state)
{
	(void)state;
	struct side side;
	struct head head;
	side_open(&side, SERVER | H1, HABIT_WATCH);
	side.keeps_streams = true;
	side_say(&side, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	side_end(&side);
	head_answer(&head, 200);
	stream_send_head(user_at(&side, 1)->stream, &head, true);
	stream_wake(user_at(&side, 1)->stream);
	side_settle(&side);
	assert_int_equal(buffer_len(&side.out), 0);
	assert_string_equal(transcript(&side), "1 head GET a / end\n1 aborted cancelled\n");
	side_close(&side);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(what_is_written_reads_back_as_the_same_message),
	        cmocka_unit_test(a_source_that_breaks_its_promise_never_looks_whole),
	        cmocka_unit_test(an_answer_its_source_gives_up_never_looks_whole),
	        cmocka_unit_test(
	                old_clients_get_a_body_without_chunks_that_ends_with_the_connection),
	        cmocka_unit_test(a_body_to_the_end_that_is_given_up_is_cut_not_ended),
	        cmocka_unit_test(a_body_whose_source_comes_late_waits),
	        cmocka_unit_test(a_user_told_of_an_abort_may_still_try_to_answer),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
