// HTTP/2 flow control (RFC 9113, 5.2), by hand-written frames: every byte is given back once it is
// taken, no window is overrun, a shut one stalls its stream alone.
#include "tests/gateway/http/h2_wire.h"

static void every_byte_of_data_comes_back_as_window(void **state)
{
	(void)state;
	for (enum habit habit = HABIT_WATCH; habit <= HABIT_LEAVE; habit++) {
		struct rig rig;
		char block[16384];
		memset(block, 'x', sizeof(block));
		rig_open(&rig, SERVER, habit);
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
		rig_close(&rig);
	}
}

static void a_stream_nobody_takes_from_keeps_its_window_shut_and_holds_up_nobody(void **state)
{
	(void)state;
	struct rig rig;
	char block[16384];
	memset(block, 'x', sizeof(block));
	rig_open(&rig, SERVER, HABIT_WATCH);
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
	rig_close(&rig);
}

// The windows the client gives are never overrun; a shut one stalls its stream alone.
static void what_is_sent_keeps_within_the_windows_given(void **state)
{
	(void)state;
	struct rig rig;
	struct buffer big = {0};
	memset(buffer_room(&big, 300001), 'x', 300000);
	buffer_added(&big, 300000);
	rig_open(&rig, SERVER, HABIT_WATCH);
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
	rig_close(&rig);
}

// Resets have no window: a client that provokes them and reads none is not read either.
static void what_waits_to_be_sent_is_bounded(void **state)
{
	(void)state;
	struct rig rig;
	struct codec_limits limits = ordinary_limits;
	limits.concurrent_streams = 1;
	side_open_with(&rig.side, SERVER | H2, HABIT_WATCH, &limits);
	wire_open(&rig.wire, &rig.side);
	put_headers(say(&rig), 1, END_STREAM, STR(GET_LINES));
	wire_say(&rig.wire);
	uint32_t id = 3;
	for (; rig.side.codec->ops->wants_bytes(rig.side.codec); id += 2) {
		assert_true(id < 3 + 2 * (H2_QUEUE_MAX + 10));
		put_headers(say(&rig), id, END_STREAM, STR(GET_LINES));
		side_feed(&rig.side, buffer_str(say(&rig)));
		buffer_clear(say(&rig));
	}
	wire_listen(&rig.wire);
	assert_true(rig.side.codec->ops->wants_bytes(rig.side.codec));
	assert_int_equal(rig.side.user_count, 1);
	rig_close(&rig);
}

static void pulling_stops_at_the_mark(void **state)
{
	(void)state;
	struct rig rig;
	struct buffer big = {0};
	memset(buffer_room(&big, 300001), 'x', 300000);
	buffer_added(&big, 300000);
	rig_open(&rig, SERVER, HABIT_WATCH);
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
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(every_byte_of_data_comes_back_as_window),
	        cmocka_unit_test(
	                a_stream_nobody_takes_from_keeps_its_window_shut_and_holds_up_nobody),
	        cmocka_unit_test(what_is_sent_keeps_within_the_windows_given),
	        cmocka_unit_test(what_waits_to_be_sent_is_bounded),
	        cmocka_unit_test(pulling_stops_at_the_mark),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
