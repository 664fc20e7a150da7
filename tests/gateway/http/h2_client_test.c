// HTTP/2 towards backends, by hand-written frames: answers, refusals, GOAWAY, lost connections;
// what is safe to send again and what is not.
#include "tests/gateway/http/h2_wire.h"

struct rig {
	struct side side;
	struct wire wire;
};

static void open_rig(struct rig *rig)
{
	side_open(&rig->side, CLIENT | H2, HABIT_WATCH);
	wire_open(&rig->wire, &rig->side);
	wire_say(&rig->wire);
}

static void close_rig(struct rig *rig)
{
	wire_close(&rig->wire);
	side_close(&rig->side);
}

static struct buffer *say(struct rig *rig)
{
	return &rig->wire.say;
}

static void a_request_is_written_as_it_should(void **state)
{
	(void)state;
	struct rig rig;
	struct head head;
	open_rig(&rig);
	struct stream *stream = rig.side.codec->ops->open(rig.side.codec);
	struct user *user = user_new(&rig.side, stream);
	head_request(&head);
	head.method = STR("POST");
	head.authority = STR("a:1");
	head.target = STR("/x?y");
	head.content_length = 3;
	fields_add(&head.fields, &user->arena, STR("te"), STR("trailers"));
	stream_send_head(stream, &head, false);
	user_trailer(user, "x", "y");
	user_say(user, "abc", true);
	wire_listen(&rig.wire);
	assert_string_equal(heard(&rig.wire),
	        "HEADERS 1 {:method: POST; :scheme: https; :authority: a:1; :path: /x?y; te: "
	        "trailers; "
	        "content-length: 3}\nDATA 1 abc\nHEADERS 1 {x: y} end\n");
	assert_string_equal(transcript(&rig.side), "1 sent\n");
	close_rig(&rig);
}

static void answers_give_the_same_events_however_they_are_split(void **state)
{
	(void)state;
	for (unsigned seed = 0; seed < 20; seed++) {
		struct rig rig;
		open_rig(&rig);
		for (int i = 0; i < 6; i++)
			side_ask(&rig.side, i == 3 ? "HEAD" : "GET", "/", -1, true);
		wire_listen(&rig.wire);
		put_headers(say(&rig), 1, 0, STR(":status: 100\n"));
		put_headers(say(&rig), 3, 0, STR(":status: 200\ncontent-length: 5\nx: y\n"));
		put_headers(say(&rig), 1, 0, STR(":status: 103\nlink: x\n"));
		put_data(say(&rig), 3, 0, "he");
		put_headers(say(&rig), 1, 0, STR(":status: 200\n"));
		put_headers(say(&rig), 5, END_STREAM, STR(":status: 200\ngrpc-status: 8\n"));
		put_data(say(&rig), 3, END_STREAM, "llo");
		put_data(say(&rig), 1, 0, "ok");
		put_headers(say(&rig), 1, END_STREAM, STR("grpc-status: 0\ncontent-type: z\n"));
		put_headers(say(&rig), 7, END_STREAM, STR(":status: 200\ncontent-length: 9\n"));
		put_headers(say(&rig), 9, END_STREAM, STR(":status: 304\ncontent-length: 9\n"));
		put_headers(say(&rig), 11, END_STREAM, STR(":status: 204\n"));
		side_feed_split(&rig.side, buffer_str(say(&rig)),
		        seed == 0   ? 10000
		        : seed == 1 ? 1
		                    : 40,
		        seed > 1 ? seed : 0, seed % 2);
		buffer_clear(say(&rig));
		assert_transcript(&rig.side, "the answers",
		        "1 sent\n2 sent\n3 sent\n4 sent\n5 sent\n6 sent\n"
		        "1 head 100\n2 head 200 length=5 {x: y}\n1 head 103 {link: x}\n1 head 200\n"
		        "3 head 200 {grpc-status: 8} end\n2 data hello\n2 end\n"
		        "1 data ok\n1 end {grpc-status: 0}\n4 head 200 length=9 end\n"
		        "5 head 304 length=9 end\n6 head 204 end\n");
		assert_int_equal(rig.side.codec->stream_count, 0);
		close_rig(&rig);
	}
}

static void what_a_reset_means(void **state)
{
	(void)state;
	static const struct {
		uint32_t code;
		const char *what, *none, *begun, *whole;
	} rows[] = {
	        {NGHTTP2_REFUSED_STREAM, "REFUSED_STREAM", "unprocessed", "closed", NULL},
	        {NGHTTP2_CANCEL, "CANCEL", "cancelled", "cancelled", NULL},
	        {NGHTTP2_NO_ERROR, "NO_ERROR", "closed", "closed", NULL},
	        {NGHTTP2_INTERNAL_ERROR, "INTERNAL_ERROR", "closed", "closed", NULL},
	        {NGHTTP2_PROTOCOL_ERROR, "PROTOCOL_ERROR", "closed", "closed", NULL},
	        {NGHTTP2_HTTP_1_1_REQUIRED, "HTTP_1_1_REQUIRED", "closed", "closed", NULL},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (int stage = 0; stage < 3; stage++) {
			struct rig rig;
			struct buffer expected = {0};
			open_rig(&rig);
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
			close_rig(&rig);
		}
}

static void an_early_answer_is_whole_and_the_request_is_dropped(void **state)
{
	(void)state;
	struct rig rig;
	open_rig(&rig);
	struct user *user = side_ask(&rig.side, "POST", "/", -1, false);
	user_say(user, "half", false);
	wire_listen(&rig.wire);
	put_headers(say(&rig), 1, END_STREAM, STR(":status: 413\n"));
	wire_say(&rig.wire);
	assert_string_equal(transcript(&rig.side), "1 head 413 end\n");
	assert_non_null(strstr(heard(&rig.wire), "RST_STREAM 1 CANCEL\n"));
	assert_int_equal(rig.side.codec->stream_count, 0);
	close_rig(&rig);
}

static void goaway_tells_which_requests_were_not_seen(void **state)
{
	(void)state;
	struct rig rig;
	open_rig(&rig);
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
	close_rig(&rig);
}

static void a_lost_connection_aborts_every_stream(void **state)
{
	(void)state;
	for (int how = 0; how < 2; how++) {
		struct rig rig;
		open_rig(&rig);
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
		close_rig(&rig);
	}
}

static void a_backend_that_breaks_the_rules_costs_only_its_own_streams(void **state)
{
	(void)state;
	struct rig rig;
	open_rig(&rig);
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
	close_rig(&rig);
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
	open_rig(&rig);
	put_frame(say(&rig), NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, STR(""));
	side_ask(&rig.side, "GET", "/", -1, true);
	wire_listen(&rig.wire);
	put_frame(say(&rig), NGHTTP2_PUSH_PROMISE, END_HEADERS, 1, STR("\0\0\0\2\x82\x84\x87"));
	wire_say(&rig.wire);
	assert_non_null(strstr(heard(&rig.wire), "GOAWAY 0 PROTOCOL_ERROR\n"));
	assert_non_null(strstr(transcript(&rig.side), "1 aborted closed\n"));
	assert_true(rig.side.codec->finished);
	close_rig(&rig);
}

static void interim_answers_without_end_are_cut_off(void **state)
{
	(void)state;
	struct rig rig;
	open_rig(&rig);
	side_ask(&rig.side, "GET", "/", -1, true);
	wire_listen(&rig.wire);
	for (int i = 0; i < 1000; i++)
		put_headers(say(&rig), 1, 0, STR(":status: 103\nlink: x\n"));
	wire_say(&rig.wire);
	assert_non_null(strstr(transcript(&rig.side), "1 aborted broken\n"));
	assert_true(buffer_len(&rig.side.log) < 2000);
	close_rig(&rig);
}

static void a_head_over_its_limit_is_broken(void **state)
{
	(void)state;
	for (int trailers = 0; trailers < 2; trailers++) {
		struct rig rig;
		struct buffer lines = {0};
		open_rig(&rig);
		side_ask(&rig.side, "GET", "/", -1, true);
		wire_listen(&rig.wire);
		if (trailers)
			put_headers(say(&rig), 1, 0, STR(":status: 200\n"));
		else
			buffer_append_str(&lines, STR(":status: 200\n"));
		for (int i = 0; i < 101; i++)
			buffer_append_str(&lines, STR("x: y\n"));
		put_headers(say(&rig), 1, END_STREAM, buffer_str(&lines));
		wire_say(&rig.wire);
		assert_string_equal(
		        transcript(&rig.side), trailers ? "1 sent\n1 head 200\n1 aborted broken\n"
		                                        : "1 sent\n1 aborted broken\n");
		buffer_fini(&lines);
		close_rig(&rig);
	}
}

static void no_more_streams_are_opened_than_the_backend_allows(void **state)
{
	(void)state;
	struct rig rig;
	open_rig(&rig);
	assert_int_equal(rig.side.codec->ops->room(rig.side.codec), H2_CLIENT_STREAMS_MAX);
	put_setting(say(&rig), NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 2);
	wire_say(&rig.wire);
	side_ask(&rig.side, "GET", "/", -1, true);
	side_ask(&rig.side, "GET", "/", -1, true);
	assert_int_equal(rig.side.codec->ops->room(rig.side.codec), 0);
	assert_null(rig.side.codec->ops->open(rig.side.codec));
	wire_listen(&rig.wire);
	put_headers(say(&rig), 3, END_STREAM, STR(":status: 200\n"));
	wire_say(&rig.wire);
	assert_int_equal(rig.side.codec->ops->room(rig.side.codec), 1);
	// Fewer than are open: none, and no arithmetic below nought.
	put_setting(say(&rig), NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 0);
	wire_say(&rig.wire);
	assert_int_equal(rig.side.codec->ops->room(rig.side.codec), 0);
	close_rig(&rig);
}

static void the_user_may_let_go_at_any_stage(void **state)
{
	(void)state;
	for (int stage = 0; stage < 5; stage++) {
		struct rig rig;
		open_rig(&rig);
		buffer_clear(&rig.wire.log);
		struct user *user = side_ask(&rig.side, "POST", "/", -1, false);
		if (stage >= 1)
			wire_listen(&rig.wire);
		if (stage >= 2)
			user_say(user, "part", false);
		if (stage >= 3) {
			put_headers(say(&rig), 1, 0, STR(":status: 200\n"));
			wire_say(&rig.wire);
		}
		if (stage >= 4) {
			put_data(say(&rig), 1, 0, "part");
			wire_say(&rig.wire);
		}
		side_forget(&rig.side);
		user_release(user);
		wire_listen(&rig.wire);
		// What was never sent needs no reset, and must have none (RFC 9113, 5.1: idle).
		assert_int_equal(
		        strstr(heard(&rig.wire), "RST_STREAM 1 CANCEL\n") != NULL, stage > 0);
		assert_int_equal(strstr(heard(&rig.wire), "HEADERS 1") != NULL, stage > 0);
		if (stage > 0) {
			put_headers(say(&rig), 1, END_STREAM, STR("x: y\n"));
			wire_say(&rig.wire);
		}
		assert_string_equal(transcript(&rig.side), "");
		assert_int_equal(rig.side.codec->stream_count, 0);
		assert_false(rig.side.codec->finished);
		close_rig(&rig);
	}
}

static void a_stream_opened_and_left_before_its_head_leaves_no_trace(void **state)
{
	(void)state;
	struct rig rig;
	open_rig(&rig);
	struct user *user = user_new(&rig.side, rig.side.codec->ops->open(rig.side.codec));
	user_release(user);
	wire_listen(&rig.wire);
	assert_string_equal(heard(&rig.wire), "");
	assert_int_equal(rig.side.codec->stream_count, 0);
	close_rig(&rig);
}

static void a_shutdown_finishes_when_the_last_answer_is_in(void **state)
{
	(void)state;
	struct rig rig;
	open_rig(&rig);
	rig.side.keeps_streams = true;
	struct user *user = side_ask(&rig.side, "GET", "/", -1, true);
	wire_listen(&rig.wire);
	rig.side.codec->ops->shutdown(rig.side.codec);
	assert_int_equal(rig.side.codec->ops->room(rig.side.codec), 0);
	put_headers(say(&rig), 1, END_STREAM, STR(":status: 200\n"));
	wire_say(&rig.wire);
	assert_false(rig.side.codec->finished);
	// Released outside of feed and pull, finished with the next pull.
	rig.side.dirty = false;
	user_release(user);
	assert_true(rig.side.dirty);
	wire_listen(&rig.wire);
	assert_true(rig.side.codec->finished);
	close_rig(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_request_is_written_as_it_should),
	        cmocka_unit_test(answers_give_the_same_events_however_they_are_split),
	        cmocka_unit_test(what_a_reset_means),
	        cmocka_unit_test(an_early_answer_is_whole_and_the_request_is_dropped),
	        cmocka_unit_test(goaway_tells_which_requests_were_not_seen),
	        cmocka_unit_test(a_lost_connection_aborts_every_stream),
	        cmocka_unit_test(a_backend_that_breaks_the_rules_costs_only_its_own_streams),
	        cmocka_unit_test(an_answer_that_is_no_http_2_aborts_all),
	        cmocka_unit_test(a_push_is_refused),
	        cmocka_unit_test(interim_answers_without_end_are_cut_off),
	        cmocka_unit_test(a_head_over_its_limit_is_broken),
	        cmocka_unit_test(no_more_streams_are_opened_than_the_backend_allows),
	        cmocka_unit_test(the_user_may_let_go_at_any_stage),
	        cmocka_unit_test(a_stream_opened_and_left_before_its_head_leaves_no_trace),
	        cmocka_unit_test(a_shutdown_finishes_when_the_last_answer_is_in),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
