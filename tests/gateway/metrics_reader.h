// Reads an exposition: single values, and whether it keeps to the text format by the letter. For
// the metrics tests alone.
#ifndef TESTS_GATEWAY_METRICS_READER_H
#define TESTS_GATEWAY_METRICS_READER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <regex.h>
#include <stdio.h>

#include "base/clock.h"
#include "gateway/metrics.h"

static inline const char *label(const char *word)
{
	return metrics_label(str_from(word));
}

static inline char *exposed(struct metrics *const workers[], size_t worker_count,
        const struct metrics_gauge *gauges, size_t gauge_count)
{
	struct buffer out = {0};
	metrics_expose(workers, worker_count, gauges, gauge_count, &out);
	char *text = must_copy(buffer_data(&out), buffer_len(&out));
	buffer_fini(&out);
	return text;
}

// The value of one series in an exposition, -1 when it is not there.
static inline double value_of(const char *text, const char *series)
{
	size_t len = strlen(series);
	for (const char *line = text; line && *line; line = strchr(line, '\n') + 1)
		if (strncmp(line, series, len) == 0 && line[len] == ' ')
			return strtod(line + len, NULL);
	return -1;
}

static inline void assert_line(const char *text, const char *line)
{
	char *between = NULL;
	assert_true(asprintf(&between, "\n%s\n", line) > 0);
	if (!strstr(text, between))
		fail_msg("no line %s in\n%s", line, text);
	free(between);
}

// --- the format, by the letter of the specification

static regex_t help_line, type_line, sample_line;

static inline int compile_patterns(void **state)
{
	(void)state;
#define NAME "[a-zA-Z_:][a-zA-Z0-9_:]*"
#define PAIR "[a-zA-Z_][a-zA-Z0-9_]*=\"([^\"\\\n]|\\\\[\\\"n])*\""
	return regcomp(&help_line, "^# HELP (" NAME ") [^ ].*$", REG_EXTENDED) ||
	       regcomp(&type_line, "^# TYPE (" NAME ") (counter|gauge|histogram)$", REG_EXTENDED) ||
	       regcomp(&sample_line,
	               "^(" NAME ")(\\{" PAIR "(," PAIR ")*\\})? (-?[0-9][0-9.e+-]*|[+-]Inf|NaN)$",
	               REG_EXTENDED);
}

static inline int free_patterns(void **state)
{
	(void)state;
	regfree(&help_line);
	regfree(&type_line);
	regfree(&sample_line);
	return 0;
}

static inline struct str part(const char *line, regmatch_t match)
{
	return str_of(line + match.rm_so, (size_t)(match.rm_eo - match.rm_so));
}

// HELP, then TYPE, then samples of that family alone; families in ascending order, no line twice.
static inline void assert_well_formed(const char *text)
{
	struct str family = STR(""), before = STR("");
	char *copy = must_copy(text, strlen(text)), *rest = copy;
	assert_int_equal(text[strlen(text) - 1], '\n');
	for (char *line; (line = strsep(&rest, "\n")) && *line;) {
		regmatch_t match[3];
		if (regexec(&help_line, line, 3, match, 0) == 0) {
			struct str name = part(line, match[1]);
			char *next = strndup(name.at, name.len),
			     *last = strndup(family.at, family.len);
			assert_true(strcmp(last, next) < 0);
			free(next);
			free(last);
			family = name;
		} else if (regexec(&type_line, line, 3, match, 0) == 0) {
			assert_true(str_eq(part(line, match[1]), family));
			assert_true(str_starts(before, STR("# HELP")));
		} else {
			if (regexec(&sample_line, line, 3, match, 0))
				fail_msg("malformed line: %s", line);
			assert_true(str_starts(part(line, match[1]), family));
			assert_false(str_eq(str_from(line), before));
		}
		before = str_from(line);
	}
	free(copy);
}

static inline double sum_of(const char *text, const char *name)
{
	double sum = 0;
	size_t len = strlen(name);
	for (const char *line = text; *line; line = strchr(line, '\n') + 1)
		if (strncmp(line, name, len) == 0)
			sum += strtod(strrchr(strndupa(line, strcspn(line, "\n")), ' '), NULL);
	return sum;
}

#endif
