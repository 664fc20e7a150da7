#include "gateway/admin_page.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"

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

static const char style[] =
        "body{font:16px/1.5 system-ui,sans-serif;max-width:42em;margin:2em auto;padding:0 1em;"
        "color-scheme:light dark}table{border-collapse:collapse}th{font-weight:400;"
        "text-align:left;padding-right:2em}td{text-align:right;font-variant-numeric:tabular-nums}"
        ".serving{color:#18794e}.draining{color:#c2410c}";

static const struct {
	const char *path, *what;
} links[] = {
        {"/healthz", "alive"},
        {"/readyz", "200 while serving, 503 while draining"},
        {"/metrics", "for Prometheus"},
        {"/config", "the configuration in force"},
        {"/certificates", "what is served and trusted"},
        {"/limits", "buckets, their fill and refusals"},
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

void admin_page(struct buffer *out, bool ready, struct str metrics, int64_t now_s)
{
	const char *state = ready ? "serving" : "draining";
	buffer_printf(out,
	        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
	        "<meta http-equiv=\"refresh\" content=\"5\">\n<title>tollgate: %s</title>\n"
	        "<style>%s</style>\n</head>\n<body>\n<h1>tollgate</h1>\n"
	        "<p>The gateway is <strong class=\"%s\">%s</strong>.</p>\n<table>\n",
	        state, style, state, state);
	for (size_t i = 0; i < ARRAY_LEN(figures); i++) {
		double value = 0;
		if (fold(metrics, &figures[i], &value))
			append_figure(out, &figures[i], value, now_s);
	}
	buffer_append_str(out, STR("</table>\n<ul>\n"));
	for (size_t i = 0; i < ARRAY_LEN(links); i++)
		buffer_printf(out, "<li><a href=\"%s\">%s</a>: %s</li>\n", links[i].path,
		        links[i].path, links[i].what);
	buffer_append_str(
	        out, STR("</ul>\n<p><code>POST /reload</code> loads the configuration anew, "
	                 "<code>POST /drain</code> stops taking connections.</p>\n"
	                 "</body>\n</html>\n"));
}
