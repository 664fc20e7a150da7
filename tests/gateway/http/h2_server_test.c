// HTTP/2 towards clients, by hand-written frames: what becomes of requests and answers, and resets
// at every stage.
#include "tests/gateway/http/h2_wire.h"

static void put_padded(
        struct buffer *out, uint32_t stream, uint8_t flags, const char *text, unsigned pad)
{
	struct buffer payload = {0};
	put_u32(&payload, pad, 1);
	buffer_append_str(&payload, str_from(text));
	for (unsigned i = 0; i < pad; i++)
		put_u32(&payload, 0, 1);
	put_frame(out, NGHTTP2_DATA, flags | NGHTTP2_FLAG_PADDED, stream, buffer_str(&payload));
	buffer_fini(&payload);
}

static void put_mixture(struct buffer *out)
{
	put_headers(out, 1, END_STREAM,
	        STR(GET_LINES "x-a: 1\nx-a: 2\nte: trailers\nexpect: 100-continue\n"));
	put_headers(out, 3, 0, STR(POST_LINES "content-length: 5\n"));
	put_headers(out, 5, 0, STR(":method: POST\n:scheme: http\n:path: /x?y\nhost: b:1\n"));
	put_data(out, 5, 0, "one");
	put_data(out, 3, 0, "he");
	put_data(out, 5, 0, "");
	put_padded(out, 5, 0, "two", 200);
	put_padded(out, 5, 0, "", 0);
	put_frame(out, 0xee, 0xff, 5, STR("an unknown frame"));
	put_data(out, 3, 0, "llo");
	put_data(out, 3, END_STREAM, "");
	put_headers(out, 5, END_STREAM, STR("x-sum: 1\nauthorization: d\n"));
	put_headers(out, 7, END_STREAM,
	        STR(":method: OPTIONS\n:scheme: https\n:authority: a\n:path: *\nhost: A\n"));
	put_headers(out, 9, END_STREAM,
	        STR(":method: HEAD\n:scheme: https\n:authority: a\n:path: /\n"));
}

static void requests_give_the_same_events_however_they_are_split(void **state)
{
	(void)state;
	for (unsigned seed = 0; seed < 20; seed++) {
		struct rig rig;
		rig_open(&rig, SERVER, HABIT_WATCH);
		put_mixture(say(&rig));
		side_feed_split(&rig.side, buffer_str(say(&rig)),
		        seed == 0   ? 10000
		        : seed == 1 ? 1
		                    : 60,
		        seed > 1 ? seed : 0, seed % 2);
		buffer_clear(say(&rig));
		assert_transcript(&rig.side, "the mixture",
		        "1 head GET a / {x-a: 1; x-a: 2} expects end\n"
		        "2 head POST a / length=5\n"
		        "3 head POST b:1 /x?y\n"
		        "2 data hello\n2 end\n"
		        "3 data onetwo\n3 end {x-sum: 1}\n"
		        "4 head OPTIONS a * end\n"
		        "5 head HEAD a / end\n");
		wire_listen(&rig.wire);
		assert_string_equal(heard(&rig.wire), "");
		rig_close(&rig);
	}
}

static void answers_of_every_shape_leave_as_they_should(void **state)
{
	(void)state;
	struct rig rig;
	struct head head;
	rig_open(&rig, SERVER, HABIT_WATCH);
	for (uint32_t id = 1; id <= 9; id += 2)
		put_headers(say(&rig), id, END_STREAM, STR(GET_LINES));
	wire_say(&rig.wire);
	user_answer(user_at(&rig.side, 1), 200, "whole");
	answer_head(&rig, 2, 103, false);
	answer_head(&rig, 2, 204, true);
	user_trailer(user_at(&rig.side, 3), "grpc-status", "0");
	answer_head(&rig, 3, 200, false);
	user_say(user_at(&rig.side, 3), "bit by bit", true);
	head_answer(&head, 200);  // trailers-only
	fields_add(&head.fields, &user_at(&rig.side, 4)->arena, STR("grpc-status"), STR("8"));
	stream_send_head(user_at(&rig.side, 4)->stream, &head, true);
	answer_head(&rig, 5, 200, false);
	user_trailer(user_at(&rig.side, 5), "x", "y");
	user_say(user_at(&rig.side, 5), "", true);
	wire_listen(&rig.wire);
	const char *const expected[] = {"HEADERS 1 {:status: 200; content-length: 5}\n",
	        "DATA 1 whole end\n", "HEADERS 3 {:status: 103}\nHEADERS 3 {:status: 204} end\n",
	        "HEADERS 5 {:status: 200}\n", "DATA 5 bit by bit\n",
	        "HEADERS 5 {grpc-status: 0} end\n",
	        "HEADERS 7 {:status: 200; grpc-status: 8} end\n", "HEADERS 9 {:status: 200}\n",
	        "HEADERS 9 {x: y} end\n"};
	for (size_t i = 0; i < ARRAY_LEN(expected); i++)
		if (!strstr(heard(&rig.wire), expected[i]))
			fail_msg("no %s in\n%s", expected[i], heard(&rig.wire));
	for (unsigned i = 1; i <= 5; i++)
		assert_null(user_at(&rig.side, i)->stream);
	assert_int_equal(rig.side.codec->stream_count, 0);
	rig_close(&rig);
}

static void a_source_that_comes_late_or_runs_dry_is_waited_for(void **state)
{
	(void)state;
	struct rig rig;
	rig_open(&rig, SERVER, HABIT_WATCH);
	put_headers(say(&rig), 1, END_STREAM, STR(GET_LINES));
	wire_say(&rig.wire);
	answer_head(&rig, 1, 200, false);
	wire_listen(&rig.wire);
	assert_string_equal(heard(&rig.wire), "HEADERS 1 {:status: 200}\n");
	user_say(user_at(&rig.side, 1), "one", false);
	wire_listen(&rig.wire);
	wire_listen(&rig.wire);
	user_say(user_at(&rig.side, 1), "two", false);
	wire_listen(&rig.wire);
	user_say(user_at(&rig.side, 1), "", true);
	wire_listen(&rig.wire);
	assert_string_equal(heard(&rig.wire),
	        "HEADERS 1 {:status: 200}\nDATA 1 one\nDATA 1 two\nDATA 1  end\n");
	rig_close(&rig);
}

enum stage {
	STAGE_HEAD,       // a head without end
	STAGE_DATA,       // and some data
	STAGE_WHOLE,      // a whole request
	STAGE_INTERIM,    // a 103 was sent
	STAGE_ANSWERING,  // the answer's head was sent
	STAGE_SENDING,    // and some of its body
	STAGE_QUEUED,     // and more of it waits
	STAGE_COUNT,
};

static void bring_to(struct rig *rig, enum stage stage)
{
	rig_open(rig, SERVER, HABIT_WATCH);
	put_headers(say(rig), 1, stage == STAGE_WHOLE ? END_STREAM : 0, STR(POST_LINES));
	if (stage == STAGE_DATA || stage >= STAGE_ANSWERING)
		put_data(say(rig), 1, 0, "abc");
	wire_say(&rig->wire);
	if (stage == STAGE_INTERIM)
		answer_head(rig, 1, 103, false);
	if (stage >= STAGE_ANSWERING)
		answer_head(rig, 1, 200, false);
	if (stage >= STAGE_SENDING)
		user_say(user_at(&rig->side, 1), "part", false);
	wire_listen(&rig->wire);
	if (stage == STAGE_QUEUED)
		user_say(user_at(&rig->side, 1), "more", false);
	side_forget(&rig->side);
	buffer_clear(&rig->wire.log);
}

static void a_client_may_reset_its_request_at_any_stage(void **state)
{
	(void)state;
	static const uint32_t codes[] = {NGHTTP2_NO_ERROR, NGHTTP2_CANCEL, NGHTTP2_PROTOCOL_ERROR,
	        NGHTTP2_REFUSED_STREAM, 0xdeadbeef};
	for (enum stage stage = 0; stage < STAGE_COUNT; stage++)
		for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
			struct rig rig;
			bring_to(&rig, stage);
			put_code(say(&rig), NGHTTP2_RST_STREAM, 1, codes[i]);
			put_headers(say(&rig), 3, END_STREAM, STR(GET_LINES));
			wire_say(&rig.wire);
			assert_string_equal(
			        transcript(&rig.side), "1 aborted cancelled\n2 head GET a / end\n");
			assert_null(strstr(heard(&rig.wire), "GOAWAY"));
			assert_int_equal(rig.side.codec->stream_count, 1);
			rig_close(&rig);
		}
}

static void the_user_may_let_go_at_any_stage(void **state)
{
	(void)state;
	for (enum stage stage = 0; stage < STAGE_COUNT; stage++)
		for (int reset = 0; reset < 2; reset++) {
			struct rig rig;
			bring_to(&rig, stage);
			struct user *user = user_at(&rig.side, 1);
			if (reset)
				stream_reset(user->stream, ABORT_CANCELLED);
			user_release(user);
			if (stage != STAGE_WHOLE)
				put_data(say(&rig), 1, END_STREAM, "after");
			wire_say(&rig.wire);
			const char *expected = reset ? "RST_STREAM 1 CANCEL\n"
			                             : "RST_STREAM 1 INTERNAL_ERROR\n";
			if (strcmp(heard(&rig.wire), expected) != 0)
				fail_msg("stage %d:\n%s", (int)stage, heard(&rig.wire));
			assert_string_equal(transcript(&rig.side), "");
			assert_int_equal(rig.side.codec->stream_count, 0);
			rig_close(&rig);
		}
}

static void the_connection_may_be_lost_at_any_stage(void **state)
{
	(void)state;
	for (enum stage stage = 0; stage < STAGE_COUNT; stage++)
		for (int how = 0; how < 2; how++) {
			struct rig rig;
			struct head head;
			bring_to(&rig, stage);
			rig.side.keeps_streams = true;
			put_headers(say(&rig), 3, 0, STR(POST_LINES));
			wire_say(&rig.wire);
			if (how)
				side_end(&rig.side);
			else
				(rig.side.codec->ops->fail)(rig.side.codec, ABORT_CANCELLED);
			assert_string_equal(transcript(&rig.side),
			        "2 head POST a /\n1 aborted cancelled\n2 aborted cancelled\n");
			assert_true(rig.side.codec->finished);
			// Whoever has not heard yet may still call.
			struct user *user = user_at(&rig.side, 2);
			head_answer(&head, 200);
			stream_send_head(user->stream, &head, true);
			stream_credit(user->stream, 3);
			stream_wake(user->stream);
			stream_reset(user->stream, ABORT_CLOSED);
			wire_listen(&rig.wire);
			rig_close(&rig);
		}
}

static void leaving_in_the_head_event_is_a_reset(void **state)
{
	(void)state;
	struct rig rig;
	rig_open(&rig, SERVER, HABIT_LEAVE);
	put_headers(say(&rig), 1, 0, STR(POST_LINES));
	put_data(say(&rig), 1, END_STREAM, "abc");
	wire_say(&rig.wire);
	assert_string_equal(transcript(&rig.side), "1 head POST a /\n");
	assert_string_equal(heard(&rig.wire), "RST_STREAM 1 INTERNAL_ERROR\n");
	assert_int_equal(rig.side.codec->stream_count, 0);
	rig_close(&rig);
}

// They were sent before the client knew (RFC 9113, 5.1, closed).
static void frames_in_flight_to_a_stream_that_was_reset_are_ignored(void **state)
{
	(void)state;
	for (int early_answer = 0; early_answer < 2; early_answer++) {
		struct rig rig;
		rig_open(&rig, SERVER, early_answer ? HABIT_REFUSE : HABIT_LEAVE);
		for (uint32_t id = 1; id <= 5; id += 2)
			put_headers(say(&rig), id, 0, STR(POST_LINES));
		wire_say(&rig.wire);
		side_forget(&rig.side);
		put_data(say(&rig), 1, END_STREAM, "abc");
		put_code(say(&rig), NGHTTP2_WINDOW_UPDATE, 3, 100);
		put_headers(say(&rig), 3, END_STREAM, STR("x: y\n"));
		put_frame(say(&rig), NGHTTP2_PRIORITY, 0, 5, STR("\0\0\0\0\1"));
		put_code(say(&rig), NGHTTP2_RST_STREAM, 5, NGHTTP2_CANCEL);
		wire_say(&rig.wire);
		assert_string_equal(transcript(&rig.side), "");
		assert_null(strstr(heard(&rig.wire), "GOAWAY"));
		assert_false(rig.side.codec->finished);
		assert_int_equal(rig.side.codec->stream_count, 0);
		rig_close(&rig);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(requests_give_the_same_events_however_they_are_split),
	        cmocka_unit_test(answers_of_every_shape_leave_as_they_should),
	        cmocka_unit_test(a_source_that_comes_late_or_runs_dry_is_waited_for),
	        cmocka_unit_test(a_client_may_reset_its_request_at_any_stage),
	        cmocka_unit_test(the_user_may_let_go_at_any_stage),
	        cmocka_unit_test(the_connection_may_be_lost_at_any_stage),
	        cmocka_unit_test(leaving_in_the_head_event_is_a_reset),
	        cmocka_unit_test(frames_in_flight_to_a_stream_that_was_reset_are_ignored),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
