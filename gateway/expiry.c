#include "gateway/expiry.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"

enum { LOOK_MS = 1000, MINUTE_S = 60, HOUR_S = 3600, DAY_S = 86400, NEAR_MOST_S = 7 * DAY_S };
enum { NEAR_PART = 10 };

struct expiry_notice {
	char *sha256;
	enum expiry_state state;
	int64_t said_s;
	bool seen;  // in this look
};

static int64_t now_s(void)
{
	return clock_wall_ns() / NS_PER_S;
}

static int64_t near_from_s(const struct tls_expiry *what)
{
	int64_t part_s = (what->ends_s - what->begins_s) / NEAR_PART;
	return what->ends_s - (part_s < NEAR_MOST_S ? part_s : NEAR_MOST_S);
}

enum expiry_state expiry_state(const struct tls_expiry *what, int64_t now_s)
{
	if (now_s > what->ends_s)
		return EXPIRY_PAST;
	return now_s >= near_from_s(what) ? EXPIRY_NEAR : EXPIRY_FAR;
}

const char *expiry_words(const struct tls_expiry *what, int64_t now_s)
{
	static const struct {
		const char *role, *near, *past;
	} rows[] = {
	        {"certificate", "a served certificate expires soon",
	                "a served certificate has expired"},
	        {"intermediate", "an intermediate of a served certificate expires soon",
	                "an intermediate of a served certificate has expired"},
	        {"trusted_ca", "a trusted CA expires soon", "a trusted CA has expired"},
	        {"crl", "a revocation list wants its next update soon",
	                "a revocation list is out of date; it still revokes"},
	};
	enum expiry_state state = expiry_state(what, now_s);
	if (state == EXPIRY_FAR)
		return NULL;
	size_t row = 0;
	while (strcmp(rows[row].role, what->role) != 0)
		CHECK(++row < ARRAY_LEN(rows));
	return state == EXPIRY_NEAR ? rows[row].near : rows[row].past;
}

void expiry_span(int64_t seconds, char text[EXPIRY_SPAN_SIZE])
{
	static const struct {
		int64_t size_s, part_s;
		char unit, part;
	} rows[] = {{DAY_S, HOUR_S, 'd', 'h'}, {HOUR_S, MINUTE_S, 'h', 'm'},
	        {MINUTE_S, 1, 'm', 's'}, {1, 1, 's', 0}};
	const char *sign = seconds < 0 ? "-" : "";
	int64_t left = seconds < 0 ? -seconds : seconds;
	size_t row = 0;
	while (row + 1 < ARRAY_LEN(rows) && left < rows[row].size_s)
		row++;
	int64_t part = left % rows[row].size_s / rows[row].part_s;
	if (rows[row].part)
		snprintf(text, EXPIRY_SPAN_SIZE, "%s%" PRId64 "%c%" PRId64 "%c", sign,
		        left / rows[row].size_s, rows[row].unit, part, rows[row].part);
	else
		snprintf(text, EXPIRY_SPAN_SIZE, "%s%" PRId64 "s", sign, left);
}

static void say(const struct expiry *expiry, const struct tls_expiry *what, int64_t now_s)
{
	char left[EXPIRY_SPAN_SIZE];
	enum log_level level = expiry_state(what, now_s) == EXPIRY_PAST ? LOG_ERROR : LOG_WARN;
	expiry_span(what->ends_s - now_s, left);
	log_event(level, expiry_words(what, now_s),
	        "listener=%s file=\"%.*s\" name=\"%.*s\" ends=%.*s left=%s sha256=%.*s",
	        expiry->listener, STR_FMT(what->file), STR_FMT(what->name), STR_FMT(what->ends),
	        left, STR_FMT(what->sha256));
}

static struct expiry_notice *notice_of(struct expiry *expiry, struct str sha256)
{
	for (size_t i = 0; i < expiry->notice_count; i++)
		if (str_eq(str_from(expiry->notices[i].sha256), sha256))
			return &expiry->notices[i];
	if (expiry->notice_count == expiry->notice_capacity) {
		expiry->notice_capacity = expiry->notice_capacity ? 2 * expiry->notice_capacity : 8;
		expiry->notices = must_realloc(
		        expiry->notices, expiry->notice_capacity * sizeof(*expiry->notices));
	}
	struct expiry_notice *notice = &expiry->notices[expiry->notice_count++];
	*notice = (struct expiry_notice){.sha256 = must_copy(sha256.at, sha256.len)};
	return notice;
}

static void come_back(struct expiry *expiry, int64_t at_s)
{
	if (at_s < expiry->next_s)
		expiry->next_s = at_s;
}

struct look {
	struct expiry *expiry;
	int64_t now_s;
};

static void look_at(const struct tls_expiry *what, void *argument)
{
	const struct look *look = argument;
	struct expiry *expiry = look->expiry;
	enum expiry_state state = expiry_state(what, look->now_s);
	if (state == EXPIRY_FAR) {
		come_back(expiry, near_from_s(what));
		return;
	}
	struct expiry_notice *notice = notice_of(expiry, what->sha256);
	if (notice->state != state || look->now_s - notice->said_s >= DAY_S) {
		say(expiry, what, look->now_s);
		notice->state = state;
		notice->said_s = look->now_s;
	}
	notice->seen = true;
	come_back(expiry, notice->said_s + DAY_S);
	if (state == EXPIRY_NEAR)
		come_back(expiry, what->ends_s + 1);
}

static void look_through(const char *label, const struct tls_context *tls, void *look)
{
	((struct look *)look)->expiry->listener = label;
	tls_context_expiries(tls, look_at, look);
}

// What was replaced meanwhile is no concern any more.
static void forget_unseen(struct expiry *expiry)
{
	size_t kept = 0;
	for (size_t i = 0; i < expiry->notice_count; i++) {
		struct expiry_notice *notice = &expiry->notices[i];
		if (!notice->seen) {
			free(notice->sha256);
			continue;
		}
		notice->seen = false;
		expiry->notices[kept++] = *notice;
	}
	expiry->notice_count = kept;
}

void expiry_look(struct expiry *expiry, int64_t now_s)
{
	const struct snapshot *snapshot = *expiry->snapshot;
	if (snapshot->generation == expiry->generation && now_s < expiry->next_s)
		return;
	expiry->generation = snapshot->generation;
	expiry->next_s = INT64_MAX;
	snapshot_each_tls(snapshot, look_through, &(struct look){expiry, now_s});
	forget_unseen(expiry);
}

static void on_timer(struct timer *timer)
{
	struct expiry *expiry = CONTAINER_OF(timer, struct expiry, timer);
	expiry_look(expiry, now_s());
	log_settle();  // whoever looks at a clock once a second tells what was folded
	turn_set_timer(expiry->turn, timer, (int64_t)LOOK_MS * NS_PER_MS);
}

void expiry_begin(struct expiry *expiry, struct turn *turn, struct snapshot *const *snapshot)
{
	*expiry = (struct expiry){.turn = turn, .snapshot = snapshot};
	timer_init(&expiry->timer, on_timer);
	on_timer(&expiry->timer);
}

void expiry_end(struct expiry *expiry)
{
	if (expiry->turn)
		turn_stop_timer(expiry->turn, &expiry->timer);
	for (size_t i = 0; i < expiry->notice_count; i++)
		free(expiry->notices[i].sha256);
	free(expiry->notices);
	*expiry = (struct expiry){0};
}

void expiry_print(const struct tls_expiry *what, void *config_path)
{
	const char *words = expiry_words(what, now_s());
	char left[EXPIRY_SPAN_SIZE];
	if (!words)
		return;
	expiry_span(what->ends_s - now_s(), left);
	printf("%s: warning: %s: %.*s (%.*s), ends %.*s, left %s\n", (const char *)config_path,
	        words, STR_FMT(what->file), STR_FMT(what->name), STR_FMT(what->ends), left);
}
