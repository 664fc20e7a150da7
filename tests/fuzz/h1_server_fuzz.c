// The HTTP/1.1 codec as a server: any bytes, cut in any way, tell the same events and the same
// answers.
//   choices \n bytes of the connection
#include "tests/fuzz/peer.h"

struct plan {
	enum habit habit;
	const struct codec_limits *limits;
	bool ends, stalls, shuts_down;
	unsigned seed;
	struct str bytes;
};

struct outcome {
	struct buffer log, out;
	bool finished;
};

static void run(const struct plan *plan, enum cut cut, bool settle, struct outcome *outcome)
{
	struct side side;
	side_open(&side, SERVER | H1, plan->habit, plan->limits);
	side_feed_cut(&side, plan->bytes, cut, plan->seed, settle);
	side_settle(&side);
	if (plan->shuts_down)
		side.codec->ops->shutdown(side.codec);
	if (plan->stalls && side.codec->head_pending)
		side.codec->ops->stall(side.codec, "too slow");
	side_settle(&side);
	if (plan->ends)
		side_end(&side);
	buffer_append_str(&outcome->log, side_log(&side));
	buffer_append_str(&outcome->out, buffer_str(&side.out));
	outcome->finished = side.codec->finished;
	side_close(&side);
}

static void outcome_fini(struct outcome *outcome)
{
	buffer_fini(&outcome->log);
	buffer_fini(&outcome->out);
}

static void compare(const struct plan *plan, const struct outcome *whole, enum cut cut, bool settle)
{
	struct outcome other = {0};
	run(plan, cut, settle, &other);
	check_same("events", buffer_str(&whole->log), buffer_str(&other.log));
	check_same("answers", buffer_str(&whole->out), buffer_str(&other.out));
	CHECK(whole->finished == other.finished);
	outcome_fini(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dice dice_all = dice_of(data, size), choices = {dice_line(&dice_all)};
	struct plan plan = {
	        .habit = (enum habit)dice(&choices, HABIT_COUNT),
	        .limits = &limits_table[dice(&choices, ARRAY_LEN(limits_table))],
	        .ends = dice(&choices, 2),
	        .stalls = dice(&choices, 2),
	        .shuts_down = dice(&choices, 2),
	        .seed = dice(&choices, 256),
	        .bytes = dice_rest(&dice_all),
	};
	struct outcome whole = {0};
	run(&plan, CUT_WHOLE, false, &whole);
	compare(&plan, &whole, CUT_BYTES, false);
	compare(&plan, &whole, CUT_RANDOM, false);
	// Once somebody answers before the body is there, it matters when the answer leaves.
	if (plan.habit == HABIT_ANSWER && !plan.limits->refused)
		compare(&plan, &whole, CUT_RANDOM, true);
	outcome_fini(&whole);
	return 0;
}
