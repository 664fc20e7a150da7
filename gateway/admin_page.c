#include "gateway/admin_page.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "gateway/admin_page_files.h"
#include "tls/digest.h"

enum { SECONDS_PER_DAY = 24 * 60 * 60 };

// How the series of a metric become one figure.
enum fold { FOLD_SUM, FOLD_NEAREST_DAY, FOLD_YES_NO };

static const struct figure {
	const char *label;
	struct str metric;
	enum fold fold;
} figures[] = {
        {"Connections open", {"tollgate_connections_active", 27}, FOLD_SUM},
        {"Requests answered", {"tollgate_requests_total", 23}, FOLD_SUM},
        {"Callers refused", {"tollgate_rejections_total", 25}, FOLD_SUM},
        {"Requests to backends", {"tollgate_upstream_requests_total", 32}, FOLD_SUM},
        {"Audit records", {"tollgate_audit_records_total", 28}, FOLD_SUM},
        {"Audit writes failed", {"tollgate_audit_write_failures_total", 35}, FOLD_SUM},
        {"Last reload taken", {"tollgate_config_last_reload_success", 35}, FOLD_YES_NO},
        {"Days until the first certificate expires",
                {"tollgate_certificate_expiry_timestamp_seconds", 45}, FOLD_NEAREST_DAY},
};

static struct str next_line(struct str *text)
{
	const char *end = str_find_byte(*text, '\n');
	struct str line = str_of(text->at, end ? (size_t)(end - text->at) : text->len);
	*text = str_skip(*text, line.len + (end ? 1 : 0));
	return line;
}

// A sample line of this metric and its value: the text behind the last space.
static bool sample_of(struct str line, struct str metric, double *value)
{
	char number[64];
	if (!str_starts(line, metric) || line.len == metric.len ||
	        (line.at[metric.len] != ' ' && line.at[metric.len] != '{'))
		return false;
	const char *space = memrchr(line.at, ' ', line.len);
	struct str digits = str_skip(line, (size_t)(space - line.at) + 1);
	snprintf(number, sizeof(number), "%.*s", STR_FMT(digits));
	*value = strtod(number, NULL);
	return true;
}

static bool fold(struct str text, const struct figure *figure, double *folded)
{
	bool any = false;
	double value;
	while (text.len) {
		if (!sample_of(next_line(&text), figure->metric, &value))
			continue;
		if (!any)
			*folded = value;
		else if (figure->fold == FOLD_SUM)
			*folded += value;
		else if (value < *folded)
			*folded = value;
		any = true;
	}
	return any;
}

static void append_figure(
        struct buffer *out, const struct figure *figure, double value, int64_t now_s)
{
	buffer_printf(out, "<tr><th scope=\"row\">%s</th><td>", figure->label);
	switch (figure->fold) {
	case FOLD_SUM:
		buffer_printf(out, "%.0f", value);
		break;
	case FOLD_NEAREST_DAY:
		buffer_printf(out, "%.1f", (value - (double)now_s) / SECONDS_PER_DAY);
		break;
	case FOLD_YES_NO:
		buffer_printf(out, "%s", value > 0 ? "yes" : "no");
		break;
	}
	buffer_append_str(out, STR("</td></tr>\n"));
}

static void append_figures(struct buffer *out, struct str metrics, int64_t now_s)
{
	for (size_t i = 0; i < ARRAY_LEN(figures); i++) {
		double value = 0;
		if (fold(metrics, &figures[i], &value))
			append_figure(out, &figures[i], value, now_s);
	}
}

// What stands in page.html between double braces.
static void append_mark(
        struct buffer *out, struct str mark, const char *state, struct str metrics, int64_t now_s)
{
	if (str_eq(mark, STR("style")))
		buffer_append_str(out, str_from(admin_page_style));
	else if (str_eq(mark, STR("script")))
		buffer_append_str(out, str_from(admin_page_script));
	else if (str_eq(mark, STR("state")))
		buffer_append_str(out, str_from(state));
	else if (str_eq(mark, STR("figures")))
		append_figures(out, metrics, now_s);
	else
		CHECK(!"a mark of page.html that nobody fills in");
}

void admin_page(struct buffer *out, bool ready, struct str metrics, int64_t now_s)
{
	const char *state = ready ? "serving" : "draining", *at = admin_page_html;
	for (const char *open; (open = strstr(at, "{{")); at = strstr(open, "}}") + 2) {
		const char *mark = open + 2;
		buffer_append(out, at, (size_t)(open - at));
		append_mark(out, str_of(mark, (size_t)(strstr(mark, "}}") - mark)), state, metrics,
		        now_s);
	}
	buffer_append_str(out, str_from(at));
}

static char policy[512];

static void make_policy(void)
{
	char style[DIGEST_BASE64_SIZE], script[DIGEST_BASE64_SIZE];
	digest_base64(str_from(admin_page_style), style);
	digest_base64(str_from(admin_page_script), script);
	snprintf(policy, sizeof(policy),
	        "default-src 'none'; style-src 'sha256-%s'; script-src 'sha256-%s'; "
	        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
	        "frame-ancestors 'none'",
	        style, script);
}

const char *admin_page_policy(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, make_policy);
	return policy;
}
