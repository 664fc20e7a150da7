#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

static _Atomic enum log_level lowest_level = LOG_INFO;

void log_set_level(enum log_level lowest)
{
	lowest_level = lowest;
}

void log_event(enum log_level level, const char *what, const char *format, ...)
{
	static const char *const names[] = {"debug", "info", "warn", "error"};
	if (level < lowest_level)
		return;
	char line[2048], when[CLOCK_TEXT_SIZE];
	clock_text(clock_wall_ns(), when);
	int len = snprintf(
	        line, sizeof(line) - 1, "time=%s level=%s msg=\"%s\" ", when, names[level], what);
	va_list arguments;
	va_start(arguments, format);
	int more = vsnprintf(line + len, sizeof(line) - 1 - (size_t)len, format, arguments);
	va_end(arguments);
	size_t total = (size_t)len + (more > 0 ? (size_t)more : 0);
	if (total > sizeof(line) - 2)
		total = sizeof(line) - 2;
	while (total && line[total - 1] == ' ')
		total--;
	for (size_t i = 0; i < total; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	line[total++] = '\n';
	ssize_t written = write(STDERR_FILENO, line, total);
	(void)written;  // nowhere left to complain to
}
