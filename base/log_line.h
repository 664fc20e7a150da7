// Makes the text of an event, all but its time: logfmt (`level=warn msg="…" key=value`) or members
// of a JSON object. `pairs` is a format as for printf, read as pairs: `key=%d`, `key="%s"`,
// `key=%.*s`. Each value is formatted for itself and then escaped, so that no value can end its
// quotes, its line or itself. A pair of one bare number is a number in JSON; all else is text. Long
// values and lines are cut, and say so. Pure; the caller's thread.
#ifndef BASE_LOG_LINE_H
#define BASE_LOG_LINE_H

#include <stdarg.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/log.h"

enum {
	LOG_VALUE_MAX = 1024,  // bytes of one value before they are escaped
	LOG_LINE_MAX = 8192,   // of a line; further pairs are left out: `cut=true`
};

void log_line_text(struct buffer *out, enum log_format format, enum log_level level,
        const char *what, const char *pairs, va_list arguments);

// The whole line around such a text; `repeated` 0: not said.
void log_line_whole(struct buffer *out, enum log_format format, int64_t wall_ns, struct str text,
        uint64_t repeated);

#endif
