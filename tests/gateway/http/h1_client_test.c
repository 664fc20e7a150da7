// HTTP/1.1 towards backends: one connection's life, whose answer is whose, what is safe to send
// again.
#include "tests/gateway/http/side.h"

#define OK "HTTP/1.1 200 OK\r\n"

static void an_answer_without_length_goes_to_the_end(void **state)
{
	(void)state;
	struct side side;
	side_open(&side, CLIENT | H1, HABIT_WATCH);
	side_ask(&side, "GET", "/", -1, true);
	side_settle(&side);
	side_say(&side, OK "x: y\r\n\r\n");
	side_say(&side, "to the ");
	side_say(&side, "end");
	assert_string_equal(transcript(&side), "1 sent\n1 head 200 {x: y}\n1 data to the end\n");
	side_end(&side);
	assert_string_equal(
	        transcript(&side), "1 sent\n1 head 200 {x: y}\n1 data to the end\n1 end\n");
	assert_true(side.codec->finished);
	side_close(&side);
}

static void an_answer_without_length_that_is_reset_is_cut_short(void **state)
{
	(void)state;
	struct side side;
	side_open(&side, CLIENT | H1, HABIT_WATCH);
	side_ask(&side, "GET", "/", -1, true);
	side_settle(&side);
	side_say(&side, OK "\r\nto the ");
	(side.codec->ops->fail)(side.codec, ABORT_CLOSED);
	assert_string_equal(
	        transcript(&side), "1 sent\n1 head 200\n1 data to the \n1 aborted closed\n");
	side_close(&side);
}

static void a_head_without_end_is_cut_off(void **state)
{
	(void)state;
	struct side side;
	side_open(&side, CLIENT | H1, HABIT_WATCH);
	side_ask(&side, "GET", "/", -1, true);
	side_settle(&side);
	side_say(&side, OK);
	for (int i = 0; i < 10000 && !side.codec->finished; i++)
		side_say(&side, "x: yyyyyyyyyyyyyyyy\r\n");
	assert_string_equal(transcript(&side), "1 sent\n1 aborted broken\n");
	side_close(&side);
}

static void interim_answers_without_end_are_cut_off(void **state)
{
	(void)state;
	struct side side;
	side_open(&side, CLIENT | H1, HABIT_WATCH);
	side_ask(&side, "GET", "/", -1, true);
	side_settle(&side);
	for (int i = 0; i < 10000 && !side.codec->finished; i++)
		side_say(&side, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
	assert_true(side.codec->finished);
	assert_non_null(strstr(transcript(&side), "1 aborted broken\n"));
	assert_true(buffer_len(&side.log) < 10000);
	side_close(&side);
}

static void bytes_nobody_asked_for_end_an_idle_connection(void **state)
{
	(void)state;
	static const char *const bytes[] = {"x", "H", "\r\n", OK "Content-Length: 0\r\n\r\n",
	        "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"};
	for (size_t i = 0; i < ARRAY_LEN(bytes); i++)
		for (int used = 0; used < 2; used++) {
			struct side side;
			side_open(&side, CLIENT | H1, HABIT_WATCH);
			if (used) {
				side_ask(&side, "GET", "/", -1, true);
				side_settle(&side);
				side_say(&side, OK "Content-Length: 0\r\n\r\n");
				side_settle(&side);
			}
			assert_int_equal(side.codec->ops->room(side.codec), 1);
			side_say(&side, bytes[i]);
			side_settle(&side);
			assert_true(side.codec->finished);
			assert_int_equal(side.codec->ops->room(side.codec), 0);
			assert_null(strstr(transcript(&side), "aborted"));
			side_close(&side);
		}
}

// An answer that was under way before the question is not the answer to it.
static void an_answer_begun_before_its_request_is_not_taken(void **state)
{
	(void)state;
	struct side side;
	side_open(&side, CLIENT | H1, HABIT_WATCH);
	struct stream *stream = side.codec->ops->open(side.codec);
	user_new(&side, stream);
	side_say(&side, "HTTP/1.1 200");
	side_settle(&side);
	assert_string_equal(transcript(&side), "1 aborted unprocessed\n");
	assert_true(side.codec->finished);
	side_close(&side);
}

// What comes with the answer makes it doubtful; what comes later cannot any more.
static void a_second_answer_is_for_nobody(void **state)
{
	(void)state;
	static const struct {
		const char *more;
		bool contradicts;
	} rows[] = {{OK "Content-Length: 6\r\n\r\npoison", true}, {"x", true}, {"\r\n", false}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (int at_once = 0; at_once < 2; at_once++)
			for (int late = 0; late < 2; late++) {
				struct side side;
				struct buffer bytes = {0};
				side_open(&side, CLIENT | H1, HABIT_WATCH);
				side.keeps_streams = late;
				struct user *user = side_ask(&side, "GET", "/", -1, true);
				side_settle(&side);
				buffer_printf(&bytes, OK "Content-Length: 2\r\n\r\nok%s",
				        at_once ? rows[i].more : "");
				side_feed(&side, buffer_str(&bytes));
				if (!at_once)
					side_say(&side, rows[i].more);
				user_release(user);
				side_settle(&side);
				assert_string_equal(transcript(&side),
				        at_once && rows[i].contradicts
				                ? "1 sent\n1 head 200 length=2\n1 aborted broken\n"
				                : "1 sent\n1 head 200 length=2\n1 data ok\n1 "
				                  "end\n");
				assert_true(side.codec->finished);
				assert_int_equal(side.codec->ops->room(side.codec), 0);
				buffer_fini(&bytes);
				side_close(&side);
			}
}

static void an_answer_that_contradicts_itself_is_broken(void **state)
{
	(void)state;
	static const struct {
		const char *method, *answer;
		bool broken;
	} rows[] = {
	        {"GET", OK "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" OK, true},
	        {"GET", OK "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\nz", true},
	        {"GET", OK "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n\r\n", false},
	        {"GET", OK "Content-Length: 0\r\n\r\n" OK, true},
	        {"GET", "HTTP/1.1 204 No Content\r\n\r\n" OK, true},
	        {"GET", "HTTP/1.1 304 Not Modified\r\n\r\nok", false},
	        {"HEAD", OK "Content-Length: 2\r\n\r\nok", false},
	        {"HEAD", OK "Content-Length: 2\r\n\r\n" OK, true},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct side side;
		side_open(&side, CLIENT | H1, HABIT_WATCH);
		(void)side_ask(&side, rows[i].method, "/", -1, true);
		side_settle(&side);
		side_say(&side, rows[i].answer);
		side_settle(&side);
		bool broken = strstr(transcript(&side), "1 aborted broken\n") != NULL;
		assert_int_equal(broken, rows[i].broken);
		assert_true(side.codec->finished);
		side_close(&side);
	}
}

static void how_a_lost_connection_is_told(void **state)
{
	(void)state;
	static const struct {
		const char *what;
		bool used, asked;
		const char *bytes;
		const char *last;
	} rows[] = {
	        {"new, not asked", false, false, "", "aborted unprocessed\n"},
	        {"new, asked", false, true, "", "aborted closed\n"},
	        {"reused, asked", true, true, "", "aborted unanswered\n"},
	        {"reused, not asked", true, false, "", "aborted unprocessed\n"},
	        {"reused, one byte of the answer", true, true, "H", "aborted closed\n"},
	        {"reused, an interim answer", true, true, "HTTP/1.1 100 Go\r\n\r\n",
	                "aborted closed\n"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (int reset = 0; reset < 2; reset++) {
			struct side side;
			side_open(&side, CLIENT | H1, HABIT_WATCH);
			if (rows[i].used) {
				side_ask(&side, "GET", "/", -1, true);
				side_settle(&side);
				side_say(&side, OK "Content-Length: 0\r\n\r\n");
				side_settle(&side);
			}
			if (rows[i].asked)
				side_ask(&side, "GET", "/", -1, true);
			else
				user_new(&side, side.codec->ops->open(side.codec));
			side_settle(&side);
			side_say(&side, rows[i].bytes);
			if (reset)
				(side.codec->ops->fail)(side.codec, ABORT_CLOSED);
			else
				side_end(&side);
			const char *log = transcript(&side);
			const char *told = strstr(log, "aborted");
			if (!told || strcmp(told, rows[i].last) != 0)
				fail_msg("%s:\n%s", rows[i].what, log);
			side_close(&side);
		}
}

static void an_early_answer_is_whole_but_the_connection_is_spent(void **state)
{
	(void)state;
	struct side side;
	side_open(&side, CLIENT | H1, HABIT_WATCH);
	struct user *user = side_ask(&side, "POST", "/", -1, false);
	user_say(user, "half", false);
	side_settle(&side);
	side_say(&side, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno");
	side_settle(&side);
	assert_string_equal(transcript(&side), "1 head 413 length=2\n1 data no\n1 end\n");
	assert_null(strstr(c_string(&side.out), "0\r\n\r\n"));
	assert_true(side.codec->finished);
	side_close(&side);
}

static void an_early_answer_does_not_stop_the_request(void **state)
{
	(void)state;
	struct side side;
	side_open(&side, CLIENT | H1, HABIT_WATCH);
	struct user *user = side_ask(&side, "POST", "/", -1, false);
	user_say(user, "one", false);
	side_settle(&side);
	side_say(&side, OK "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
	user_say(user, "two", true);
	side_settle(&side);
	side_say(&side, "1\r\nb\r\n0\r\n\r\n");
	side_settle(&side);
	assert_string_equal(transcript(&side), "1 head 200\n1 data a\n1 sent\n1 data b\n1 end\n");
	assert_non_null(strstr(c_string(&side.out), "3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"));
	assert_int_equal(side.codec->ops->room(side.codec), 1);
	side_close(&side);
}

static struct user *ask_for_websocket(struct side *side)
{
	struct stream *stream = side->codec->ops->open(side->codec);
	struct user *user = user_new(side, stream);
	struct head head;
	head_request(&head);
	head.method = STR("GET");
	head.authority = STR("a.example");
	head.target = STR("/");
	head.websocket = true;
	stream->source = &user->source;
	stream_send_head(stream, &head, false);
	return user;
}

static void a_websocket_is_a_tunnel_once_the_backend_agrees(void **state)
{
	(void)state;
	struct side side;
	side_open(&side, CLIENT | H1, HABIT_WATCH);
	struct user *user = ask_for_websocket(&side);
	user_say(user, "too early", false);
	side_settle(&side);
	assert_string_equal(c_string(&side.out),
	        "GET / HTTP/1.1\r\nhost: a.example\r\n"
	        "connection: upgrade\r\nupgrade: websocket\r\n\r\n");
	buffer_clear(&side.out);
	side_say(&side, "HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nx: "
	                "y\r\n\r\nbehind");
	side_settle(&side);
	assert_string_equal(c_string(&side.out), "too early");
	side_say(&side, " it");
	user_say(user, "!", true);
	side_settle(&side);
	side_end(&side);
	assert_string_equal(transcript(&side),
	        "1 head 101 {x: y} websocket\n1 data behind it\n1 sent\n1 end\n");
	side_close(&side);
}

static void a_websocket_that_is_declined_is_an_ordinary_answer(void **state)
{
	(void)state;
	struct side side;
	side_open(&side, CLIENT | H1, HABIT_WATCH);
	ask_for_websocket(&side);
	side_settle(&side);
	side_say(&side, "HTTP/1.1 400 No\r\nContent-Length: 2\r\n\r\nno");
	side_settle(&side);
	assert_string_equal(transcript(&side), "1 head 400 length=2\n1 data no\n1 end\n");
	assert_int_equal(side.codec->ops->room(side.codec), 1);
	side_close(&side);
}

static void a_websocket_answered_with_another_protocol_is_broken(void **state)
{
	(void)state;
	struct side side;
	side_open(&side, CLIENT | H1, HABIT_WATCH);
	ask_for_websocket(&side);
	side_settle(&side);
	side_say(&side, "HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n");
	assert_string_equal(transcript(&side), "1 aborted broken\n");
	side_close(&side);
}

static void a_slow_taker_stops_the_reading(void **state)
{
	(void)state;
	char block[16 * 1024];
	memset(block, 'x', sizeof(block));
	struct side side;
	side_open(&side, CLIENT | H1, HABIT_WATCH);
	side.keeps_credit = true;
	struct user *user = side_ask(&side, "GET", "/", -1, true);
	side_settle(&side);
	side_say(&side, OK "Content-Length: 1000000\r\n\r\n");
	size_t fed = 0;
	while (side.codec->ops->wants_bytes(side.codec)) {
		side_feed(&side, str_of(block, sizeof(block)));
		fed += sizeof(block);
	}
	assert_int_equal(fed, BODY_HIGH);
	stream_credit(user->stream, BODY_HIGH);
	assert_true(side.codec->ops->wants_bytes(side.codec));
	side_close(&side);
}

static void the_user_may_let_go_at_any_time(void **state)
{
	(void)state;
	static const char *const parts[] = {"", "HTTP", OK, OK "Content-Length: 5\r\n\r\n",
	        OK "Content-Length: 5\r\n\r\nab", OK "Transfer-Encoding: chunked\r\n\r\n0\r\nx",
	        "HTTP/1.1 100 Go\r\n\r\n"};
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		for (int when = 0; when < 3; when++) {
			struct side side;
			side_open(&side, CLIENT | H1, when == 2 ? HABIT_LEAVE : HABIT_WATCH);
			struct user *user = side_ask(&side, "POST", "/", -1, when != 0);
			side_settle(&side);
			side_say(&side, parts[i]);
			user_release(user);
			side_say(&side, "bytes behind");
			side_settle(&side);
			assert_true(side.codec->finished);
			assert_int_equal(side.codec->stream_count, 0);
			assert_int_equal(side.codec->ops->room(side.codec), 0);
			side_close(&side);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(an_answer_without_length_goes_to_the_end),
	        cmocka_unit_test(an_answer_without_length_that_is_reset_is_cut_short),
	        cmocka_unit_test(a_head_without_end_is_cut_off),
	        cmocka_unit_test(interim_answers_without_end_are_cut_off),
	        cmocka_unit_test(bytes_nobody_asked_for_end_an_idle_connection),
	        cmocka_unit_test(an_answer_begun_before_its_request_is_not_taken),
	        cmocka_unit_test(a_second_answer_is_for_nobody),
	        cmocka_unit_test(an_answer_that_contradicts_itself_is_broken),
	        cmocka_unit_test(how_a_lost_connection_is_told),
	        cmocka_unit_test(an_early_answer_is_whole_but_the_connection_is_spent),
	        cmocka_unit_test(an_early_answer_does_not_stop_the_request),
	        cmocka_unit_test(a_websocket_is_a_tunnel_once_the_backend_agrees),
	        cmocka_unit_test(a_websocket_that_is_declined_is_an_ordinary_answer),
	        cmocka_unit_test(a_websocket_answered_with_another_protocol_is_broken),
	        cmocka_unit_test(a_slow_taker_stops_the_reading),
	        cmocka_unit_test(the_user_may_let_go_at_any_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
