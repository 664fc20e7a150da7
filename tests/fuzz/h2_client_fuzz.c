// The HTTP/2 codec as a client: a backend that does anything, users that ask, say, credit, release
// and reset at any moment. Every asked one hears an end or an abort, and nothing after it.
//   choices \n acts
#include "tests/fuzz/h2_play.h"

static const char *const heads[] = {
        ":status: 200\n",
        ":status: 200\ncontent-length: 5\n",
        ":status: 103\nlink: x\n",
        ":status: 100\n",
        ":status: 204\n",
        ":status: 304\ncontent-length: 5\n",
        ":status: 200\ncontent-type: application/grpc\ngrpc-status: 0\n",
        ":status: 101\n",
        ":status: 200\nconnection: close\n",
        ":status: 99\n",
        "grpc-status: 0\n",
        "content-length: 1\n",
};

static void ask(struct play *play)
{
	static const char *const methods[] = {"GET", "POST", "POST", "HEAD"};
	struct codec *codec = play->side.codec;
	unsigned which = dice(&play->dice, ARRAY_LEN(methods));
	struct stream *stream = codec->ops->open(codec);
	CHECK(!stream || codec->stream_count <= H2_CLIENT_STREAMS_MAX);
	if (!stream)
		return;
	struct user *user = user_new(&play->side, stream);
	struct head head;
	head_request(&head);
	head.method = str_from(methods[which]);
	head.authority = STR("a.example");
	head.target = STR("/");
	head.content_length = which == 2 ? 3 : -1;
	user->to_head = which == 3;
	user->source.ended = which == 0 || which == 3;
	stream->source = &user->source;
	stream_send_head(stream, &head, user->source.ended);
}

static void act(struct play *play)
{
	unsigned which = dice(&play->dice, COMMON_ACTS + 6);
	if (which < COMMON_ACTS)
		common_act(play, which);
	else if (which < COMMON_ACTS + 3)
		ask(play);
	else
		act_headers(play, heads, ARRAY_LEN(heads), some_stream(play));
	say(play);
}

static void check_told(const struct side *side)
{
	for (const struct list *node = side->users.next; node != &side->users; node = node->next) {
		const struct user *user = LIST_ITEM(node, struct user, node);
		CHECK(!user->stream || user->whole || user->aborted || user->stream->over);
	}
}

// True where another cut must tell the same.
static bool perform(struct str choices_line, struct str acts, enum cut cut, struct buffer *log)
{
	struct dice choices = {choices_line};
	struct play play = {.dice = {acts}, .cut = cut};
	play.limits = &limits_table[dice(&choices, 2)];
	side_open(&play.side, CLIENT | H2, HABIT_WATCH, play.limits);
	play.side.keeps_credit = dice(&choices, 2);
	play.side.keeps_streams = dice(&choices, 2);
	side_settle(&play.side);
	if (!dice(&choices, 8)) {
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
	side_end(&play.side);
	check_told(&play.side);
	buffer_append_str(log, side_log(&play.side));
	side_close(&play.side);
	buffer_fini(&play.wire);
	return !play.open_block;
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
