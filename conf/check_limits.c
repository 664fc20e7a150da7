#include "conf/check.h"

static void derive_per(struct config_split *split)
{
	split->per_count = split->per_names.count;
	for (size_t i = 0; i < split->per_count; i++) {
		struct str name = split->per_names.items[i].text;
		if (str_eq(name, STR("identity"))) {
			split->per[i].kind = PER_IDENTITY;
		} else if (str_eq(name, STR("method"))) {
			split->per[i].kind = PER_METHOD;
		} else if (str_eq(name, STR("source_ip"))) {
			split->per[i].kind = PER_SOURCE_IP;
		} else {
			split->per[i].kind = PER_HEADER;
			split->per[i].header = str_skip(name, strlen("header:"));
		}
	}
}

static void check_split(struct reader *reader, const struct tree *node, struct config_split *split)
{
	derive_per(split);
	if (tree_get(node, "max_keys") && !tree_get(node, "per"))
		reader_problem_at(reader, node, "max_keys",
		        "can have no effect without per; expected it left out, or per given");
}

void check_call_override(struct reader *reader, const struct tree *node, void *base)
{
	(void)reader;
	((struct config_call_override *)base)->limit.mark = node->mark;
}

void check_call_limit(struct reader *reader, const struct tree *node, void *base)
{
	struct config_call_limit *limit = base;
	limit->mark = node->mark;
	check_split(reader, node, &limit->split);
	for (size_t i = 0; i < limit->override_count; i++) {
		struct config_call_limit *own = &limit->overrides[i].limit, whole = *limit;
		whole.calls = own->calls;
		whole.mark = own->mark;
		whole.overrides = NULL;
		whole.override_count = 0;
		*own = whole;
	}
}

bool shown_call_split(const void *base)
{
	return ((const struct config_call_limit *)base)->split.per_count > 0;
}

static void check_counted(struct reader *reader, const struct tree *node)
{
	if (tree_get(node, "messages") && tree_get(node, "bytes"))
		reader_problem_at(reader, node, "bytes",
		        "stands beside messages; expected either messages or bytes");
	else if (!tree_get(node, "messages") && !tree_get(node, "bytes"))
		reader_problem(reader, node->mark, "counts nothing; expected messages or bytes");
}

void check_flow_override(struct reader *reader, const struct tree *node, void *base)
{
	((struct config_flow_override *)base)->limit.mark = node->mark;
	check_counted(reader, node);
}

static void check_pause(
        struct reader *reader, const struct tree *node, const struct config_flow_limit *limit)
{
	const int64_t minute_ns = INT64_C(60) * 1000000000;
	const struct config_rate *rate = limit->bytes.count ? &limit->bytes : &limit->messages;
	if (limit->on_excess == EXCESS_PAUSE && rate->count &&
	        rate->period_ns / (int64_t)rate->count > minute_ns)
		reader_problem_at(reader, node, limit->bytes.count ? "bytes" : "messages",
		        "is less than one a minute, and nobody waits for longer; expected more, "
		        "or on_excess: reject");
}

static void complete_flow_override(struct reader *reader, const struct tree *node,
        const struct config_flow_limit *limit, struct config_flow_limit *own)
{
	struct config_flow_limit whole = *limit;
	bool bytes = own->bytes.count && !own->messages.count;
	bool messages = own->messages.count && !own->bytes.count;
	if ((limit->messages.count && bytes) || (limit->bytes.count && messages))
		reader_problem_at(reader, node, bytes ? "bytes" : "messages",
		        "is not what the limit counts; expected %s", bytes ? "messages" : "bytes");
	whole.bytes = own->bytes;
	whole.messages = own->messages;
	whole.burst = own->burst;
	whole.mark = own->mark;
	whole.overrides = NULL;
	whole.override_count = 0;
	*own = whole;
	check_pause(reader, node, own);
}

void check_flow_limit(struct reader *reader, const struct tree *node, void *base)
{
	struct config_flow_limit *limit = base;
	limit->mark = node->mark;
	check_split(reader, node, &limit->split);
	check_counted(reader, node);
	check_pause(reader, node, limit);
	const struct tree *overrides = tree_get(node, "overrides");
	const struct tree *override = overrides ? overrides->first : NULL;
	reader_enter(reader, "overrides");
	for (size_t i = 0; override && i < limit->override_count; i++, override = override->next) {
		reader_enter_item(reader, i);
		complete_flow_override(reader, override, limit, &limit->overrides[i].limit);
		reader_leave(reader);
	}
	reader_leave(reader);
}

bool shown_flow_split(const void *base)
{
	return ((const struct config_flow_limit *)base)->split.per_count > 0;
}

// The limiter counts in signed 64-bit nanoseconds: a full bucket's worth of time has to fit, with
// decades to spare. No one waits a year for tokens on purpose.
static void check_refill(
        struct reader *reader, const struct tree *node, const struct config_rate_limit *limit)
{
	const int64_t year_ns = INT64_C(366) * 24 * 3600 * 1000000000;
	unsigned __int128 needed = (unsigned __int128)limit->burst *
	                           (unsigned __int128)limit->rate.period_ns;
	if (limit->rate.count &&
	        needed > (unsigned __int128)limit->rate.count * (unsigned __int128)year_ns)
		reader_problem_at(reader, node, "burst",
		        "takes more than a year to refill at this rate; expected a smaller burst "
		        "or a higher rate");
}

void check_override(struct reader *reader, const struct tree *node, void *base)
{
	struct config_override *override = base;
	override->limit.mark = node->mark;
	check_refill(reader, node, &override->limit);
}

void check_cost(struct reader *reader, const struct tree *node, void *base)
{
	const struct config_cost *cost = base;
	if (tree_get(node, "header") && tree_get(node, "body"))
		reader_problem_at(reader, node, "body",
		        "stands beside header; expected either header or body");
	else if (!tree_get(node, "header") && !tree_get(node, "body"))
		reader_problem(reader, node->mark, "counts nothing; expected header or body");
	if (str_starts(cost->header.text, STR(":")))
		reader_problem_at(
		        reader, node, "header", "found a pseudo-header field; expected another");
}

// Whether a call that costs the most can ever pass.
static bool affords(const struct config_rate_limit *limit, uint64_t burst)
{
	return !limit->fleet || limit->cost.max <= burst / limit->fleet;
}

static void check_affordable(
        struct reader *reader, const struct tree *node, const struct config_rate_limit *limit)
{
	if (!limit->burst || !limit->fleet || limit->fleet > limit->burst ||
	        affords(limit, limit->burst))
		return;
	reader_enter(reader, "cost");
	reader_problem_at(reader, tree_get(node, "cost"), "max",
	        "is more than the bucket ever holds; expected at most %s%llu",
	        limit->fleet > 1 ? "the burst's share, " : "the burst, ",
	        (unsigned long long)(limit->burst / limit->fleet));
	reader_leave(reader);
}

static void check_override_burst(
        struct reader *reader, const struct config_rate_limit *limit, size_t index)
{
	const struct config_rate_limit *own = &limit->overrides[index].limit;
	uint64_t least = limit->fleet > limit->lease ? limit->fleet : limit->lease;
	const char *needed_by = "the limit's fleet or lease";
	if (!own->burst)
		return;
	if (own->burst >= least && !affords(limit, own->burst)) {
		least = limit->cost.max * limit->fleet;
		needed_by = "what a call may cost";
	}
	if (own->burst >= least)
		return;
	reader_enter_item(reader, index);
	reader_enter(reader, "burst");
	reader_problem(reader, own->mark, "is less than %s; expected at least %llu", needed_by,
	        (unsigned long long)least);
	reader_leave(reader);
	reader_leave(reader);
}

// The limit as it is for those it overrides.
static void complete_overrides(struct reader *reader, const struct config_rate_limit *limit)
{
	reader_enter(reader, "overrides");
	for (size_t i = 0; i < limit->override_count; i++) {
		struct config_rate_limit *own = &limit->overrides[i].limit, whole = *limit;
		whole.rate.count = own->rate.count;
		whole.rate.period_ns = own->rate.period_ns;
		whole.burst = own->burst;
		whole.mark = own->mark;
		whole.overrides = NULL;
		whole.override_count = 0;
		*own = whole;
		check_override_burst(reader, limit, i);
	}
	reader_leave(reader);
}

static void check_store(
        struct reader *reader, const struct tree *node, const struct config_rate_limit *limit)
{
	static const char *const of_redis[] = {"on_failure", "lease"};
	for (size_t i = 0; limit->store == STORE_LOCAL && i < ARRAY_LEN(of_redis); i++)
		if (tree_get(node, of_redis[i]))
			reader_problem_at(reader, node, of_redis[i],
			        "can have no effect without store: redis; expected it left out");
	// Blocks are read in the order of the schema: that of redis is known by now.
	if (limit->store == STORE_REDIS && !reader->config->redis.mark.line)
		reader_problem_at(reader, node, "store",
		        "found 'redis', and no server is named; expected a block such as "
		        "redis: {address: 127.0.0.1:6379} at the top of the file");
	if (limit->store == STORE_REDIS && limit->lease > limit->burst && limit->burst)
		reader_problem_at(reader, node, "lease",
		        "is more than the bucket ever holds; expected at most the burst, %llu",
		        (unsigned long long)limit->burst);
	if (limit->store == STORE_REDIS && limit->lease > 1 && limit->shadow)
		reader_problem_at(reader, node, "lease",
		        "can have no effect beside shadow; expected it left out");
	if (limit->store == STORE_REDIS && limit->fleet > 1 &&
	        limit->on_failure != STORE_FAILURE_LOCAL)
		reader_problem_at(reader, node, "fleet",
		        "can have no effect: no bucket of this process counts; expected it left "
		        "out, or on_failure: local");
}

void check_rate_limit(struct reader *reader, const struct tree *node, void *base)
{
	struct config_rate_limit *limit = base;
	limit->mark = node->mark;
	check_split(reader, node, &limit->split);
	check_refill(reader, node, limit);
	if (limit->fleet > limit->burst && limit->burst)
		reader_problem_at(reader, node, "fleet",
		        "leaves less than one token of burst to each gateway; expected at most "
		        "%llu",
		        (unsigned long long)limit->burst);
	check_store(reader, node, limit);
	check_affordable(reader, node, limit);
	complete_overrides(reader, limit);
}

bool shown_split(const void *base)
{
	return ((const struct config_rate_limit *)base)->split.per_count > 0;
}

bool shown_cost_body(const void *base)
{
	return ((const struct config_cost *)base)->body > 0;
}

bool shown_cost_max(const void *base)
{
	return ((const struct config_cost *)base)->max > 0;
}

bool shown_shared(const void *base)
{
	return ((const struct config_rate_limit *)base)->store == STORE_REDIS;
}
