// The HTTP/1.1 codec as a client: whatever a backend says, an answer is told whole only if it was,
// and the same however the bytes are cut; but where more comes with an answer than it is, it is
// broken, and where the more comes later, it was whole.
//   choices \n bytes of the backend, "\n~~\n" between what it says after one request and the next
#include "tests/fuzz/peer.h"

struct plan {
	enum habit habit;
	const struct codec_limits *limits;
	bool ends, keeps_streams;
	unsigned seed, request;
	struct str bytes;
};

struct outcome {
	struct buffer log, out;
	bool finished;
};

static const struct {
	const char *method;
	int64_t content_length;
	bool body, websocket;
} requests[] = {
        {"GET", -1, false, false}, {"HEAD", -1, false, false}, {"POST", 4, true, false},
        {"POST", -1, true, false}, {"GET", -1, false, true},
        {"POST", 9, true, false},  // a body shorter than announced
};

static void ask(struct side *side, unsigned which)
{
	struct stream *stream = side->codec->ops->open(side->codec);
	struct head head;
	if (!stream)
		return;
	struct user *user = user_new(side, stream);
	head_request(&head);
	head.method = str_from(requests[which].method);
	head.authority = STR("a.example");
	head.target = STR("/path?query");
	head.content_length = requests[which].content_length;
	head.websocket = requests[which].websocket;
	user->to_head = str_eq(head.method, STR("HEAD"));
	if (requests[which].body || head.websocket)
		body_add(&user->source, STR("body"));
	user->source.ended = !head.websocket;
	stream->source = &user->source;
	stream_send_head(stream, &head, !requests[which].body && !head.websocket);
	side_settle(side);
}

// What the backend says until the next request.
static struct str next_flight(struct str *bytes)
{
	static const char mark[] = "\n~~\n";
	const char *end = bytes->len ? memmem(bytes->at, bytes->len, mark, strlen(mark)) : NULL;
	struct str flight = str_of(bytes->at, end ? (size_t)(end - bytes->at) : bytes->len);
	*bytes = str_skip(*bytes, end ? flight.len + strlen(mark) : flight.len);
	return flight;
}

static void run(const struct plan *plan, enum cut cut, struct outcome *outcome)
{
	struct side side;
	struct str bytes = plan->bytes;
	side_open(&side, CLIENT | H1, plan->habit, plan->limits);
	side.keeps_streams = plan->keeps_streams;
	for (unsigned i = 0; i == 0 || bytes.len; i++) {
		ask(&side, (plan->request + i) % ARRAY_LEN(requests));
		side_feed_cut(&side, next_flight(&bytes), cut, plan->seed, false);
		side_settle(&side);
	}
	if (plan->ends)
		side_end(&side);
	buffer_append_str(&outcome->log, side_log(&side));
	buffer_append_str(&outcome->out, buffer_str(&side.out));
	outcome->finished = side.codec->finished;
	// Nobody is left waiting once the connection is over.
	LIST_EACH (&side.users, node) {
		const struct user *user = LIST_ITEM(node, struct user, node);
		if (side.codec->finished && plan->ends)
			CHECK(!user->stream || user->whole || user->aborted || user->stream->over);
	}
	side_close(&side);
}

static void outcome_fini(struct outcome *outcome)
{
	buffer_fini(&outcome->log);
	buffer_fini(&outcome->out);
}

// What is behind the lines that both have.
static struct str rest_of(const struct buffer *log, const struct buffer *beside)
{
	struct str rest = buffer_str(log), other = buffer_str(beside);
	while (rest.len && other.len) {
		const char *end = str_find_byte(rest, '\n');
		struct str line = str_of(rest.at, end ? (size_t)(end - rest.at) + 1 : rest.len);
		if (!str_starts(other, line))
			break;
		rest = str_skip(rest, line.len);
		other = str_skip(other, line.len);
	}
	return rest;
}

static bool has(struct str log, const char *event)
{
	return log.len && memmem(log.at, log.len, event, strlen(event)) != NULL;
}

// It differs by an answer that was broken; more of its body may have been told before.
static bool doubtful(const struct outcome *whole, const struct outcome *other)
{
	char broken[16];
	struct str rest = rest_of(&whole->log, &other->log);
	snprintf(broken, sizeof(broken), " aborted %d\n", ABORT_BROKEN);
	return whole->finished && has(rest, broken) && !has(rest, " head ") && !has(rest, " end\n");
}

static void compare(const struct plan *plan, const struct outcome *whole, enum cut cut)
{
	struct outcome other = {0};
	run(plan, cut, &other);
	if (!doubtful(whole, &other)) {
		check_same("events", buffer_str(&whole->log), buffer_str(&other.log));
		check_same("requests", buffer_str(&whole->out), buffer_str(&other.out));
		CHECK(whole->finished == other.finished);
	}
	outcome_fini(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dice dice_all = dice_of(data, size), choices = {dice_line(&dice_all)};
	struct plan plan = {
	        .habit = dice(&choices, 4) == 3 ? HABIT_LEAVE : HABIT_WATCH,
	        .limits = &limits_table[dice(&choices, 2)],
	        .ends = dice(&choices, 2),
	        .keeps_streams = dice(&choices, 2),
	        .request = dice(&choices, ARRAY_LEN(requests)),
	        .seed = dice(&choices, 256),
	        .bytes = dice_rest(&dice_all),
	};
	struct outcome whole = {0};
	run(&plan, CUT_WHOLE, &whole);
	compare(&plan, &whole, CUT_BYTES);
	compare(&plan, &whole, CUT_RANDOM);
	outcome_fini(&whole);
	return 0;
}
