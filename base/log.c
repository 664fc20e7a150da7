#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log_fold.h"
#include "base/log_line.h"

static _Atomic enum log_level lowest_level = LOG_INFO;
static _Atomic enum log_format line_format = LOG_LOGFMT;
static atomic_uint_fast64_t lost_lines;  // that stderr did not take

void log_set_level(enum log_level lowest)
{
	lowest_level = lowest;
}

void log_set_format(enum log_format format)
{
	line_format = format;
}

bool log_is_json(void)
{
	return line_format == LOG_JSON;
}

static bool write_all(struct str line)
{
	while (line.len) {
		ssize_t written = write(STDERR_FILENO, line.at, line.len);
		if (written < 0 && errno != EINTR)
			return false;
		if (written > 0)
			line = str_skip(line, (size_t)written);
	}
	return true;
}

static bool write_line(struct str text, uint64_t repeated)
{
	struct buffer line = {0};
	log_line_whole(&line, line_format, clock_wall_ns(), text, repeated);
	bool taken = write_all(buffer_str(&line));
	buffer_fini(&line);
	return taken;
}

static void PRINTF(4, 5)
        render(struct buffer *text, enum log_level level, const char *what, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	log_line_text(text, line_format, level, what, format, arguments);
	va_end(arguments);
}

// What was lost is told before the first line that gets through.
static void tell(struct str text, uint64_t repeated)
{
	uint64_t lost = atomic_exchange(&lost_lines, 0);
	if (lost) {
		struct buffer confession = {0};
		render(&confession, LOG_WARN, "log lines were lost, stderr did not take them",
		        "lines=%llu", (unsigned long long)lost);
		bool taken = write_line(buffer_str(&confession), 0);
		buffer_fini(&confession);
		if (!taken)
			atomic_fetch_add(&lost_lines, lost);
	}
	if (!write_line(text, repeated))
		atomic_fetch_add(&lost_lines, 1);
}

static void tell_folded(struct buffer *text, uint64_t repeated, enum log_level level)
{
	if (buffer_len(text)) {
		tell(buffer_str(text), repeated);
		return;
	}
	render(text, level, "log lines left out, there were too many that differ", "lines=%llu",
	        (unsigned long long)repeated);
	tell(buffer_str(text), 0);
}

void log_settle(void)
{
	struct buffer text = {0};
	uint64_t repeated;
	enum log_level level;
	while (log_fold_due(clock_monotonic_ns(), &text, &repeated, &level))
		tell_folded(&text, repeated, level);
	buffer_fini(&text);
}

void log_end(void)
{
	struct buffer text = {0};
	uint64_t repeated;
	enum log_level level;
	while (log_fold_rest(&text, &repeated, &level))
		tell_folded(&text, repeated, level);
	buffer_fini(&text);
}

void log_event(enum log_level level, const char *what, const char *format, ...)
{
	if (level < lowest_level)
		return;
	struct buffer text = {0};
	va_list arguments;
	va_start(arguments, format);
	log_line_text(&text, line_format, level, what, format, arguments);
	va_end(arguments);
	log_settle();
	if (log_fold_admits(level, buffer_str(&text), clock_monotonic_ns()))
		tell(buffer_str(&text), 0);
	buffer_fini(&text);
}

__attribute__((destructor)) static void tell_the_rest(void)
{
	log_end();
	log_fold_forget();
}
