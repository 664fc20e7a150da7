// HTTP/1.1 towards clients: what becomes of a body when its request was refused.
#include "tests/gateway/http/side.h"

#define POST "POST / HTTP/1.1\r\nHost: a\r\n"

static void the_body_of_a_refused_request_is_skipped(void **state)
{
	(void)state;
	static const char *const bodies[] = {
	        "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /",
	        "POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
	        "5\r\nGET /\r\n0\r\nx: y\r\n\r\n",
	};
	for (size_t i = 0; i < ARRAY_LEN(bodies); i++)
		for (unsigned seed = 0; seed < 6; seed++) {
			struct buffer bytes = {0};
			struct side side;
			buffer_printf(
			        &bytes, "%s%s", bodies[i], "GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
			side_open(&side, SERVER | H1, HABIT_REFUSE);
			side_feed_split(&side, buffer_str(&bytes), seed ? 10 : 1, seed, true);
			const char *log = transcript(&side);
			assert_non_null(strstr(log, "1 sent\n2 head GET a /next end\n2 sent\n"));
			assert_null(strstr(log, "3 "));
			assert_false(side.codec->finished);
			side_close(&side);
			buffer_fini(&bytes);
		}
}

static void a_refused_body_without_end_closes_the_connection(void **state)
{
	(void)state;
	char block[4096];
	memset(block, 'G', sizeof(block));
	struct side side;
	side_open(&side, SERVER | H1, HABIT_REFUSE);
	side_say(&side, POST "Transfer-Encoding: chunked\r\n\r\nffffffff\r\n");
	side_settle(&side);
	assert_null(strstr(c_string(&side.out), "connection: close\r\n"));  // it may be short
	for (size_t sent = 0; sent <= H1_DISCARD_MAX; sent += sizeof(block)) {
		assert_false(side.codec->finished);
		side_feed(&side, str_of(block, sizeof(block)));
		side_settle(&side);
	}
	assert_true(side.codec->finished && side.codec->lingering);
	assert_string_equal(transcript(&side), "1 head POST a /\n1 sent\n");
	side_close(&side);
}

// Its client knows then that no further request goes this way, and may stop sending.
static void a_refused_body_said_to_be_too_long_to_skip_closes_with_the_answer(void **state)
{
	(void)state;
	for (size_t over = 0; over < 2; over++) {
		struct side side;
		struct buffer bytes = {0};
		side_open(&side, SERVER | H1, HABIT_REFUSE);
		buffer_printf(&bytes, POST "Content-Length: %zu\r\n\r\n", H1_DISCARD_MAX + over);
		side_feed(&side, buffer_str(&bytes));
		side_settle(&side);
		bool said = strstr(c_string(&side.out), "connection: close\r\n");
		assert_int_equal(said, over);
		assert_int_equal(side.codec->finished, over);
		side_close(&side);
		buffer_fini(&bytes);
	}
}

// The exchange answers while the body still arrives; whoever closes need not wait for the rest.
static void a_refused_request_that_closes_does_not_wait_for_its_body(void **state)
{
	(void)state;
	struct side side;
	side_open(&side, SERVER | H1, HABIT_REFUSE);
	side_say(&side, POST "Connection: close\r\nContent-Length: 10\r\n\r\n12345");
	side_settle(&side);
	assert_true(side.codec->finished && side.codec->lingering);
	assert_string_equal(transcript(&side), "1 head POST a / length=10\n1 data 12345\n1 sent\n");
	side_close(&side);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(the_body_of_a_refused_request_is_skipped),
	        cmocka_unit_test(a_refused_body_without_end_closes_the_connection),
	        cmocka_unit_test(a_refused_body_said_to_be_too_long_to_skip_closes_with_the_answer),
	        cmocka_unit_test(a_refused_request_that_closes_does_not_wait_for_its_body),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
