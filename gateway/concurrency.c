#include "gateway/concurrency.h"

#include "base/clock.h"

enum {
	START_LIMIT = 32,  // of all workers: room for what was there before a restart
	START_LEAST = 8,   // of one
	COHORT = 20,       // calls to judge by, at least
	COHORT_FEW = 10,   // where they are rare
	PROBE_COHORT = 8,  // likewise, or twice as many as a probe lets through
	PROBE_COHORT_MOST = 64,
	PROBE_FEW = 4,
	USELESS = 2,
	PROBE_AFTER = 2,  // cohorts: the limit follows before it is asked again what to follow
};

static const double cohort_least_ns = 100e6;  // longer than most pauses of a garbage collector
static const double cohort_long_ns = 1e9;
// Below this a difference is the machine's noise and not a queue.
static const double slack_ns = 1e6;
static const double shrink_most = 0.5;
// A call counts as this many times as slow as is fine at most: so about a tenth of them has to
// fail, and one of an hour does no more than one of a second. Nobody is waited for any longer.
static const double slow_most = 4;
static const double learn_down = 1.0 / 8, learn_up = 1.0 / 16, learn_late = 1.0 / 4;
static const double probe_depth = 0.5;
static const double probe_answers = 3, drain_answers = 1.25;
static const int64_t probe_every_ns = 10 * (int64_t)NS_PER_S, probe_young_ns = NS_PER_S;
static const int64_t young_ns = 3 * (int64_t)NS_PER_S;
static const double probe_every_answers = 100;  // so it costs one or two hundredths

static double lesser(double a, double b)
{
	return a < b ? a : b;
}

static double greater(double a, double b)
{
	return a > b ? a : b;
}

static bool fixed(const struct concurrency *concurrency)
{
	return concurrency->config.limit > 0;
}

static double tolerance_of(const struct concurrency *concurrency)
{
	return (double)concurrency->config.tolerance_percent / 100;
}

// An answer's time up to which all is fine.
static double fine_ns(const struct concurrency *concurrency)
{
	return greater(concurrency->unloaded_ns * tolerance_of(concurrency),
	        concurrency->unloaded_ns + slack_ns);
}

static double within(const struct concurrency *concurrency, double limit)
{
	return lesser(
	        greater(limit, (double)concurrency->config.min), (double)concurrency->config.max);
}

static void open_cohort(struct concurrency *concurrency, int64_t now_ns)
{
	concurrency->cohort = (struct concurrency_cohort){
	        .first = concurrency->tickets + 1, .opened_ns = now_ns};
	concurrency->was_pressed = concurrency->pressed;
	concurrency->pressed = false;
	concurrency->peak = concurrency->active;
}

static bool young(const struct concurrency *concurrency, int64_t now_ns)
{
	return now_ns - concurrency->born_ns < young_ns;
}

// The next whole multiple of a time that is long against an answer, in few steps: workers that know
// a little more and a little less probe together all the same.
static int64_t next_probe_ns(const struct concurrency *concurrency, int64_t now_ns)
{
	int64_t every_ns = young(concurrency, now_ns) ? probe_young_ns : probe_every_ns;
	while ((double)every_ns < probe_every_answers * concurrency->unloaded_ns &&
	        every_ns >= probe_every_ns)
		every_ns *= 2;
	return (now_ns / every_ns + 1) * every_ns;
}

void concurrency_init(struct concurrency *concurrency, const struct config_concurrency *config,
        size_t workers, int64_t now_ns)
{
	double start = greater(START_LEAST, START_LIMIT / (double)workers);
	*concurrency = (struct concurrency){.config = *config, .born_ns = now_ns};
	concurrency->limit = fixed(concurrency) ? (double)config->limit
	                                        : within(concurrency, start);
	concurrency->probe.due_ns = next_probe_ns(concurrency, now_ns);
	open_cohort(concurrency, now_ns);
}

unsigned concurrency_ceiling(const struct concurrency *concurrency, enum config_priority priority)
{
	unsigned limit = (unsigned)(concurrency->probe.began_ns ? concurrency->probe.limit
	                                                        : concurrency->limit);
	unsigned quarter = (limit + 3) / 4;
	switch (priority) {
	case PRIORITY_LOW:
		return limit > 1 ? limit - quarter : 1;
	case PRIORITY_NORMAL:
		break;
	case PRIORITY_HIGH:
		return limit + quarter;
	}
	return limit;
}

// Half of what the backend can do without anybody waiting, as far as that is known.
static void begin_probe(struct concurrency *concurrency, int64_t now_ns)
{
	double share = probe_depth * lesser(1, concurrency->unloaded_ns / concurrency->mean_ns);
	concurrency->probe.began_ns = now_ns;
	concurrency->probe.clean_ns = 0;
	concurrency->probe.judged = false;
	concurrency->probe.limit = greater(1, concurrency->limit * share);
	if (!concurrency->probe.done && young(concurrency, now_ns))
		concurrency->probe.limit = (double)concurrency->config.min;
}

static void end_probe(struct concurrency *concurrency, int64_t now_ns)
{
	concurrency->probe.began_ns = 0;
	concurrency->probe.due_ns = next_probe_ns(concurrency, now_ns);
	concurrency->judged = concurrency->useless = 0;
	concurrency->shrunk = false;
	open_cohort(concurrency, now_ns);
	concurrency->was_pressed = true;
}

// What was found counts the more, the more there is of it.
static void learn_from_probe(struct concurrency *concurrency, unsigned count, double mean_ns)
{
	concurrency->probe.done = true;
	concurrency->unloaded_ns += (mean_ns - concurrency->unloaded_ns) * count /
	                            (count + PROBE_FEW);
}

// It lasts for a while after its cohort: what other workers let through before they are done would
// be in the way of whoever is still at it.
static void step_probe(struct concurrency *concurrency, int64_t now_ns)
{
	double age_ns = (double)(now_ns - concurrency->probe.began_ns);
	double clean_ns = (double)(now_ns - concurrency->probe.clean_ns);
	if (concurrency->probe.clean_ns) {
		if (concurrency->probe.judged &&
		        clean_ns >= probe_answers * concurrency->unloaded_ns)
			end_probe(concurrency, now_ns);
		return;
	}
	if (age_ns >= drain_answers * concurrency->mean_ns &&
	        concurrency->active <= concurrency->probe.limit) {
		concurrency->probe.clean_ns = now_ns;
		open_cohort(concurrency, now_ns);
	} else if (age_ns > greater(cohort_long_ns, 10 * concurrency->mean_ns)) {
		end_probe(concurrency, now_ns);
	}
}

static void consider_probe(struct concurrency *concurrency, int64_t now_ns)
{
	if (now_ns < concurrency->probe.due_ns)
		return;
	concurrency->probe.due_ns = next_probe_ns(concurrency, now_ns);
	bool pressed = concurrency->pressed || concurrency->was_pressed;
	if (pressed && concurrency->judged >= PROBE_AFTER && concurrency->mean_ns > 0)
		begin_probe(concurrency, now_ns);
}

// With a queue, fewer calls are quicker calls. When they are not, time and again, an answer simply
// takes longer than was known, and to refuse even more would help nobody.
static bool refusing_is_useless(struct concurrency *concurrency, double mean_ns)
{
	bool useless = concurrency->shrunk && mean_ns > 0.85 * concurrency->mean_ns;
	concurrency->useless = useless ? concurrency->useless + 1 : 0;
	return concurrency->useless >= USELESS;
}

// Where nobody is refused, the calls themselves tell what an answer takes; and less than that is
// always true.
static void learn(struct concurrency *concurrency, double mean_ns)
{
	double above_ns = mean_ns - concurrency->unloaded_ns;
	bool useless = refusing_is_useless(concurrency, mean_ns);
	concurrency->mean_ns = mean_ns;
	if (!concurrency->unloaded_ns)
		concurrency->unloaded_ns = mean_ns;
	else if (above_ns < 0)
		concurrency->unloaded_ns += above_ns * learn_down;
	else if (useless)
		concurrency->unloaded_ns += above_ns * learn_late;
	else if (!concurrency->pressed && !concurrency->was_pressed)
		concurrency->unloaded_ns += above_ns * learn_up;
}

// How many were under way as a cohort's calls began, those counting most who had most beside them.
// Only of so many have their answers told: as a rush begins, a cohort is half of calls that had the
// backend to themselves, whatever has come since.
static double level_of(const struct concurrency *concurrency)
{
	const struct concurrency_cohort *cohort = &concurrency->cohort;
	return cohort->level > 0 ? cohort->level_squared / cohort->level : 0;
}

static void adapt(struct concurrency *concurrency, double slowness)
{
	double factor = lesser(greater(1 / slowness, shrink_most), tolerance_of(concurrency));
	double limit = concurrency->limit * factor;
	concurrency->shrunk = false;
	// A limit that was not needed has proved nothing by being kept.
	if (concurrency->peak < concurrency->limit / 2)
		return;
	if (factor > 1)
		limit = greater(lesser(limit, 2 * level_of(concurrency)), concurrency->limit);
	concurrency->shrunk = factor < 0.9 && concurrency->limit > (double)concurrency->config.min;
	concurrency->limit = within(concurrency, limit);
}

static void judge(struct concurrency *concurrency, int64_t now_ns)
{
	const struct concurrency_cohort *cohort = &concurrency->cohort;
	unsigned missing = cohort->begun - cohort->ended, timed = cohort->counted + missing;
	double overdue_ns = (double)(now_ns - cohort->closed_ns), mean_ns = 0, slowness = slow_most;
	bool sound = cohort->counted && missing + cohort->unavailable <= cohort->begun / 10;
	if (timed)
		mean_ns = (cohort->sum_ns + missing * overdue_ns) / timed;
	if (concurrency->probe.began_ns) {
		if (sound && cohort->counted >= PROBE_FEW)
			learn_from_probe(concurrency, cohort->counted, mean_ns);
		concurrency->probe.judged = true;
		return;
	}
	if (sound)
		learn(concurrency, mean_ns);
	if (!timed && !cohort->unavailable)
		slowness = 1;
	else if (concurrency->unloaded_ns > 0)
		slowness = (timed * mean_ns / fine_ns(concurrency) +
		                   cohort->unavailable * slow_most) /
		           (timed + cohort->unavailable);
	adapt(concurrency, slowness);
	concurrency->judged++;
	open_cohort(concurrency, now_ns);
}

static unsigned probe_size(const struct concurrency *concurrency)
{
	double size = lesser(2 * concurrency->probe.limit, PROBE_COHORT_MOST);
	return (unsigned)greater(PROBE_COHORT, size);
}

static bool enough(const struct concurrency *concurrency, int64_t now_ns)
{
	unsigned begun = concurrency->cohort.begun;
	double age_ns = (double)(now_ns - concurrency->cohort.opened_ns);
	if (concurrency->probe.began_ns)
		return begun >= probe_size(concurrency) ||
		       (begun >= PROBE_FEW && age_ns >= 2 * concurrency->unloaded_ns) ||
		       age_ns >= greater(cohort_long_ns, 4 * concurrency->unloaded_ns);
	return age_ns >= cohort_least_ns &&
	       (begun >= COHORT || (begun >= COHORT_FEW && age_ns >= cohort_long_ns));
}

static void step(struct concurrency *concurrency, int64_t now_ns)
{
	struct concurrency_cohort *cohort = &concurrency->cohort;
	if (!concurrency->probe.began_ns)
		consider_probe(concurrency, now_ns);
	if (concurrency->probe.began_ns)
		step_probe(concurrency, now_ns);
	if (concurrency->probe.began_ns &&
	        (!concurrency->probe.clean_ns || concurrency->probe.judged))
		return;
	if (!cohort->closed_ns && enough(concurrency, now_ns))
		cohort->closed_ns = now_ns;
	if (!cohort->closed_ns)
		return;
	double waited_ns = (double)(now_ns - cohort->closed_ns);
	bool overdue = concurrency->unloaded_ns > 0 && waited_ns > slow_most * fine_ns(concurrency);
	if (cohort->ended == cohort->begun || overdue)
		judge(concurrency, now_ns);
}

bool concurrency_room(
        struct concurrency *concurrency, enum config_priority priority, int64_t now_ns)
{
	if (!fixed(concurrency))
		step(concurrency, now_ns);
	if (concurrency->active < concurrency_ceiling(concurrency, priority))
		return true;
	concurrency->pressed = true;
	return false;
}

void concurrency_enter(struct concurrency *concurrency)
{
	concurrency->active++;
	if (concurrency->active > concurrency->peak)
		concurrency->peak = concurrency->active;
}

void concurrency_leave(struct concurrency *concurrency)
{
	CHECK(concurrency->active);
	concurrency->active--;
}

uint64_t concurrency_begin(struct concurrency *concurrency, int64_t now_ns)
{
	if (!fixed(concurrency))
		step(concurrency, now_ns);
	if (!concurrency->cohort.closed_ns) {
		concurrency->cohort.begun++;
		concurrency->cohort.level += concurrency->active;
		concurrency->cohort.level_squared += (double)concurrency->active *
		                                     concurrency->active;
	}
	return ++concurrency->tickets;
}

static void count(struct concurrency *concurrency, enum concurrency_end end, double took_ns)
{
	bool known = concurrency->unloaded_ns > 0;
	double fine = fine_ns(concurrency);
	switch (end) {
	case CONCURRENCY_SILENT:
		return;
	case CONCURRENCY_UNAVAILABLE:
		concurrency->cohort.unavailable++;
		return;
	case CONCURRENCY_FRUITLESS:
		if (!known || took_ns <= fine)
			return;
		break;
	case CONCURRENCY_ANSWERED:
		break;
	}
	concurrency->cohort.counted++;
	concurrency->cohort.sum_ns += known ? lesser(took_ns, slow_most * fine) : took_ns;
}

void concurrency_end(struct concurrency *concurrency, uint64_t ticket, enum concurrency_end end,
        int64_t took_ns, int64_t now_ns)
{
	struct concurrency_cohort *cohort = &concurrency->cohort;
	if (fixed(concurrency))
		return;
	if (ticket >= cohort->first && ticket - cohort->first < cohort->begun) {
		cohort->ended++;
		count(concurrency, end, (double)took_ns);
	}
	step(concurrency, now_ns);
}
