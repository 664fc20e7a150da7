// HTTP/1.1 towards clients: expectations, answers without body, shutdown, upgrades,
// and when the connection stays or ends.
#include "tests/gateway/http/side.h"

#define GET "GET / HTTP/1.1\r\nHost: a\r\n"
#define POST "POST / HTTP/1.1\r\nHost: a\r\n"

static void expect_100_continue_is_answered_before_the_body(void **state)
{
	(void)state;
	struct side side;
	struct head interim;
	side_open(&side, SERVER | H1, HABIT_ANSWER);
	side_say(&side, POST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
	assert_string_equal(transcript(&side), "1 head POST a / length=2 expects\n");
	head_answer(&interim, 100);
	stream_send_head(user_at(&side, 1)->stream, &interim, false);
	assert_string_equal(c_string(&side.out), "HTTP/1.1 100 Continue\r\n\r\n");
	side_say(&side, "ok" GET "\r\n");
	side_settle(&side);
	assert_string_equal(transcript(&side),
	        "1 head POST a / length=2 expects\n1 data ok\n1 end\n"
	        "1 sent\n2 head GET a / end\n2 sent\n");
	side_close(&side);
}

static void a_refused_expectation_closes_for_nobody_knows_what_comes_next(void **state)
{
	(void)state;
	struct side side;
	side_open(&side, SERVER | H1, HABIT_REFUSE);
	side_say(&side, POST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
	side_settle(&side);
	assert_non_null(strstr(c_string(&side.out), "connection: close\r\n"));
	assert_true(side.codec->finished && side.codec->lingering);
	side_say(&side, GET "\r\n");
	side_settle(&side);
	assert_string_equal(transcript(&side), "1 head POST a / length=2 expects\n1 sent\n");
	side_close(&side);
}

static void a_client_that_did_not_wait_for_its_100_keeps_the_connection(void **state)
{
	(void)state;
	struct side side;
	side_open(&side, SERVER | H1, HABIT_ANSWER);
	side_say(&side, POST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\nok" GET "\r\n");
	side_settle(&side);
	assert_non_null(strstr(transcript(&side), "2 head GET a / end\n2 sent\n"));
	assert_false(side.codec->finished);
	side_close(&side);
}

static void no_body_and_no_1xx_where_none_may_be(void **state)
{
	(void)state;
	static const struct {
		const char *request;
		int status;
		const char *answer;
	} rows[] = {
	        {"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", 200,
	                "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"},
	        {GET "\r\n", 304, "HTTP/1.1 304 Not Modified\r\ncontent-length: 4\r\n\r\n"},
	        {"GET / HTTP/1.0\r\n\r\n", 200,
	                "HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nbody"},
	        {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200,
	                "HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: "
	                "keep-alive\r\n\r\nbody"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct side side;
		struct head hints, head;
		side_open(&side, SERVER | H1, HABIT_WATCH);
		side_say(&side, rows[i].request);
		struct user *user = user_at(&side, 1);
		if (strstr(rows[i].request, "1.0")) {
			head_answer(&hints, 103);
			stream_send_head(user->stream, &hints, false);
		}
		head_answer(&head, rows[i].status);
		head.content_length = 4;
		user_say(user, "body", true);
		stream_send_head(user->stream, &head, false);
		side_settle(&side);
		assert_string_equal(c_string(&side.out), rows[i].answer);
		assert_non_null(strstr(transcript(&side), "1 sent\n"));
		side_close(&side);
	}
}

static void a_204_has_neither_length_nor_coding(void **state)
{
	(void)state;
	struct side side;
	struct head head;
	side_open(&side, SERVER | H1, HABIT_WATCH);
	side_say(&side, GET "\r\n");
	head_answer(&head, 204);
	stream_send_head(user_at(&side, 1)->stream, &head, true);
	side_settle(&side);
	assert_string_equal(c_string(&side.out), "HTTP/1.1 204 No Content\r\n\r\n");
	assert_string_equal(transcript(&side), "1 head GET a / end\n1 sent\n");
	side_close(&side);
}

static void an_idle_connection_that_shuts_down_answers_what_was_under_way(void **state)
{
	(void)state;
	struct side side;
	side_open(&side, SERVER | H1, HABIT_WATCH);
	side.codec->ops->shutdown(side.codec);
	side_settle(&side);
	assert_false(side.codec->finished);
	side_say(&side, GET "\r\n");
	user_answer(user_at(&side, 1), 200, "ok");
	side_settle(&side);
	assert_non_null(strstr(c_string(&side.out), "connection: close\r\n"));
	assert_true(side.codec->finished);
	side_close(&side);
}

static void an_idle_connection_told_twice_shuts_down_at_once(void **state)
{
	(void)state;
	struct side side;
	side_open(&side, SERVER | H1, HABIT_WATCH);
	side.codec->ops->shutdown(side.codec);
	side.codec->ops->shutdown(side.codec);
	side_settle(&side);
	assert_true(side.codec->finished);
	side_close(&side);
}

static void a_busy_connection_shuts_down_after_its_answer(void **state)
{
	(void)state;
	struct side side;
	side_open(&side, SERVER | H1, HABIT_WATCH);
	side_say(&side, GET "\r\n");
	side.codec->ops->shutdown(side.codec);
	side_settle(&side);
	assert_false(side.codec->finished);
	user_answer(user_at(&side, 1), 200, "ok");
	side_settle(&side);
	assert_non_null(strstr(c_string(&side.out), "connection: close\r\n"));
	assert_true(side.codec->finished);
	side_close(&side);
}

static void a_shutdown_amid_an_answer_says_so_with_the_next(void **state)
{
	(void)state;
	struct side side;
	struct head head;
	side_open(&side, SERVER | H1, HABIT_WATCH);
	side_say(&side, GET "\r\n");
	struct user *user = user_at(&side, 1);
	head_answer(&head, 200);
	user_say(user, "on", false);
	stream_send_head(user->stream, &head, false);
	side_settle(&side);
	side.codec->ops->shutdown(side.codec);
	side_settle(&side);
	assert_false(side.codec->finished);
	user_say(user, "e", true);
	side_settle(&side);
	assert_false(side.codec->finished);
	assert_non_null(strstr(c_string(&side.out), "2\r\non\r\n1\r\ne\r\n0\r\n\r\n"));
	assert_null(strstr(c_string(&side.out), "connection: close"));
	side_say(&side, GET "\r\n");
	user_answer(user_at(&side, 2), 200, "ok");
	side_settle(&side);
	assert_non_null(strstr(c_string(&side.out), "connection: close"));
	assert_true(side.codec->finished);
	side_close(&side);
}

static const char websocket[] = GET "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
                                    "Sec-WebSocket-Key: k\r\n\r\nbytes behind";

static void a_websocket_that_is_accepted_becomes_a_tunnel(void **state)
{
	(void)state;
	for (unsigned seed = 0; seed < 6; seed++) {
		struct side side;
		struct head head;
		side_open(&side, SERVER | H1, HABIT_WATCH);
		side_feed_split(&side, str_from(websocket), seed ? 9 : 1, seed, true);
		assert_string_equal(
		        transcript(&side), "1 head GET a / {sec-websocket-key: k} websocket\n");
		struct user *user = user_at(&side, 1);
		head_answer(&head, 101);
		head.websocket = true;
		stream_send_head(user->stream, &head, false);
		user_say(user, "from behind", false);
		side_settle(&side);
		side_say(&side, " and more");
		assert_string_equal(c_string(&side.out),
		        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: "
		        "websocket\r\n\r\n"
		        "from behind");
		side_end(&side);
		user_say(user, "!", true);
		side_settle(&side);
		assert_string_equal(transcript(&side),
		        "1 head GET a / {sec-websocket-key: k} websocket\n"
		        "1 data bytes behind and more\n1 end\n1 sent\n");
		assert_true(side.codec->finished);
		side_close(&side);
	}
}

static void a_tunnel_its_backend_ended_does_not_wait_for_the_client(void **state)
{
	(void)state;
	struct side side;
	struct head head;
	side_open(&side, SERVER | H1, HABIT_WATCH);
	side_say(&side, websocket);
	struct user *user = user_at(&side, 1);
	head_answer(&head, 101);
	stream_send_head(user->stream, &head, false);
	user_say(user, "bye", true);
	side_settle(&side);
	assert_non_null(strstr(transcript(&side), "1 sent\n"));
	assert_true(side.codec->finished);
	side_close(&side);
}

static void a_websocket_that_is_declined_leaves_an_ordinary_connection(void **state)
{
	(void)state;
	struct side side;
	side_open(&side, SERVER | H1, HABIT_REFUSE);
	side_say(&side, GET "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET /2 "
	                    "HTTP/1.1\r\nHost: a\r\n\r\n");
	side_settle(&side);
	assert_string_equal(transcript(&side),
	        "1 head GET a / websocket\n1 sent\n2 head GET a /2 end\n2 sent\n");
	assert_null(strstr(c_string(&side.out), "upgrade"));
	side_close(&side);
}

static void the_user_may_let_go_at_any_time(void **state)
{
	(void)state;
	static const char *const requests_begun[] = {
	        GET "\r\n",
	        POST "Content-Length: 5\r\n\r\n12",
	        POST "Transfer-Encoding: chunked\r\n\r\n2\r\n12",
	        POST "Transfer-Encoding: chunked\r\n\r\n0\r\nx: y",
	        websocket,
	};
	for (size_t i = 0; i < ARRAY_LEN(requests_begun); i++)
		for (int when = 0; when < 4; when++) {
			struct side side;
			struct head head;
			side_open(&side, SERVER | H1, when == 0 ? HABIT_LEAVE : HABIT_WATCH);
			side_say(&side, requests_begun[i]);
			struct user *user = user_at(&side, 1);
			head_answer(&head, 200);
			if (when >= 2)
				stream_send_head(user->stream, &head, false);
			if (when >= 3)
				user_say(user, "part", false);
			if (when >= 3)
				codec_pull(side.codec, 1 << 16);
			user_release(user);
			side_settle(&side);
			side_say(&side, GET "\r\n");
			assert_true(side.codec->finished);
			assert_int_equal(side.codec->stream_count, 0);
			assert_null(strstr(c_string(&side.out), "0\r\n\r\n"));
			side_close(&side);
		}
}

static void a_refused_caller_gets_one_answer_and_no_ear(void **state)
{
	(void)state;
	struct codec_limits limits = ordinary_limits;
	limits.refused = true;
	limits.header_bytes = 1024;
	struct side side;
	side_open_with(&side, SERVER | H1, HABIT_REFUSE, &limits);
	side_say(&side, POST "Content-Length: 5\r\n\r\nhello" GET "\r\n");
	side_settle(&side);
	assert_string_equal(transcript(&side), "1 head POST a / length=5\n1 sent\n");
	assert_true(side.codec->finished && side.codec->lingering);
	side_close(&side);
}

static void a_head_that_takes_too_long_is_answered_408_or_dropped(void **state)
{
	(void)state;
	struct side side;
	side_open(&side, SERVER | H1, HABIT_ANSWER);
	side_say(&side, "GET / HT");
	assert_true(side.codec->head_pending);
	side.codec->ops->stall(side.codec, "too slow");
	side_settle(&side);
	assert_string_equal(transcript(&side), "1 faulty request_timeout 408\n1 sent\n");
	assert_true(side.codec->finished);
	side_close(&side);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(expect_100_continue_is_answered_before_the_body),
	        cmocka_unit_test(a_refused_expectation_closes_for_nobody_knows_what_comes_next),
	        cmocka_unit_test(a_client_that_did_not_wait_for_its_100_keeps_the_connection),
	        cmocka_unit_test(no_body_and_no_1xx_where_none_may_be),
	        cmocka_unit_test(a_204_has_neither_length_nor_coding),
	        cmocka_unit_test(an_idle_connection_that_shuts_down_answers_what_was_under_way),
	        cmocka_unit_test(an_idle_connection_told_twice_shuts_down_at_once),
	        cmocka_unit_test(a_busy_connection_shuts_down_after_its_answer),
	        cmocka_unit_test(a_shutdown_amid_an_answer_says_so_with_the_next),
	        cmocka_unit_test(a_websocket_that_is_accepted_becomes_a_tunnel),
	        cmocka_unit_test(a_tunnel_its_backend_ended_does_not_wait_for_the_client),
	        cmocka_unit_test(a_websocket_that_is_declined_leaves_an_ordinary_connection),
	        cmocka_unit_test(the_user_may_let_go_at_any_time),
	        cmocka_unit_test(a_refused_caller_gets_one_answer_and_no_ear),
	        cmocka_unit_test(a_head_that_takes_too_long_is_answered_408_or_dropped),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
