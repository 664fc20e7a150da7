// How an HTTP/2 connection of a client ends: GOAWAY both ways, broken rules, limits, a stalled
// head.
#include "tests/gateway/http/h2_wire.h"

static void a_shutdown_lets_the_requests_under_way_finish(void **state)
{
	(void)state;
	struct rig rig;
	rig_open(&rig, SERVER, HABIT_WATCH);
	put_headers(say(&rig), 1, END_STREAM, STR(GET_LINES));
	wire_say(&rig.wire);
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
	rig_close(&rig);
}

// A client that never answers the ping is not waited for for ever.
static void a_second_shutdown_does_not_wait_for_the_client(void **state)
{
	(void)state;
	struct rig rig;
	rig_open(&rig, SERVER, HABIT_WATCH);
	put_headers(say(&rig), 1, END_STREAM, STR(GET_LINES));
	wire_say(&rig.wire);
	rig.side.codec->ops->shutdown(rig.side.codec);
	wire_listen(&rig.wire);
	buffer_clear(say(&rig));
	rig.side.codec->ops->shutdown(rig.side.codec);
	rig.side.codec->ops->shutdown(rig.side.codec);
	wire_listen(&rig.wire);
	assert_string_equal(heard(&rig.wire), "GOAWAY 2147483647 NO_ERROR\nGOAWAY 1 NO_ERROR\n");
	assert_false(rig.side.codec->finished);
	user_answer(user_at(&rig.side, 1), 200, "ok");
	wire_listen(&rig.wire);
	assert_non_null(strstr(heard(&rig.wire), "DATA 1 ok end\n"));
	assert_true(rig.side.codec->finished);
	rig_close(&rig);
}

static void an_idle_connection_shuts_down_once_its_ping_is_back(void **state)
{
	(void)state;
	struct rig rig;
	rig_open(&rig, SERVER, HABIT_WATCH);
	wire_say(&rig.wire);
	rig.side.codec->ops->shutdown(rig.side.codec);
	wire_listen(&rig.wire);
	assert_false(rig.side.codec->finished);
	wire_say(&rig.wire);
	assert_true(rig.side.codec->finished);
	rig_close(&rig);
}

static void a_clients_goaway_does_not_take_its_requests_back(void **state)
{
	(void)state;
	struct rig rig;
	rig_open(&rig, SERVER, HABIT_WATCH);
	put_headers(say(&rig), 1, END_STREAM, STR(GET_LINES));
	put_goaway(say(&rig), 0, NGHTTP2_NO_ERROR);
	wire_say(&rig.wire);
	assert_false(rig.side.codec->finished);
	user_answer(user_at(&rig.side, 1), 200, "ok");
	wire_listen(&rig.wire);
	assert_non_null(strstr(heard(&rig.wire), "DATA 1 ok end\n"));
	assert_true(rig.side.codec->finished);
	rig_close(&rig);
}

static void put_big_frame(struct buffer *out)
{
	put_u32(out, 16385, 3);
	put_u32(out, 0, 4);
	put_u32(out, 0, 2);
	for (int i = 0; i < 16385; i++)
		put_u32(out, 0, 1);
}

// Its length alone would be a flood, were it ever to come.
static void put_huge_unknown_frame(struct buffer *out)
{
	put_u32(out, 0xffffff, 3);
	put_u32(out, 0xfa, 1);
	put_u32(out, 0, 1);
	put_u32(out, 0, 4);
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
	        {"a huge one of no known type", put_huge_unknown_frame, "FRAME_SIZE_ERROR"},
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
		rig_open(&rig, SERVER, HABIT_WATCH);
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
		rig_close(&rig);
	}
}

static void bytes_that_are_no_preface_are_a_violation(void **state)
{
	(void)state;
	static const char *const rows[] = {
	        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
	        "GET /index.html HTTP/1.1\r\nHost: gateway.test\r\nAccept: */*\r\nX: y\r\n\r\n",
	        "PRI * HTTP/2.0\r\n\r\nSM\r\n\rGET / HTTP/1.1\r\nHost: gateway.test\r\n\r\n",
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct rig rig;
		rig_open(&rig, SERVER, HABIT_WATCH);
		buffer_clear(say(&rig));
		buffer_append_str(say(&rig), str_from(rows[i]));
		wire_say(&rig.wire);
		assert_string_equal(transcript(&rig.side), "violated protocol_violation\n");
		assert_string_equal(heard(&rig.wire), "");
		assert_true(rig.side.codec->finished);
		rig_close(&rig);
	}
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
		rig_close(&rig);
	}
}

// Or its connection would be stalled for a head that is over.
static void a_malformed_head_is_pending_no_more(void **state)
{
	(void)state;
	struct rig rig;
	rig_open(&rig, SERVER, HABIT_WATCH);
	put_headers(say(&rig), 1, END_STREAM, STR(":path: /\n"));
	wire_say(&rig.wire);
	assert_string_equal(transcript(&rig.side), "0 faulty malformed_request 0\n");
	assert_false(rig.side.codec->head_pending);
	rig_close(&rig);
}

static void a_head_that_takes_too_long_ends_the_connection(void **state)
{
	(void)state;
	struct rig rig;
	rig_open(&rig, SERVER, HABIT_WATCH);
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
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_shutdown_lets_the_requests_under_way_finish),
	        cmocka_unit_test(a_second_shutdown_does_not_wait_for_the_client),
	        cmocka_unit_test(an_idle_connection_shuts_down_once_its_ping_is_back),
	        cmocka_unit_test(a_clients_goaway_does_not_take_its_requests_back),
	        cmocka_unit_test(a_broken_rule_of_the_connection_ends_it_and_all_its_streams),
	        cmocka_unit_test(bytes_that_are_no_preface_are_a_violation),
	        cmocka_unit_test(a_stream_beyond_the_limit_is_never_a_request),
	        cmocka_unit_test(a_malformed_head_is_pending_no_more),
	        cmocka_unit_test(a_head_that_takes_too_long_ends_the_connection),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
