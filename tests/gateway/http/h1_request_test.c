// HTTP/1.1 requests towards clients: what becomes of the good ones, in which order, and that half a
// request is none. The hostile ones are in h1_hostile_test.c.
#include "tests/gateway/http/side.h"

#define GET "GET / HTTP/1.1\r\nHost: a\r\n"
#define POST "POST / HTTP/1.1\r\nHost: a\r\n"
#define BYTES(literal)                                                                             \
	{                                                                                          \
		(literal), sizeof(literal) - 1                                                     \
	}

#define BYTES(literal)                                                                             \
	{                                                                                          \
		(literal), sizeof(literal) - 1                                                     \
	}

struct good {
	const char *what;
	struct str bytes;
	const char *events;  // before the answer
	bool closes;
};

static const struct good requests[] = {
        {"a plain GET", BYTES(GET "\r\n"), "1 head GET a / end\n"},
        {"names in lower case, values trimmed", BYTES(GET "X-Y: \t b \t\r\nACCEPT:c\r\n\r\n"),
                "1 head GET a / {x-y: b; accept: c} end\n"},
        {"an empty value", BYTES(GET "x:\r\ny: \r\nz: 1\r\n\r\n"),
                "1 head GET a / {x: ; y: ; z: 1} end\n"},
        {"repeated fields stay apart", BYTES(GET "x: 1\r\nx: 2\r\n\r\n"),
                "1 head GET a / {x: 1; x: 2} end\n"},
        {"bytes beyond ASCII in a value", BYTES(GET "x: \xc3\xa9\r\n\r\n"),
                "1 head GET a / {x: \\xc3\\xa9} end\n"},
        {"a tab inside a value", BYTES(GET "x: a\tb\r\n\r\n"), "1 head GET a / {x: a\\x09b} end\n"},
        {"a query", BYTES("GET /x?y=%20&z HTTP/1.1\r\nHost: a:80\r\n\r\n"),
                "1 head GET a:80 /x?y=%20&z end\n"},
        {"an address for a Host", BYTES("GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n"),
                "1 head GET [::1]:8080 / end\n"},
        {"OPTIONS of everything", BYTES("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
                "1 head OPTIONS a * end\n"},
        {"absolute form outranks Host", BYTES("GET http://b:1/x HTTP/1.1\r\nHost: a\r\n\r\n"),
                "1 head GET b:1 /x end\n"},
        {"absolute form, https", BYTES("GET HTTPS://b/x HTTP/1.1\r\nHost: a\r\n\r\n"),
                "1 head GET b /x end\n"},
        {"absolute form without a path", BYTES("GET http://b HTTP/1.1\r\nHost: a\r\n\r\n"),
                "1 head GET b / end\n"},
        {"absolute form with a query alone", BYTES("GET http://b?x HTTP/1.1\r\nHost: a\r\n\r\n"),
                "1 head GET b /?x end\n"},
        {"a length", BYTES(POST "Content-Length: 5\r\n\r\nhello"),
                "1 head POST a / length=5\n1 data hello\n1 end\n"},
        {"a length with leading zeros", BYTES(POST "Content-Length: 0005\r\n\r\nhello"),
                "1 head POST a / length=5\n1 data hello\n1 end\n"},
        {"a length of nought", BYTES(POST "Content-Length: 0\r\n\r\n"),
                "1 head POST a / length=0 end\n"},
        {"a body of any bytes", BYTES(POST "Content-Length: 4\r\n\r\n\0\r\n\xff"),
                "1 head POST a / length=4\n1 data \\x00\\x0d\\x0a\\xff\n1 end\n"},
        {"chunks", BYTES(POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
                "1 head POST a /\n1 data abcde\n1 end\n"},
        {"chunked in capitals", BYTES(POST "transfer-encoding: CHUNKED\r\n\r\n1\r\na\r\n0\r\n\r\n"),
                "1 head POST a /\n1 data a\n1 end\n"},
        {"no chunks", BYTES(POST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
                "1 head POST a /\n1 end\n"},
        {"chunk sizes in capitals and zeros",
                BYTES(POST "Transfer-Encoding: chunked\r\n\r\n00A\r\n0123456789\r\n000\r\n\r\n"),
                "1 head POST a /\n1 data 0123456789\n1 end\n"},
        {"chunk extensions are dropped",
                BYTES(POST "Transfer-Encoding: chunked\r\n\r\n1;a=b;c=\"d e\"\r\nx\r\n0;z\r\n\r\n"),
                "1 head POST a /\n1 data x\n1 end\n"},
        {"a chunk that looks like an end",
                BYTES(POST "Transfer-Encoding: chunked\r\n\r\n7\r\n0\r\n\r\nGE\r\n0\r\n\r\n"),
                "1 head POST a /\n1 data 0\\x0d\\x0a\\x0d\\x0aGE\n1 end\n"},
        {"trailers", BYTES(POST "Transfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 1\r\ny: \r\n\r\n"),
                "1 head POST a /\n1 end {x-sum: 1; y: }\n"},
        {"forbidden trailers are dropped",
                BYTES(POST "Transfer-Encoding: chunked\r\n\r\n0\r\n"
                           "Content-Length: 5\r\nHost: b\r\nAuthorization: c\r\nCookie: d\r\n"
                           "X-Forwarded-Client-Cert: e\r\nX_Forwarded_Client_Cert: f\r\n"
                           "Connection: x-sum\r\nTE: g\r\nTrailer: h\r\nContent-Type: i\r\n"
                           "x-sum: 1\r\n\r\n"),
                "1 head POST a /\n1 end {x-sum: 1}\n"},
        {"fields of this hop go",
                BYTES(GET "Connection: x-a, Keep-Alive\r\nX-A: 1\r\nX-B: 2\r\n"
                          "Keep-Alive: 3\r\nProxy-Connection: 4\r\nTE: trailers\r\n"
                          "Upgrade: h2c\r\nHTTP2-Settings: 5\r\nTrailer: x\r\n\r\n"),
                "1 head GET a / {x-b: 2; trailer: x} end\n"},
        {"two Connection fields, odd commas and cases",
                BYTES(GET "connection: ,, X-A ,\r\nx-a: 1\r\nCONNECTION: x-B\r\nx-b: 2\r\nx-c: "
                          "3\r\n\r\n"),
                "1 head GET a / {x-c: 3} end\n"},
        {"Connection cannot name what is not the client's to drop",
                BYTES(POST "Connection: host, content-length, x-forwarded-client-cert, "
                           "X-Forwarded-For\r\nX-Forwarded-For: 1\r\nContent-Length: 2\r\n\r\nok"),
                "1 head POST a / length=2 {x-forwarded-for: 1}\n1 data ok\n1 end\n"},
        {"Connection cannot name transfer-encoding",
                BYTES(POST "Connection: transfer-encoding\r\nTransfer-Encoding: "
                           "chunked\r\n\r\n0\r\n\r\n"),
                "1 head POST a /\n1 end\n"},
        {"an upgrade to h2c is not passed on",
                BYTES(GET "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
                          "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n"),
                "1 head GET a / end\n"},
        {"an upgrade to several things is not passed on",
                BYTES(GET "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n\r\n"),
                "1 head GET a / end\n"},
        {"an upgrade Connection does not name", BYTES(GET "Upgrade: websocket\r\n\r\n"),
                "1 head GET a / end\n"},
        {"an upgrade with a body",
                BYTES(POST
                        "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n\r\nx"),
                "1 head POST a / length=1\n1 data x\n1 end\n"},
        {"an upgrade by another method",
                BYTES(POST
                        "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n"),
                "1 head POST a / length=0 end\n"},
        {"one empty line before", BYTES("\r\n" GET "\r\n"), "1 head GET a / end\n"},
        {"Connection: close", BYTES(GET "Connection: close\r\n\r\n"), "1 head GET a / end\n", true},
        {"Connection: CLOSE among others", BYTES(GET "Connection: x, CLOSE\r\n\r\n"),
                "1 head GET a / end\n", true},
        {"HTTP/1.0", BYTES("GET / HTTP/1.0\r\n\r\n"), "1 head GET  / end\n", true},
        {"HTTP/1.0 with a Host", BYTES("GET / HTTP/1.0\r\nHost: a\r\n\r\n"), "1 head GET a / end\n",
                true},
        {"HTTP/1.0 with keep-alive",
                BYTES("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"),
                "1 head GET a / end\n"},
        {"HTTP/1.0 with keep-alive and close",
                BYTES("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive, close\r\n\r\n"),
                "1 head GET a / end\n", true},
        {"HTTP/1.0 with a length",
                BYTES("POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 2\r\n\r\nok"),
                "1 head POST a / length=2\n1 data ok\n1 end\n", true},
        {"HTTP/1.0 upgrades nothing",
                BYTES("GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: "
                      "websocket\r\n\r\n"),
                "1 head GET a / end\n", true},
};

static void a_request_gives_the_same_events_however_it_is_split(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(requests); i++)
		for (unsigned seed = 0; seed < 12; seed++) {
			const struct good *row = &requests[i];
			struct side side;
			char expected[300];
			side_open(&side, SERVER | H1, HABIT_ANSWER);
			side_feed_split(&side, row->bytes,
			        seed == 0   ? row->bytes.len
			        : seed == 1 ? 1
			                    : 30,
			        seed > 1 ? seed : 0, seed % 2);
			snprintf(expected, sizeof(expected), "%s1 sent\n", row->events);
			assert_transcript(&side, row->what, expected);
			if (side.codec->finished != row->closes)
				fail_msg("%s: keep-alive is wrong", row->what);
			const char *answer = c_string(&side.out);
			assert_true(strstr(answer, "HTTP/1.1 200 OK\r\n") == answer);
			assert_int_equal(
			        strstr(answer, "connection: close\r\n") != NULL, row->closes);
			side_close(&side);
		}
}

// All good rows one after the other on one connection, as long as it stays.
static void pipelined_requests_are_answered_in_order(void **state)
{
	(void)state;
	struct buffer bytes = {0}, expected = {0};
	unsigned count = 0;
	for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
		if (requests[i].closes || requests[i].bytes.at[0] == '\r')
			continue;
		buffer_append_str(&bytes, requests[i].bytes);
		count++;
		for (const char *line = requests[i].events; *line; line = strchr(line, '\n') + 1)
			buffer_printf(&expected, "%u%.*s\n", count, (int)strcspn(line + 1, "\n"),
			        line + 1);
		buffer_printf(&expected, "%u sent\n", count);
	}
	for (unsigned seed = 0; seed < 20; seed++) {
		struct side side;
		side_open(&side, SERVER | H1, HABIT_ANSWER);
		side_feed_split(&side, buffer_str(&bytes),
		        seed == 0   ? buffer_len(&bytes)
		        : seed == 1 ? 1
		                    : 700,
		        seed > 1 ? seed : 0, seed % 2);
		assert_transcript(&side, "the pipeline", c_string(&expected));
		assert_false(side.codec->finished);
		assert_false(side.codec->head_pending);
		assert_int_equal(buffer_len(&h1_of(side.codec)->in), 0);
		side_close(&side);
	}
	buffer_fini(&bytes);
	buffer_fini(&expected);
}

static void the_second_request_waits_until_the_first_answer_has_left(void **state)
{
	(void)state;
	struct side side;
	side_open(&side, SERVER | H1, HABIT_WATCH);
	side_say(&side, GET "\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3");
	side_settle(&side);
	assert_string_equal(transcript(&side), "1 head GET a / end\n");
	assert_false(side.codec->head_pending);
	user_answer(user_at(&side, 1), 200, "one");
	side_settle(&side);
	assert_string_equal(transcript(&side), "1 head GET a / end\n1 sent\n2 head GET a /2 end\n");
	user_answer(user_at(&side, 2), 200, "two");
	side_settle(&side);
	assert_true(side.codec->head_pending);  // the third has begun
	assert_string_equal(c_string(&side.out), "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\none"
	                                         "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\ntwo");
	side_close(&side);
}

static void a_client_that_floods_its_pipeline_stops_being_read(void **state)
{
	(void)state;
	struct side side;
	side_open(&side, SERVER | H1, HABIT_WATCH);
	side_say(&side, GET "\r\n");
	size_t fed = 0;
	while (side.codec->ops->wants_bytes(side.codec)) {
		side_say(&side, GET "\r\n");
		fed += strlen(GET "\r\n");
		assert_true(fed < 256 * 1024);
	}
	// Once its first is answered the rest is served, and reading goes on.
	side.habit = HABIT_ANSWER;
	user_answer(user_at(&side, 1), 200, "");
	side_settle(&side);
	assert_int_equal(side.user_count, 1 + fed / strlen(GET "\r\n"));
	assert_true(side.codec->ops->wants_bytes(side.codec));
	side_close(&side);
}

// Answers nobody reads: no more requests are taken up than fit under the mark.
static void pulling_stops_at_the_mark_and_goes_on_later(void **state)
{
	(void)state;
	struct side side;
	side_open(&side, SERVER | H1, HABIT_ANSWER);
	for (int i = 0; i < 1000; i++)
		side_say(&side, GET "\r\n");
	for (int i = 0; i < 100; i++) {
		codec_pull(side.codec, 1000);
		assert_true(buffer_len(&side.out) < 1000 + 200);
	}
	assert_true(side.user_count < 40);
	while (buffer_len(&side.out)) {
		buffer_clear(&side.out);
		codec_pull(side.codec, 1000);
	}
	assert_int_equal(side.user_count, 1000);
	side_close(&side);
}

static void a_request_cut_short_at_any_byte_never_ends(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(requests); i++)
		for (size_t cut = 0; cut < requests[i].bytes.len; cut++) {
			struct side side;
			side_open(&side, SERVER | H1, HABIT_ANSWER);
			side_feed(&side, str_of(requests[i].bytes.at, cut));
			side_end(&side);
			const char *log = transcript(&side);
			if (strstr(log, " end"))
				fail_msg("%s, %zu bytes of it:\n%s", requests[i].what, cut, log);
			if (*log && !strstr(log, "1 aborted cancelled\n"))
				fail_msg("%s, %zu bytes of it:\n%s", requests[i].what, cut, log);
			assert_true(side.codec->finished);
			assert_int_equal(side.codec->stream_count, 0);
			side_close(&side);
		}
}

static void a_client_that_leaves_before_its_answer_is_told(void **state)
{
	(void)state;
	struct side side;
	side_open(&side, SERVER | H1, HABIT_WATCH);
	side_say(&side, GET "\r\nGET /never HTTP/1.1\r\nHost: a\r\n\r\n");
	side_end(&side);
	assert_string_equal(transcript(&side), "1 head GET a / end\n1 aborted cancelled\n");
	assert_true(side.codec->finished);
	side_close(&side);
}

static void a_slow_taker_stops_the_reading_and_credit_starts_it_again(void **state)
{
	(void)state;
	char block[16 * 1024];
	memset(block, 'x', sizeof(block));
	struct side side;
	side_open(&side, SERVER | H1, HABIT_ANSWER);
	side.keeps_credit = true;
	side_say(&side, POST "Content-Length: 1000000\r\n\r\n");
	for (size_t held = 0; held < BODY_HIGH; held += sizeof(block)) {
		assert_true(side.codec->ops->wants_bytes(side.codec));
		side_feed(&side, str_of(block, sizeof(block)));
	}
	assert_false(side.codec->ops->wants_bytes(side.codec));
	side.dirty = false;
	stream_credit(user_at(&side, 1)->stream, BODY_HIGH - BODY_LOW + 1);
	assert_true(side.dirty);
	assert_true(side.codec->ops->wants_bytes(side.codec));
	side_close(&side);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_request_gives_the_same_events_however_it_is_split),
	        cmocka_unit_test(pipelined_requests_are_answered_in_order),
	        cmocka_unit_test(the_second_request_waits_until_the_first_answer_has_left),
	        cmocka_unit_test(a_client_that_floods_its_pipeline_stops_being_read),
	        cmocka_unit_test(pulling_stops_at_the_mark_and_goes_on_later),
	        cmocka_unit_test(a_request_cut_short_at_any_byte_never_ends),
	        cmocka_unit_test(a_client_that_leaves_before_its_answer_is_told),
	        cmocka_unit_test(a_slow_taker_stops_the_reading_and_credit_starts_it_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
