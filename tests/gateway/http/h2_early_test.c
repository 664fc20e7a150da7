// Answers that are whole before their requests (h2_early.h): the client is asked to stop without
// blame (RFC 9113, 8.1), and only once it has had the time to see why.
#include "gateway/http/h2_early.h"

#include "tests/gateway/http/h2_wire.h"

#define REFUSAL(id) "HEADERS " id " {:status: 403; content-length: 2}\nDATA " id " no end\n"

static void refuse_upload(struct rig *rig)
{
	rig_open(rig, SERVER, HABIT_REFUSE);
	put_headers(say(rig), 1, 0, STR(POST_LINES));
	put_data(say(rig), 1, 0, "abc");
	wire_say(&rig->wire);
	assert_string_equal(heard(&rig->wire), REFUSAL("1"));
	assert_int_equal(rig->wire.pings, 1);
}

// What the client would say by itself, the ack, is kept back.
static struct buffer hold_acks(struct rig *rig)
{
	struct buffer held = rig->wire.say;
	rig->wire.say = (struct buffer){0};
	return held;
}

static void release_acks(struct rig *rig, struct buffer *held)
{
	buffer_append_str(say(rig), buffer_str(held));
	buffer_fini(held);
	wire_say(&rig->wire);
}

static void the_request_is_stopped_when_the_client_has_acked_the_ping(void **state)
{
	(void)state;
	struct rig rig;
	refuse_upload(&rig);
	struct buffer ack = hold_acks(&rig);
	put_data(say(&rig), 1, 0, "def");
	wire_say(&rig.wire);
	assert_string_equal(heard(&rig.wire), REFUSAL("1"));
	release_acks(&rig, &ack);
	assert_string_equal(heard(&rig.wire), REFUSAL("1") "RST_STREAM 1 NO_ERROR\n");
	assert_int_equal(rig.side.codec->stream_count, 0);
	rig_close(&rig);
}

static void a_request_that_ends_meanwhile_is_left_alone(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		uint8_t type;
	} rows[] = {{"content", NGHTTP2_DATA}, {"trailers", NGHTTP2_HEADERS},
	        {"reset", NGHTTP2_RST_STREAM}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct rig rig;
		refuse_upload(&rig);
		struct buffer ack = hold_acks(&rig);
		if (rows[i].type == NGHTTP2_DATA)
			put_data(say(&rig), 1, END_STREAM, "def");
		else if (rows[i].type == NGHTTP2_HEADERS)
			put_headers(say(&rig), 1, END_STREAM, STR("x: y\n"));
		else
			put_code(say(&rig), NGHTTP2_RST_STREAM, 1, NGHTTP2_CANCEL);
		wire_say(&rig.wire);
		assert_int_equal(rig.side.codec->stream_count, 0);
		release_acks(&rig, &ack);
		assert_string_equal(heard(&rig.wire), REFUSAL("1"));
		assert_int_equal(rig.wire.pings, 1);
		rig_close(&rig);
	}
}

static void no_more_comes_than_the_window_let_through(void **state)
{
	(void)state;
	struct rig rig;
	char block[16384];
	memset(block, 'x', sizeof(block));
	refuse_upload(&rig);
	struct buffer ack = hold_acks(&rig);
	put_frame(say(&rig), NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, STR(""));
	for (size_t left = BODY_HIGH - strlen("abc"), len; left; left -= len) {
		len = left < sizeof(block) ? left : sizeof(block);
		put_frame(say(&rig), NGHTTP2_DATA, 0, 1, str_of(block, len));
	}
	wire_say(&rig.wire);
	assert_int_equal(rig.wire.window_updates[1], 0);
	assert_string_equal(heard(&rig.wire), REFUSAL("1"));
	release_acks(&rig, &ack);
	assert_string_equal(heard(&rig.wire), REFUSAL("1") "RST_STREAM 1 NO_ERROR\n");
	rig_close(&rig);
}

// What was answered before it left; who is answered later waits for the next.
static void one_ping_is_under_way_for_all(void **state)
{
	(void)state;
	struct rig rig;
	rig_open(&rig, SERVER, HABIT_REFUSE);
	for (uint32_t id = 1; id <= 5; id += 2)
		put_headers(say(&rig), id, 0, STR(POST_LINES));
	wire_say(&rig.wire);
	assert_int_equal(rig.wire.pings, 1);
	struct buffer ack = hold_acks(&rig);
	put_headers(say(&rig), 7, 0, STR(POST_LINES));
	wire_say(&rig.wire);
	assert_int_equal(rig.wire.pings, 1);
	assert_null(strstr(heard(&rig.wire), "RST_STREAM"));
	release_acks(&rig, &ack);
	for (uint32_t id = 1; id <= 7; id += 2) {
		char reset[64];
		snprintf(reset, sizeof(reset), "RST_STREAM %u NO_ERROR\n", id);
		assert_int_equal(strstr(heard(&rig.wire), reset) != NULL, id < 7);
	}
	assert_int_equal(rig.wire.pings, 2);
	wire_say(&rig.wire);
	assert_non_null(strstr(heard(&rig.wire), "RST_STREAM 7 NO_ERROR\n"));
	assert_int_equal(rig.side.codec->stream_count, 0);
	rig_close(&rig);
}

static void who_never_acks_keeps_so_many_open_and_no_more(void **state)
{
	(void)state;
	struct rig rig;
	struct codec_limits limits = ordinary_limits;
	limits.concurrent_streams = 3 * H2_EARLY_MAX;
	side_open_with(&rig.side, SERVER | H2, HABIT_REFUSE, &limits);
	wire_open(&rig.wire, &rig.side);
	for (uint32_t i = 0; i < 2 * H2_EARLY_MAX; i++) {
		put_headers(say(&rig), 2 * i + 1, 0, STR(POST_LINES));
		wire_say(&rig.wire);
		buffer_clear(say(&rig));
		unsigned open = i < H2_EARLY_MAX ? i + 1 : H2_EARLY_MAX;
		assert_int_equal(rig.side.codec->stream_count, open);
	}
	assert_null(strstr(heard(&rig.wire), "RST_STREAM 199 "));
	assert_non_null(strstr(heard(&rig.wire), "RST_STREAM 201 NO_ERROR\n"));
	assert_int_equal(rig.wire.pings, 1);
	rig_close(&rig);
}

// Its own ack is what a shutdown waits for: it tells which requests came before the notice.
static void the_ack_is_not_taken_for_that_of_a_shutdown(void **state)
{
	(void)state;
	struct rig rig;
	refuse_upload(&rig);
	struct buffer early = hold_acks(&rig);
	rig.side.codec->ops->shutdown(rig.side.codec);
	wire_listen(&rig.wire);
	struct buffer last = hold_acks(&rig);
	release_acks(&rig, &early);
	assert_string_equal(heard(&rig.wire),
	        REFUSAL("1") "GOAWAY 2147483647 NO_ERROR\nRST_STREAM 1 NO_ERROR\n");
	assert_false(rig.side.codec->finished);
	release_acks(&rig, &last);
	assert_non_null(strstr(heard(&rig.wire), "GOAWAY 1 NO_ERROR\n"));
	assert_true(rig.side.codec->finished);
	rig_close(&rig);
}

static void the_connection_may_be_lost_meanwhile(void **state)
{
	(void)state;
	for (int failed = 0; failed < 2; failed++) {
		struct rig rig;
		refuse_upload(&rig);
		if (failed)
			(rig.side.codec->ops->fail)(rig.side.codec, ABORT_CLOSED);
		else
			rig.side.codec->ops->feed_end(rig.side.codec);
		assert_int_equal(rig.side.codec->stream_count, 0);
		rig_close(&rig);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(the_request_is_stopped_when_the_client_has_acked_the_ping),
	        cmocka_unit_test(a_request_that_ends_meanwhile_is_left_alone),
	        cmocka_unit_test(no_more_comes_than_the_window_let_through),
	        cmocka_unit_test(one_ping_is_under_way_for_all),
	        cmocka_unit_test(who_never_acks_keeps_so_many_open_and_no_more),
	        cmocka_unit_test(the_ack_is_not_taken_for_that_of_a_shutdown),
	        cmocka_unit_test(the_connection_may_be_lost_meanwhile),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
