// HTTP/2 towards clients, by hand-written frames: what becomes of requests, resets at every stage,
// windows, and how a connection ends.
#include "tests/gateway/http/h2_wire.h"

struct rig {
	struct side side;
	struct wire wire;
};

static void open_rig(struct rig *rig, enum habit habit)
{
	side_open(&rig->side, SERVER | H2, habit);
	wire_open(&rig->wire, &rig->side);
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

static void answer_head(struct rig *rig, unsigned number, int status, bool end)
{
	struct head head;
	head_answer(&head, status);
	stream_send_head(user_at(&rig->side, number)->stream, &head, end);
}

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
		open_rig(&rig, HABIT_WATCH);
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
		close_rig(&rig);
	}
}

static void answers_of_every_shape_leave_as_they_should(void **state)
{
	(void)state;
	struct rig rig;
	struct head head;
	open_rig(&rig, HABIT_WATCH);
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
	close_rig(&rig);
}

static void a_source_that_comes_late_or_runs_dry_is_waited_for(void **state)
{
	(void)state;
	struct rig rig;
	open_rig(&rig, HABIT_WATCH);
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
	close_rig(&rig);
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
	open_rig(rig, HABIT_WATCH);
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
			close_rig(&rig);
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
			close_rig(&rig);
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
			close_rig(&rig);
		}
}

static void leaving_in_the_head_event_is_a_reset(void **state)
{
	(void)state;
	struct rig rig;
	open_rig(&rig, HABIT_LEAVE);
	put_headers(say(&rig), 1, 0, STR(POST_LINES));
	put_data(say(&rig), 1, END_STREAM, "abc");
	wire_say(&rig.wire);
	assert_string_equal(transcript(&rig.side), "1 head POST a /\n");
	assert_string_equal(heard(&rig.wire), "RST_STREAM 1 INTERNAL_ERROR\n");
	assert_int_equal(rig.side.codec->stream_count, 0);
	close_rig(&rig);
}

// RFC 9113, 8.1: a whole answer to half a request asks the client to stop, and says all is well.
static void an_early_answer_stops_the_request_without_blame(void **state)
{
	(void)state;
	struct rig rig;
	open_rig(&rig, HABIT_REFUSE);
	put_headers(say(&rig), 1, 0, STR(POST_LINES));
	put_data(say(&rig), 1, 0, "abc");
	wire_say(&rig.wire);
	put_data(say(&rig), 1, END_STREAM, "def");
	wire_say(&rig.wire);
	assert_string_equal(heard(&rig.wire), "HEADERS 1 {:status: 403; content-length: 2}\n"
	                                      "DATA 1 no end\nRST_STREAM 1 NO_ERROR\n");
	assert_int_equal(rig.side.codec->stream_count, 0);
	close_rig(&rig);
}

static void every_byte_of_data_comes_back_as_window(void **state)
{
	(void)state;
	for (enum habit habit = HABIT_WATCH; habit <= HABIT_LEAVE; habit++) {
		struct rig rig;
		char block[16384];
		memset(block, 'x', sizeof(block));
		open_rig(&rig, habit);
		wire_listen(&rig.wire);
		size_t before = rig.wire.window_updates[0];
		uint32_t id = 1;
		for (size_t sent = 0; sent < 4u << 20; sent += 4 * sizeof(block), id += 2) {
			put_headers(say(&rig), id, 0, STR(POST_LINES));
			for (int i = 0; i < 4; i++)
				put_frame(say(&rig), NGHTTP2_DATA, i == 3 ? END_STREAM : 0, id,
				        str_of(block, i == 3 ? sizeof(block) - 1 : sizeof(block)));
			wire_say(&rig.wire);
			if (habit == HABIT_WATCH)
				user_answer(user_at(&rig.side, (id + 1) / 2), 200, "");
			wire_listen(&rig.wire);
		}
		// What is still owed is less than half a window.
		size_t back = rig.wire.window_updates[0] - before;
		assert_true(back > (4u << 20) - H2_CONNECTION_WINDOW && back <= 4u << 20);
		assert_null(strstr(heard(&rig.wire), "GOAWAY"));
		assert_int_equal(rig.side.codec->stream_count, 0);
		close_rig(&rig);
	}
}

static void a_stream_nobody_takes_from_keeps_its_window_shut_and_holds_up_nobody(void **state)
{
	(void)state;
	struct rig rig;
	char block[16384];
	memset(block, 'x', sizeof(block));
	open_rig(&rig, HABIT_WATCH);
	wire_say(&rig.wire);
	put_frame(say(&rig), NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, STR(""));
	rig.side.keeps_credit = true;
	for (uint32_t id = 1; id <= 5; id += 2) {
		put_headers(say(&rig), id, 0, STR(POST_LINES));
		for (int i = 0; i < BODY_HIGH / (int)sizeof(block); i++)
			put_frame(say(&rig), NGHTTP2_DATA, 0, id, str_of(block, sizeof(block)));
	}
	wire_say(&rig.wire);
	assert_int_equal(rig.wire.window_updates[1] + rig.wire.window_updates[3] +
	                         rig.wire.window_updates[5],
	        0);
	assert_true(rig.side.codec->ops->wants_bytes(rig.side.codec));
	stream_credit(user_at(&rig.side, 2)->stream, BODY_HIGH);
	wire_listen(&rig.wire);
	assert_int_equal(rig.wire.window_updates[1], 0);
	assert_int_equal(rig.wire.window_updates[3], BODY_HIGH);
	// One byte beyond the window is a stream error.
	put_data(say(&rig), 1, 0, "x");
	put_data(say(&rig), 3, END_STREAM, "x");
	wire_say(&rig.wire);
	assert_non_null(strstr(heard(&rig.wire), "RST_STREAM 1 FLOW_CONTROL_ERROR\n"));
	assert_non_null(strstr(transcript(&rig.side), "2 end\n"));
	close_rig(&rig);
}

// The windows the client gives are never overrun; a shut one stalls its stream alone.
static void what_is_sent_keeps_within_the_windows_given(void **state)
{
	(void)state;
	struct rig rig;
	struct buffer big = {0};
	memset(buffer_room(&big, 300001), 'x', 300000);
	buffer_added(&big, 300000);
	open_rig(&rig, HABIT_WATCH);
	put_setting(say(&rig), NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1000);
	put_headers(say(&rig), 1, END_STREAM, STR(GET_LINES));
	put_headers(say(&rig), 3, END_STREAM, STR(GET_LINES));
	wire_say(&rig.wire);
	for (unsigned i = 1; i <= 2; i++) {
		answer_head(&rig, i, 200, false);
		user_say(user_at(&rig.side, i), c_string(&big), i == 2);
	}
	wire_listen(&rig.wire);
	assert_int_equal(rig.wire.data[1], 1000);
	assert_int_equal(rig.wire.data[3], 1000);
	put_code(say(&rig), NGHTTP2_WINDOW_UPDATE, 3, 20000);
	wire_say(&rig.wire);
	assert_int_equal(rig.wire.data[1], 1000);
	assert_int_equal(rig.wire.data[3], 21000);
	put_setting(say(&rig), NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0);  // windows of minus 1000
	put_code(say(&rig), NGHTTP2_WINDOW_UPDATE, 1, 1000);
	wire_say(&rig.wire);
	assert_int_equal(rig.wire.data[1], 1000);
	put_code(say(&rig), NGHTTP2_WINDOW_UPDATE, 1, 10);
	wire_say(&rig.wire);
	assert_int_equal(rig.wire.data[1], 1010);
	put_code(say(&rig), NGHTTP2_WINDOW_UPDATE, 1, 1000000);
	wire_say(&rig.wire);  // the connection's 65535 are the bound now
	assert_int_equal(rig.wire.data[1] + rig.wire.data[3], 65535);
	put_code(say(&rig), NGHTTP2_WINDOW_UPDATE, 0, 1000000);
	put_code(say(&rig), NGHTTP2_WINDOW_UPDATE, 3, 1000000);
	wire_say(&rig.wire);
	assert_int_equal(rig.wire.data[1] + rig.wire.data[3], 600000);
	assert_non_null(strstr(heard(&rig.wire), " end\n"));
	buffer_fini(&big);
	close_rig(&rig);
}

static void pulling_stops_at_the_mark(void **state)
{
	(void)state;
	struct rig rig;
	struct buffer big = {0};
	memset(buffer_room(&big, 300001), 'x', 300000);
	buffer_added(&big, 300000);
	open_rig(&rig, HABIT_WATCH);
	put_setting(say(&rig), NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 30);
	put_code(say(&rig), NGHTTP2_WINDOW_UPDATE, 0, 1 << 30);
	put_headers(say(&rig), 1, END_STREAM, STR(GET_LINES));
	wire_say(&rig.wire);
	answer_head(&rig, 1, 200, false);
	user_say(user_at(&rig.side, 1), c_string(&big), true);
	codec_pull(rig.side.codec, 20000);
	assert_true(buffer_len(&rig.side.out) >= 20000);
	assert_true(buffer_len(&rig.side.out) < 20000 + 16384 + 9 + 100);
	size_t before = buffer_len(&rig.side.out);
	codec_pull(rig.side.codec, 20000);
	assert_int_equal(buffer_len(&rig.side.out), before);
	wire_listen(&rig.wire);
	assert_int_equal(rig.wire.data[1], 300000);
	buffer_fini(&big);
	close_rig(&rig);
}

static void a_shutdown_lets_the_requests_under_way_finish(void **state)
{
	(void)state;
	struct rig rig;
	open_rig(&rig, HABIT_WATCH);
	put_headers(say(&rig), 1, END_STREAM, STR(GET_LINES));
	wire_say(&rig.wire);
	rig.side.codec->ops->shutdown(rig.side.codec);
	rig.side.codec->ops->shutdown(rig.side.codec);
	wire_listen(&rig.wire);
	assert_string_equal(heard(&rig.wire), "GOAWAY 2147483647 NO_ERROR\n");
	struct buffer pong = rig.wire.say;
	rig.wire.say = (struct buffer){0};
	put_headers(say(&rig), 3, END_STREAM, STR(GET_LINES));  // it crossed the notice
	buffer_append_str(say(&rig), buffer_str(&pong));
	buffer_fini(&pong);
	wire_say(&rig.wire);
	put_headers(say(&rig), 5, END_STREAM, STR(GET_LINES));  // it is too late
	wire_say(&rig.wire);
	assert_string_equal(heard(&rig.wire), "GOAWAY 2147483647 NO_ERROR\nGOAWAY 3 NO_ERROR\n");
	assert_string_equal(transcript(&rig.side), "1 head GET a / end\n2 head GET a / end\n");
	user_answer(user_at(&rig.side, 1), 200, "one");
	wire_listen(&rig.wire);
	assert_false(rig.side.codec->finished);
	user_answer(user_at(&rig.side, 2), 200, "two");
	wire_listen(&rig.wire);
	assert_non_null(strstr(heard(&rig.wire), "DATA 3 two end\n"));
	assert_true(rig.side.codec->finished);
	close_rig(&rig);
}

static void an_idle_connection_shuts_down_once_its_ping_is_back(void **state)
{
	(void)state;
	struct rig rig;
	open_rig(&rig, HABIT_WATCH);
	wire_say(&rig.wire);
	rig.side.codec->ops->shutdown(rig.side.codec);
	wire_listen(&rig.wire);
	assert_false(rig.side.codec->finished);
	wire_say(&rig.wire);
	assert_true(rig.side.codec->finished);
	close_rig(&rig);
}

static void a_clients_goaway_does_not_take_its_requests_back(void **state)
{
	(void)state;
	struct rig rig;
	open_rig(&rig, HABIT_WATCH);
	put_headers(say(&rig), 1, END_STREAM, STR(GET_LINES));
	put_goaway(say(&rig), 0, NGHTTP2_NO_ERROR);
	wire_say(&rig.wire);
	assert_false(rig.side.codec->finished);
	user_answer(user_at(&rig.side, 1), 200, "ok");
	wire_listen(&rig.wire);
	assert_non_null(strstr(heard(&rig.wire), "DATA 1 ok end\n"));
	assert_true(rig.side.codec->finished);
	close_rig(&rig);
}

static void put_no_preface(struct buffer *out)
{
	buffer_clear(out);
	buffer_append_str(out, STR("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
}

static void put_big_frame(struct buffer *out)
{
	put_u32(out, 16385, 3);
	put_u32(out, 0, 4);
	put_u32(out, 0, 2);
	for (int i = 0; i < 16385; i++)
		put_u32(out, 0, 1);
}

static void put_data_on_idle(struct buffer *out)
{
	put_data(out, 5, 0, "x");
}

static void put_bad_hpack(struct buffer *out)
{
	put_frame(out, NGHTTP2_HEADERS, END_HEADERS | END_STREAM, 3,
	        STR("\xff\xff\xff\xff\xff\xff\xff"));
}

static void put_even_stream(struct buffer *out)
{
	put_headers(out, 2, END_STREAM, STR(GET_LINES));
}

static void put_settings_on_stream(struct buffer *out)
{
	put_frame(out, NGHTTP2_SETTINGS, 0, 1, STR(""));
}

static void put_interrupted_head(struct buffer *out)
{
	put_frame(out, NGHTTP2_HEADERS, END_STREAM, 3, STR("\x82"));
	put_data(out, 1, 0, "x");
}

static void put_window_overflow(struct buffer *out)
{
	put_code(out, NGHTTP2_WINDOW_UPDATE, 0, 0x7fffffff);
	put_code(out, NGHTTP2_WINDOW_UPDATE, 0, 0x7fffffff);
}

static void put_push_promise(struct buffer *out)
{
	put_frame(out, NGHTTP2_PUSH_PROMISE, END_HEADERS, 1, STR("\0\0\0\2\x82"));
}

static void a_broken_rule_of_the_connection_ends_it_and_all_its_streams(void **state)
{
	(void)state;
	static const struct {
		const char *what;
		void (*put)(struct buffer *out);
		const char *goaway;
	} rows[] = {
	        {"a frame too big", put_big_frame, "FRAME_SIZE_ERROR"},
	        {"DATA on an idle stream", put_data_on_idle, "PROTOCOL_ERROR"},
	        {"HPACK that does not decode", put_bad_hpack, "COMPRESSION_ERROR"},
	        {"a stream of the server's", put_even_stream, "PROTOCOL_ERROR"},
	        {"SETTINGS on a stream", put_settings_on_stream, "PROTOCOL_ERROR"},
	        {"a head interrupted", put_interrupted_head, "PROTOCOL_ERROR"},
	        {"a window beyond 2^31", put_window_overflow, "FLOW_CONTROL_ERROR"},
	        {"a push by the client", put_push_promise, "PROTOCOL_ERROR"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct rig rig;
		open_rig(&rig, HABIT_WATCH);
		put_headers(say(&rig), 1, 0, STR(POST_LINES));
		wire_say(&rig.wire);
		rows[i].put(say(&rig));
		put_headers(say(&rig), 7, END_STREAM, STR(GET_LINES));
		wire_say(&rig.wire);
		const char *log = transcript(&rig.side);
		if (!strstr(heard(&rig.wire), rows[i].goaway) ||
		        !strstr(heard(&rig.wire), "GOAWAY"))
			fail_msg("%s:\n%s", rows[i].what, heard(&rig.wire));
		if (!strstr(log, "violated protocol_violation\n") ||
		        !strstr(log, "1 aborted cancelled\n") || strstr(log, "GET a"))
			fail_msg("%s:\n%s", rows[i].what, log);
		assert_true(rig.side.codec->finished);
		assert_int_equal(rig.side.codec->stream_count, 0);
		close_rig(&rig);
	}
}

static void bytes_that_are_no_preface_are_a_violation(void **state)
{
	(void)state;
	struct rig rig;
	open_rig(&rig, HABIT_WATCH);
	put_no_preface(say(&rig));
	wire_say(&rig.wire);
	assert_string_equal(transcript(&rig.side), "violated protocol_violation\n");
	assert_true(rig.side.codec->finished);
	close_rig(&rig);
}

// Before the client knows the limit one too many is just refused, afterwards it breaks the rules.
static void a_stream_beyond_the_limit_is_never_a_request(void **state)
{
	(void)state;
	for (int known = 0; known < 2; known++) {
		struct rig rig;
		struct codec_limits limits = ordinary_limits;
		limits.concurrent_streams = 2;
		side_open_with(&rig.side, SERVER | H2, HABIT_WATCH, &limits);
		wire_open(&rig.wire, &rig.side);
		wire_say(&rig.wire);
		if (known)
			put_frame(say(&rig), NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, STR(""));
		for (uint32_t id = 1; id <= 5; id += 2)
			put_headers(say(&rig), id, END_STREAM, STR(GET_LINES));
		wire_say(&rig.wire);
		assert_string_equal(
		        transcript(&rig.side), known ? "1 head GET a / end\n2 head GET a / "
		                                       "end\nviolated protocol_violation\n"
		                                       "1 aborted cancelled\n2 aborted cancelled\n"
		                                     : "1 head GET a / end\n2 head GET a / end\n");
		assert_non_null(strstr(heard(&rig.wire),
		        known ? "GOAWAY 3 PROTOCOL_ERROR\n" : "RST_STREAM 5 REFUSED_STREAM\n"));
		close_rig(&rig);
	}
}

static void a_head_that_takes_too_long_ends_the_connection(void **state)
{
	(void)state;
	struct rig rig;
	open_rig(&rig, HABIT_WATCH);
	put_headers(say(&rig), 1, 0, STR(POST_LINES));
	put_frame(say(&rig), NGHTTP2_HEADERS, END_STREAM, 3, STR("\x82"));
	wire_say(&rig.wire);
	assert_true(rig.side.codec->head_pending);
	rig.side.codec->ops->stall(rig.side.codec, "too slow");
	wire_listen(&rig.wire);
	assert_string_equal(transcript(&rig.side),
	        "1 head POST a /\nviolated request_timeout\n1 aborted cancelled\n");
	assert_non_null(strstr(heard(&rig.wire), "GOAWAY 3 ENHANCE_YOUR_CALM\n"));
	assert_true(rig.side.codec->finished);
	close_rig(&rig);
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
	        cmocka_unit_test(an_early_answer_stops_the_request_without_blame),
	        cmocka_unit_test(every_byte_of_data_comes_back_as_window),
	        cmocka_unit_test(
	                a_stream_nobody_takes_from_keeps_its_window_shut_and_holds_up_nobody),
	        cmocka_unit_test(what_is_sent_keeps_within_the_windows_given),
	        cmocka_unit_test(pulling_stops_at_the_mark),
	        cmocka_unit_test(a_shutdown_lets_the_requests_under_way_finish),
	        cmocka_unit_test(an_idle_connection_shuts_down_once_its_ping_is_back),
	        cmocka_unit_test(a_clients_goaway_does_not_take_its_requests_back),
	        cmocka_unit_test(a_broken_rule_of_the_connection_ends_it_and_all_its_streams),
	        cmocka_unit_test(bytes_that_are_no_preface_are_a_violation),
	        cmocka_unit_test(a_stream_beyond_the_limit_is_never_a_request),
	        cmocka_unit_test(a_head_that_takes_too_long_ends_the_connection),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
