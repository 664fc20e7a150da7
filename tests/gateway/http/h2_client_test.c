// HTTP/2 towards backends, by hand-written frames: requests, answers, limits, and letting go.
#include "tests/gateway/http/h2_wire.h"

static void a_request_is_written_as_it_should(void **state)
{
	(void)state;
	struct rig rig;
	struct head head;
	rig_open(&rig, CLIENT, HABIT_WATCH);
	wire_say(&rig.wire);
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
	rig_close(&rig);
}

static void answers_give_the_same_events_however_they_are_split(void **state)
{
	(void)state;
	for (unsigned seed = 0; seed < 20; seed++) {
		struct rig rig;
		rig_open(&rig, CLIENT, HABIT_WATCH);
		wire_say(&rig.wire);
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
		rig_close(&rig);
	}
}

static void interim_answers_without_end_are_cut_off(void **state)
{
	(void)state;
	struct rig rig;
	rig_open(&rig, CLIENT, HABIT_WATCH);
	wire_say(&rig.wire);
	side_ask(&rig.side, "GET", "/", -1, true);
	wire_listen(&rig.wire);
	for (int i = 0; i < 1000; i++)
		put_headers(say(&rig), 1, 0, STR(":status: 103\nlink: x\n"));
	wire_say(&rig.wire);
	assert_non_null(strstr(transcript(&rig.side), "1 aborted broken\n"));
	assert_true(buffer_len(&rig.side.log) < 2000);
	rig_close(&rig);
}

static void a_head_over_its_limit_is_broken(void **state)
{
	(void)state;
	for (int trailers = 0; trailers < 2; trailers++) {
		struct rig rig;
		struct buffer lines = {0};
		rig_open(&rig, CLIENT, HABIT_WATCH);
		wire_say(&rig.wire);
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
		rig_close(&rig);
	}
}

static void white_space_around_values_is_taken_off_grpc_and_broken_elsewhere(void **state)
{
	(void)state;
	struct rig rig;
	rig_open(&rig, CLIENT, HABIT_WATCH);
	wire_say(&rig.wire);
	for (int i = 0; i < 6; i++)
		side_ask(&rig.side, "GET", "/", -1, true);
	wire_listen(&rig.wire);
#define GRPC ":status: 200\ncontent-type: application/grpc\n"
	put_headers(say(&rig), 1, 0, STR(GRPC "x: \t y \nz:  \n"));
	put_headers(say(&rig), 1, END_STREAM, STR("grpc-message: no such:%20 \nw:  v\n"));
	put_headers(say(&rig), 3, END_STREAM, STR(GRPC "grpc-message:  \t a b\n"));
	put_headers(say(&rig), 5, END_STREAM, STR(GRPC "grpc-message:   \n"));
	put_headers(say(&rig), 7, END_STREAM, STR(":status: 200\ngrpc-message: a \n"));
	put_headers(say(&rig), 9, 0, STR(":status: 200\n"));
	put_headers(say(&rig), 9, END_STREAM, STR("x: y \n"));
	put_headers(say(&rig), 11, 0, STR(":status: 103\nx: y \n"));
	wire_say(&rig.wire);
	assert_string_equal(transcript(&rig.side),
	        "1 sent\n2 sent\n3 sent\n4 sent\n5 sent\n6 sent\n"
	        "1 head 200 {content-type: application/grpc; x: y; z: }\n"
	        "1 end {grpc-message: no such:%20%20; w: v}\n"
	        "2 head 200 {content-type: application/grpc; grpc-message: %20%09%20a b} end\n"
	        "3 head 200 {content-type: application/grpc; grpc-message: %20%20} end\n"
	        "4 aborted broken\n5 head 200\n5 aborted broken\n"
	        "6 aborted broken\n");
	rig_close(&rig);
}

static void no_more_streams_are_opened_than_the_backend_allows(void **state)
{
	(void)state;
	struct rig rig;
	rig_open(&rig, CLIENT, HABIT_WATCH);
	wire_say(&rig.wire);
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
	rig_close(&rig);
}

static void the_user_may_let_go_at_any_stage(void **state)
{
	(void)state;
	for (int stage = 0; stage < 5; stage++) {
		struct rig rig;
		rig_open(&rig, CLIENT, HABIT_WATCH);
		wire_say(&rig.wire);
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
		rig_close(&rig);
	}
}

static void a_stream_opened_and_left_before_its_head_leaves_no_trace(void **state)
{
	(void)state;
	struct rig rig;
	rig_open(&rig, CLIENT, HABIT_WATCH);
	wire_say(&rig.wire);
	struct user *user = user_new(&rig.side, rig.side.codec->ops->open(rig.side.codec));
	user_release(user);
	wire_listen(&rig.wire);
	assert_string_equal(heard(&rig.wire), "");
	assert_int_equal(rig.side.codec->stream_count, 0);
	rig_close(&rig);
}

static void a_shutdown_finishes_when_the_last_answer_is_in(void **state)
{
	(void)state;
	struct rig rig;
	rig_open(&rig, CLIENT, HABIT_WATCH);
	wire_say(&rig.wire);
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
	rig_close(&rig);
}

static void a_connection_that_is_out_of_stream_ids_finishes(void **state)
{
	(void)state;
	struct rig rig;
	rig_open(&rig, CLIENT, HABIT_WATCH);
	wire_say(&rig.wire);
	nghttp2_session *session = h2_of(rig.side.codec)->session;
	assert_int_equal(nghttp2_session_set_next_stream_id(session, INT32_MAX - 2), 0);
	for (int32_t id = INT32_MAX - 2; id > 0; id = id < INT32_MAX ? INT32_MAX : 0) {
		assert_int_not_equal(rig.side.codec->ops->room(rig.side.codec), 0);
		side_ask(&rig.side, "GET", "/", -1, true);
		wire_listen(&rig.wire);
		assert_false(rig.side.codec->finished);
		put_headers(say(&rig), id, END_STREAM, STR(":status: 200\n"));
		wire_say(&rig.wire);
	}
	assert_string_equal(
	        transcript(&rig.side), "1 sent\n1 head 200 end\n2 sent\n2 head 200 end\n");
	assert_true(rig.side.codec->finished);
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_request_is_written_as_it_should),
	        cmocka_unit_test(answers_give_the_same_events_however_they_are_split),
	        cmocka_unit_test(interim_answers_without_end_are_cut_off),
	        cmocka_unit_test(a_head_over_its_limit_is_broken),
	        cmocka_unit_test(white_space_around_values_is_taken_off_grpc_and_broken_elsewhere),
	        cmocka_unit_test(no_more_streams_are_opened_than_the_backend_allows),
	        cmocka_unit_test(the_user_may_let_go_at_any_stage),
	        cmocka_unit_test(a_stream_opened_and_left_before_its_head_leaves_no_trace),
	        cmocka_unit_test(a_shutdown_finishes_when_the_last_answer_is_in),
	        cmocka_unit_test(a_connection_that_is_out_of_stream_ids_finishes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
