// The HTTP/2 codec as a server: a client that does anything, users that answer, credit, release and
// reset at any moment. Nothing aborts or leaks, no stream is ahead of its window, no more are at
// work than allowed, and the same bytes in single bytes tell the same events.
//   choices \n acts
#include "tests/fuzz/h2_play.h"

static const char *const heads[] = {
        ":method: GET\n:scheme: https\n:authority: a\n:path: /\n",
        ":method: POST\n:scheme: https\n:authority: a\n:path: /p?q\n",
        ":method: POST\n:scheme: https\n:authority: a\n:path: /p\ncontent-length: 5\n",
        ":method: HEAD\n:scheme: https\n:authority: a\n:path: /\n",
        ":method: POST\n:scheme: https\n:authority: a\n:path: /\ncontent-type: application/grpc\n",
        ":method: GET\n:scheme: https\n:path: /\nhost: a\ncookie: a=1\ncookie: b=2\n",
        ":method: CONNECT\n:authority: a\n",
        ":method: OPTIONS\n:scheme: https\n:authority: a\n:path: *\n",
        ":method: GET\n:scheme: https\n:authority: a\n:path: /\nexpect: 100-continue\n",
        ":method: GET\n:scheme: https\n:authority: a\n:path: /\nconnection: close\n",
        ":method: GET\n:scheme: ftp\n:authority: a b\n:path: x\n",
        "x-sum: 1\n",
        "content-length: 1\n",
};

static void act(struct play *play)
{
	unsigned which = dice(&play->dice, COMMON_ACTS + 4);
	if (which < COMMON_ACTS) {
		common_act(play, which);
	} else {
		bool old = dice(&play->dice, 4) == 3;
		uint32_t id = old ? some_stream(play) : play->next_id;
		play->next_id += old ? 0 : 2;
		act_headers(play, heads, ARRAY_LEN(heads), id);
	}
	say(play);
}

// True where another cut must tell the same.
static bool perform(struct str choices_line, struct str acts, enum cut cut, struct buffer *log)
{
	struct dice choices = {choices_line};
	struct play play = {.dice = {acts}, .cut = cut, .next_id = 1};
	enum habit habit = (enum habit)dice(&choices, HABIT_COUNT);
	play.limits = &limits_table[dice(&choices, ARRAY_LEN(limits_table))];
	side_open(&play.side, SERVER | H2, habit, play.limits);
	play.side.keeps_credit = dice(&choices, 2);
	play.side.keeps_streams = dice(&choices, 2);
	if (!dice(&choices, 8)) {
		buffer_append_str(&play.wire, STR(H2_PREFACE));
		put_frame(&play.wire, NGHTTP2_SETTINGS, 0, 0, STR(""));
		say(&play);
	}
	bool settles = dice(&choices, 2);
	while (play.dice.left.len) {
		act(&play);
		if (settles)
			side_settle(&play.side);
		check_play(&play);
	}
	side_settle(&play.side);
	if (dice(&choices, 2))
		side_end(&play.side);
	buffer_append_str(log, side_log(&play.side));
	// A flood is cut off with all that came in the same piece.
	bool flood = h2_of(play.side.codec)->calm.lost;
	side_close(&play.side);
	buffer_fini(&play.wire);
	return !play.open_block && !flood;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dice all = dice_of(data, size);
	struct str choices = dice_line(&all), acts = dice_rest(&all);
	struct buffer whole = {0}, bytes = {0};
	bool comparable = perform(choices, acts, CUT_WHOLE, &whole);
	comparable &= perform(choices, acts, CUT_BYTES, &bytes);
	if (comparable)
		check_same("events", buffer_str(&whole), buffer_str(&bytes));
	buffer_fini(&whole);
	buffer_fini(&bytes);
	return 0;
}
