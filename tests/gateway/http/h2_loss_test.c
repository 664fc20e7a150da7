// Requests of HTTP/2 that a backend resets, refuses, forgets or breaks: what is safe to send again
// and what is not.
#include "tests/gateway/http/h2_wire.h"

static void what_a_reset_means(void **state)
{
	(void)state;
	static const struct {
		uint32_t code;
		const char *what, *none, *begun, *whole;
	} rows[] = {
	        {NGHTTP2_REFUSED_STREAM, "REFUSED_STREAM", "unprocessed", "cancelled", NULL},
	        {NGHTTP2_CANCEL, "CANCEL", "cancelled", "cancelled", NULL},
	        {NGHTTP2_NO_ERROR, "NO_ERROR", "cancelled", "cancelled", NULL},
	        {NGHTTP2_INTERNAL_ERROR, "INTERNAL_ERROR", "cancelled", "cancelled", NULL},
	        {NGHTTP2_PROTOCOL_ERROR, "PROTOCOL_ERROR", "cancelled", "cancelled", NULL},
	        {NGHTTP2_HTTP_1_1_REQUIRED, "HTTP_1_1_REQUIRED", "cancelled", "cancelled", NULL},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (int stage = 0; stage < 3; stage++) {
			struct rig rig;
			struct buffer expected = {0};
			rig_open(&rig, CLIENT, HABIT_WATCH);
			wire_say(&rig.wire);
			side_ask(&rig.side, "POST", "/", -1, false);
			wire_listen(&rig.wire);
			if (stage)
				put_headers(say(&rig), 1, stage == 2 ? END_STREAM : 0,
				        STR(":status: 200\n"));
			put_code(say(&rig), NGHTTP2_RST_STREAM, 1, rows[i].code);
			rig.side.keeps_streams = true;
			wire_say(&rig.wire);
			if (stage)
				buffer_printf(
				        &expected, "1 head 200%s\n", stage == 2 ? " end" : "");
			if (stage < 2)  // a whole answer is whole, whatever becomes of the request
				buffer_printf(&expected, "1 aborted %s\n",
				        stage ? rows[i].begun : rows[i].none);
			assert_transcript(&rig.side, rows[i].what, c_string(&expected));
			user_release(user_at(&rig.side, 1));
			wire_listen(&rig.wire);
			assert_int_equal(rig.side.codec->stream_count, 0);
			assert_false(rig.side.codec->finished);
			buffer_fini(&expected);
			rig_close(&rig);
		}
}

static void an_early_answer_is_whole_and_the_request_is_dropped(void **state)
{
	(void)state;
	struct rig rig;
	rig_open(&rig, CLIENT, HABIT_WATCH);
	wire_say(&rig.wire);
	struct user *user = side_ask(&rig.side, "POST", "/", -1, false);
	user_say(user, "half", false);
	wire_listen(&rig.wire);
	put_headers(say(&rig), 1, END_STREAM, STR(":status: 413\n"));
	wire_say(&rig.wire);
	assert_string_equal(transcript(&rig.side), "1 head 413 end\n");
	assert_non_null(strstr(heard(&rig.wire), "RST_STREAM 1 CANCEL\n"));
	assert_int_equal(rig.side.codec->stream_count, 0);
	rig_close(&rig);
}

static void goaway_tells_which_requests_were_not_seen(void **state)
{
	(void)state;
	struct rig rig;
	rig_open(&rig, CLIENT, HABIT_WATCH);
	wire_say(&rig.wire);
	for (int i = 0; i < 3; i++)
		side_ask(&rig.side, "GET", "/", -1, true);
	wire_listen(&rig.wire);
	side_ask(&rig.side, "GET", "/queued", -1, true);
	put_goaway(say(&rig), 3, NGHTTP2_NO_ERROR);
	wire_say(&rig.wire);
	assert_string_equal(transcript(&rig.side), "1 sent\n2 sent\n3 sent\n3 aborted unprocessed\n"
	                                           "4 aborted unprocessed\n");
	assert_int_equal(rig.side.codec->ops->room(rig.side.codec), 0);
	assert_null(rig.side.codec->ops->open(rig.side.codec));
	assert_null(strstr(heard(&rig.wire), "/queued"));
	assert_null(strstr(heard(&rig.wire), "RST_STREAM 7"));
	put_headers(say(&rig), 1, END_STREAM, STR(":status: 200\n"));
	put_headers(say(&rig), 3, 0, STR(":status: 200\n"));
	wire_say(&rig.wire);
	assert_false(rig.side.codec->finished);
	put_data(say(&rig), 3, END_STREAM, "ok");
	wire_say(&rig.wire);
	assert_non_null(
	        strstr(transcript(&rig.side), "1 head 200 end\n2 head 200\n2 data ok\n2 end\n"));
	assert_true(rig.side.codec->finished);
	rig_close(&rig);
}

static void a_lost_connection_aborts_every_stream(void **state)
{
	(void)state;
	for (int how = 0; how < 2; how++) {
		struct rig rig;
		rig_open(&rig, CLIENT, HABIT_WATCH);
		wire_say(&rig.wire);
		for (int i = 0; i < 3; i++)
			side_ask(&rig.side, "GET", "/", -1, true);
		wire_listen(&rig.wire);
		put_headers(say(&rig), 3, 0, STR(":status: 200\n"));
		put_headers(say(&rig), 5, END_STREAM, STR(":status: 200\n"));
		wire_say(&rig.wire);
		side_ask(&rig.side, "GET", "/not-sent", -1, true);
		side_forget(&rig.side);
		if (how)
			side_end(&rig.side);
		else
			(rig.side.codec->ops->fail)(rig.side.codec, ABORT_CLOSED);
		assert_string_equal(transcript(&rig.side),
		        "1 aborted unanswered\n2 aborted closed\n4 aborted unprocessed\n");
		assert_true(rig.side.codec->finished);
		assert_int_equal(rig.side.codec->ops->room(rig.side.codec), 0);
		rig_close(&rig);
	}
}

static void a_backend_that_breaks_the_rules_costs_only_its_own_streams(void **state)
{
	(void)state;
	struct rig rig;
	rig_open(&rig, CLIENT, HABIT_WATCH);
	wire_say(&rig.wire);
	side_ask(&rig.side, "GET", "/", -1, true);
	side_ask(&rig.side, "GET", "/", -1, true);
	wire_listen(&rig.wire);
	put_headers(say(&rig), 1, 0, STR(":status: 200\ncontent-length: 2\n"));
	put_data(say(&rig), 1, END_STREAM, "x");
	put_headers(say(&rig), 3, 0, STR(":status: 200\ncontent-length: 2\n"));
	put_data(say(&rig), 3, END_STREAM, "too much");
	wire_say(&rig.wire);
	assert_string_equal(transcript(&rig.side),
	        "1 sent\n2 sent\n1 head 200 length=2\n2 head 200 length=2\n"
	        "1 data x\n1 aborted broken\n2 aborted broken\n");
	assert_false(rig.side.codec->finished);
	rig_close(&rig);
}

static void an_answer_that_is_no_http_2_aborts_all(void **state)
{
	(void)state;
	static const char *const answers[] = {
	        "HTTP/1.1 400 Bad Request\r\n\r\n", "\x15\x03\x01", "garbage garbage"};
	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		struct side side;
		struct wire wire;
		side_open(&side, CLIENT | H2, HABIT_WATCH);
		wire_open(&wire, &side);
		side_ask(&side, "GET", "/", -1, true);
		wire_listen(&wire);
		buffer_clear(&wire.say);
		buffer_append_str(&wire.say, str_from(answers[i]));
		wire_say(&wire);
		side_end(&side);
		const char *log = transcript(&side);
		if (!strstr(log, "1 aborted closed\n") || strstr(log, "head"))
			fail_msg("%s:\n%s", answers[i], log);
		assert_true(side.codec->finished);
		wire_close(&wire);
		side_close(&side);
	}
}

static void a_push_is_refused(void **state)
{
	(void)state;
	struct rig rig;
	rig_open(&rig, CLIENT, HABIT_WATCH);
	wire_say(&rig.wire);
	put_frame(say(&rig), NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, STR(""));
	side_ask(&rig.side, "GET", "/", -1, true);
	wire_listen(&rig.wire);
	put_frame(say(&rig), NGHTTP2_PUSH_PROMISE, END_HEADERS, 1, STR("\0\0\0\2\x82\x84\x87"));
	wire_say(&rig.wire);
	assert_non_null(strstr(heard(&rig.wire), "GOAWAY 0 PROTOCOL_ERROR\n"));
	assert_non_null(strstr(transcript(&rig.side), "1 aborted closed\n"));
	assert_true(rig.side.codec->finished);
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(what_a_reset_means),
	        cmocka_unit_test(an_early_answer_is_whole_and_the_request_is_dropped),
	        cmocka_unit_test(goaway_tells_which_requests_were_not_seen),
	        cmocka_unit_test(a_lost_connection_aborts_every_stream),
	        cmocka_unit_test(a_backend_that_breaks_the_rules_costs_only_its_own_streams),
	        cmocka_unit_test(an_answer_that_is_no_http_2_aborts_all),
	        cmocka_unit_test(a_push_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
