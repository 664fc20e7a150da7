// HTTP/1.1 answers of backends: what becomes of the good ones, and that nonsense or half an answer
// never looks like a whole one (BEHAVIOUR 4.10).
#include "tests/gateway/http/side.h"

#define OK "HTTP/1.1 200 OK\r\n"
#define BYTES(literal)                                                                             \
	{                                                                                          \
		(literal), sizeof(literal) - 1                                                     \
	}

#define BYTES(literal)                                                                             \
	{                                                                                          \
		(literal), sizeof(literal) - 1                                                     \
	}

enum after { STAYS, CLOSES };

struct answer {
	const char *what, *method;
	struct str bytes;
	const char *events;
	enum after after;
};

static const struct answer answers[] = {
        {"a length", "GET", BYTES(OK "Content-Length: 2\r\n\r\nok"),
                "1 head 200 length=2\n1 data ok\n1 end\n"},
        {"a length of nought", "GET", BYTES(OK "Content-Length: 0\r\n\r\n"),
                "1 head 200 length=0 end\n"},
        {"no reason phrase", "GET", BYTES("HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"),
                "1 head 200 length=0 end\n"},
        {"not even the space before it", "GET", BYTES("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"),
                "1 head 200 length=0 end\n"},
        {"an odd status and phrase", "GET",
                BYTES("HTTP/1.1 299 \xc3\xa9 x\r\nContent-Length: 0\r\n\r\n"),
                "1 head 299 length=0 end\n"},
        {"chunks and trailers", "GET",
                BYTES(OK "Transfer-Encoding: chunked\r\n\r\n2;x\r\nok\r\n0\r\nX-Sum: 1\r\n"
                         "Content-Length: 9\r\n\r\n"),
                "1 head 200\n1 data ok\n1 end {x-sum: 1}\n"},
        {"no chunks", "GET", BYTES(OK "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
                "1 head 200\n1 end\n"},
        {"fields of this hop go", "GET",
                BYTES(OK "Connection: X-A, keep-alive\r\nX-A: 1\r\nKeep-Alive: 2\r\nX-B: 3\r\n"
                         "Proxy-Connection: 4\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n"),
                "1 head 200 length=0 {x-b: 3} end\n"},
        {"Connection: close", "GET", BYTES(OK "Connection: close\r\nContent-Length: 2\r\n\r\nok"),
                "1 head 200 length=2\n1 data ok\n1 end\n", CLOSES},
        {"HTTP/1.0", "GET", BYTES("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"),
                "1 head 200 length=2\n1 data ok\n1 end\n", CLOSES},
        {"HTTP/1.0 with keep-alive", "GET",
                BYTES("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok"),
                "1 head 200 length=2\n1 data ok\n1 end\n"},
        {"HEAD with a length", "HEAD", BYTES(OK "Content-Length: 2\r\n\r\n"),
                "1 head 200 length=2 end\n"},
        {"HEAD with chunked", "HEAD", BYTES(OK "Transfer-Encoding: chunked\r\n\r\n"),
                "1 head 200 end\n"},
        {"HEAD with nothing", "HEAD", BYTES(OK "\r\n"), "1 head 200 end\n"},
        {"204", "GET", BYTES("HTTP/1.1 204 No Content\r\n\r\n"), "1 head 204 end\n"},
        {"204 with a length", "GET", BYTES("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"),
                "1 head 204 end\n"},
        {"304 with a length", "GET",
                BYTES("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
                "1 head 304 length=5 end\n"},
        {"interim answers", "GET",
                BYTES("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
                      "HTTP/1.1 103 Early Hints\r\n\r\n" OK "Content-Length: 0\r\n\r\n"),
                "1 head 100\n1 head 103 {link: x}\n1 head 103\n1 head 200 length=0 end\n"},
        {"interim answers to HEAD", "HEAD",
                BYTES("HTTP/1.1 100 Continue\r\n\r\n" OK "Content-Length: 5\r\n\r\n"),
                "1 head 100\n1 head 200 length=5 end\n"},
};

static void an_answer_gives_the_same_events_however_it_is_split(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(answers); i++)
		for (unsigned seed = 0; seed < 12; seed++) {
			const struct answer *row = &answers[i];
			struct side side;
			side_open(&side, CLIENT | H1, HABIT_WATCH);
			side_ask(&side, row->method, "/", -1, true);
			side_settle(&side);
			side_feed_split(&side, row->bytes,
			        seed == 0   ? row->bytes.len
			        : seed == 1 ? 1
			                    : 30,
			        seed > 1 ? seed : 0, seed % 2);
			struct buffer expected = {0};
			buffer_printf(&expected, "1 sent\n%s", row->events);
			assert_transcript(&side, row->what, c_string(&expected));
			assert_int_equal(side.codec->finished, row->after == CLOSES);
			assert_int_equal(side.codec->ops->room(side.codec), row->after == STAYS);
			buffer_fini(&expected);
			side_close(&side);
		}
}

static void all_answers_follow_one_another_on_one_connection(void **state)
{
	(void)state;
	struct side side;
	struct buffer expected = {0};
	unsigned count = 0;
	side_open(&side, CLIENT | H1, HABIT_WATCH);
	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		if (answers[i].after == CLOSES)
			continue;
		side_ask(&side, answers[i].method, "/", -1, true);
		assert_int_equal(side.codec->ops->room(side.codec), 0);
		side_settle(&side);
		side_feed(&side, answers[i].bytes);
		side_settle(&side);
		buffer_printf(&expected, "%u sent\n", ++count);
		for (const char *line = answers[i].events; *line; line = strchr(line, '\n') + 1)
			buffer_printf(&expected, "%u%.*s\n", count, (int)strcspn(line + 1, "\n"),
			        line + 1);
	}
	assert_transcript(&side, "keep-alive", c_string(&expected));
	buffer_fini(&expected);
	side_close(&side);
}

struct nonsense {
	const char *what;
	struct str bytes;
	const char *events;  // before the abort
};

static const struct nonsense nonsense[] = {
        {"length and chunked",
                BYTES(OK "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")},
        {"chunked and length",
                BYTES(OK "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n")},
        {"two lengths", BYTES(OK "Content-Length: 2\r\nContent-Length: 3\r\n\r\nok")},
        {"two lengths alike", BYTES(OK "Content-Length: 2\r\nContent-Length: 2\r\n\r\nok")},
        {"a list of lengths", BYTES(OK "Content-Length: 2, 2\r\n\r\nok")},
        {"a negative length", BYTES(OK "Content-Length: -1\r\n\r\nok")},
        {"a length with plus", BYTES(OK "Content-Length: +2\r\n\r\nok")},
        {"a length that overflows", BYTES(OK "Content-Length: 18446744073709551618\r\n\r\nok")},
        {"a length that is none", BYTES(OK "Content-Length: two\r\n\r\nok")},
        {"an empty length", BYTES(OK "Content-Length:\r\n\r\nok")},
        {"another coding", BYTES(OK "Transfer-Encoding: gzip\r\n\r\nok")},
        {"two codings", BYTES(OK "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n")},
        {"chunked twice", BYTES(OK "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n")},
        {"identity", BYTES(OK "Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok")},
        {"chunked in HTTP/1.0",
                BYTES("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")},
        {"chunked in a 204",
                BYTES("HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")},
        {"chunked in a 100",
                BYTES("HTTP/1.1 100 Go\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")},
        {"two lengths in a 304",
                BYTES("HTTP/1.1 304 No\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")},
        {"no status", BYTES("HTTP/1.1 OK\r\n\r\n")},
        {"a status of two digits", BYTES("HTTP/1.1 20 OK\r\n\r\n")},
        {"a status of four digits", BYTES("HTTP/1.1 2000 OK\r\n\r\n")},
        {"a status with a letter", BYTES("HTTP/1.1 20x OK\r\n\r\n")},
        {"a status with a minus", BYTES("HTTP/1.1 -20 OK\r\n\r\n")},
        {"status 099", BYTES("HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n")},
        {"status 000", BYTES("HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n")},
        {"status 600", BYTES("HTTP/1.1 600 OK\r\nContent-Length: 0\r\n\r\n")},
        {"status 999", BYTES("HTTP/1.1 999 OK\r\nContent-Length: 0\r\n\r\n")},
        {"two spaces before the status", BYTES("HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n")},
        {"HTTP/2", BYTES("HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n")},
        {"HTTP/1.2", BYTES("HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n")},
        {"HTTP/0.9", BYTES("<html>hello</html>\r\n\r\n")},
        {"a lower-case version", BYTES("http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")},
        {"ICY", BYTES("ICY 200 OK\r\nContent-Length: 0\r\n\r\n")},
        {"white space before it", BYTES(" HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")},
        {"an empty line before it", BYTES("\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")},
        {"a request for an answer", BYTES("GET / HTTP/1.1\r\nHost: a\r\n\r\n")},
        {"an SSH banner", BYTES("SSH-2.0-OpenSSH_9.2\r\n\r\n")},
        {"a TLS alert", BYTES("\x15\x03\x01\x00\x02\x02\x46\r\n\r\n")},
        {"an HTTP/2 preface", BYTES("\0\0\0\4\0\0\0\0\0")},
        {"a field without colon", BYTES(OK "nonsense\r\nContent-Length: 0\r\n\r\n")},
        {"a field without name", BYTES(OK ": x\r\nContent-Length: 0\r\n\r\n")},
        {"a bad name", BYTES(OK "x y: z\r\nContent-Length: 0\r\n\r\n")},
        {"a space before a colon", BYTES(OK "Content-Length : 0\r\n\r\n")},
        {"a folded line", BYTES(OK "x: y\r\n z\r\nContent-Length: 0\r\n\r\n")},
        {"a NUL", BYTES(OK "x: \0\r\nContent-Length: 0\r\n\r\n")},
        {"a control byte", BYTES(OK "x: \x02\r\nContent-Length: 0\r\n\r\n")},
        {"a bare CR", BYTES(OK "x: y\rContent-Length: 0\r\n\r\n")},
        {"a bare LF", BYTES(OK "x: y\nContent-Length: 0\r\n\r\n")},
        {"lines that end in LF", BYTES("HTTP/1.1 200 OK\nContent-Length: 0\n\n")},
        {"a control byte in the phrase", BYTES("HTTP/1.1 200 O\x01K\r\nContent-Length: 0\r\n\r\n")},
        {"101 unasked",
                BYTES("HTTP/1.1 101 Switch\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")},
        {"101 to h2c", BYTES("HTTP/1.1 101 Switch\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n")},
        {"a bad chunk size", BYTES(OK "Transfer-Encoding: chunked\r\n\r\nx\r\n"), "1 head 200\n"},
        {"a chunk too long", BYTES(OK "Transfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n"),
                "1 head 200\n1 data x\n"},
        {"a chunk size with a space",
                BYTES(OK "Transfer-Encoding: chunked\r\n\r\n1 \r\nx\r\n0\r\n\r\n"), "1 head 200\n"},
        {"a bad trailer", BYTES(OK "Transfer-Encoding: chunked\r\n\r\n0\r\nx\r\n\r\n"),
                "1 head 200\n"},
};

static void nonsense_for_an_answer_aborts_it_and_the_connection(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(nonsense); i++)
		for (unsigned seed = 0; seed < 5; seed++) {
			struct side side;
			struct buffer expected = {0};
			side_open(&side, CLIENT | H1, HABIT_WATCH);
			side_ask(&side, "GET", "/", -1, true);
			side_settle(&side);
			side_feed_split(&side, nonsense[i].bytes,
			        seed == 0   ? nonsense[i].bytes.len
			        : seed == 1 ? 1
			                    : 20,
			        seed > 1 ? seed : 0, true);
			side_say(&side, OK "Content-Length: 0\r\n\r\n");
			side_end(&side);
			buffer_printf(&expected, "1 sent\n%s1 aborted broken\n",
			        nonsense[i].events ? nonsense[i].events : "");
			assert_transcript(&side, nonsense[i].what, c_string(&expected));
			assert_true(side.codec->finished);
			assert_int_equal(side.codec->ops->room(side.codec), 0);
			buffer_fini(&expected);
			side_close(&side);
		}
}

static void an_answer_cut_short_at_any_byte_never_ends(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(answers); i++)
		for (size_t cut = 0; cut < answers[i].bytes.len; cut++) {
			struct side side;
			side_open(&side, CLIENT | H1, HABIT_WATCH);
			side_ask(&side, answers[i].method, "/", -1, true);
			side_settle(&side);
			side_feed(&side, str_of(answers[i].bytes.at, cut));
			side_settle(&side);
			side_end(&side);
			const char *log = transcript(&side);
			if (strstr(log, " end") || !strstr(log, "1 aborted closed\n"))
				fail_msg("%s, %zu bytes of it:\n%s", answers[i].what, cut, log);
			assert_true(side.codec->finished);
			assert_int_equal(side.codec->stream_count, 0);
			side_close(&side);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(an_answer_gives_the_same_events_however_it_is_split),
	        cmocka_unit_test(all_answers_follow_one_another_on_one_connection),
	        cmocka_unit_test(nonsense_for_an_answer_aborts_it_and_the_connection),
	        cmocka_unit_test(an_answer_cut_short_at_any_byte_never_ends),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
