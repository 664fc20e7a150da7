// HTTP/2 in, HTTP/1.1 out: whatever stands in names, values, pseudo-header fields, DATA and
// trailers, one stream is one request to its backend.
//   choices \n acts
#include "tests/fuzz/h2_play.h"
#include "tests/fuzz/pair_check.h"

static const char *const heads[] = {
        ":method: GET\n:scheme: https\n:authority: a\n:path: /a/../b%41?q\n",
        ":method: POST\n:scheme: https\n:authority: a:1\n:path: /p?q\n",
        ":method: POST\n:scheme: https\n:authority: a\n:path: /p\ncontent-length: 5\n",
        ":method: POST\n:scheme: https\n:authority: a\n:path: /\ncontent-type: application/grpc\n",
        ":method: GET\n:scheme: https\n:path: /\nhost: a\ncookie: a=1\ncookie: b=2\n",
        ":method: HEAD\n:scheme: https\n:authority: a\n:path: /\nx-forwarded-client-cert: x\n",
        ":scheme: https\n:authority: a\n:path: /\n",
        ":method: GET\n:authority: a\n:path: /\n",
        ":method: GET\n:scheme: https\n:path: /\n",
        ":method: GET\n:scheme: https\n:authority: a\n",
        "x-sum: 1\n",
        "x-forwarded-client-cert: x\nhost: b\n",
};

static const char answer[] =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx: y\r\n\r\n";

static void act(struct play *play)
{
	unsigned which = dice(&play->dice, 12);
	if (which == 0) {
		act_any_frame(play);
	} else if (which == 1) {
		act_number(play, NGHTTP2_RST_STREAM);
	} else if (which < 6) {
		act_data(play);
	} else {
		bool old = dice(&play->dice, 4) == 3;
		uint32_t id = old ? some_stream(play) : play->next_id;
		play->next_id += old ? 0 : 2;
		act_headers(play, heads, ARRAY_LEN(heads), id);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dice all = dice_of(data, size), choices = {dice_line(&all)};
	struct play play = {.dice = {dice_rest(&all)}, .next_id = 1};
	struct pump pump;
	bool eager = dice(&choices, 2);
	pump_open(&pump, H2, &limits_table[dice(&choices, 2)]);
	pump.answers = dice(&choices, 2) ? STR(answer) : STR("");
	buffer_append_str(&play.wire, STR(H2_PREFACE));
	put_frame(&play.wire, NGHTTP2_SETTINGS, 0, 0, STR(""));
	while (play.dice.left.len) {
		act(&play);
		pump_feed(&pump, buffer_str(&play.wire), eager);
		buffer_clear(&play.wire);
	}
	pump_turn(&pump, true);
	pump_close(&pump);
	buffer_fini(&play.wire);
	return 0;
}
