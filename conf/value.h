// The small words of the config language, read and written: counts `100`, sizes `60KiB`, durations
// `250ms`, rates `300/m`. Pure functions; any thread. A number too large for its type comes back as
// the largest, for the range check to refuse: nothing ever wraps.
#ifndef CONF_VALUE_H
#define CONF_VALUE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/check.h"
#include "base/str.h"

// Each false, with the result untouched, when `text` is none of its kind.
MUST_USE bool value_count(struct str text, uint64_t *count);
MUST_USE bool value_size(struct str text, uint64_t *bytes);
MUST_USE bool value_duration(struct str text, uint64_t *ns);
MUST_USE bool value_rate(struct str text, uint64_t *count, int64_t *period_ns);
MUST_USE bool value_byte_rate(struct str text, uint64_t *bytes, int64_t *period_ns);  // `1MiB/s`

// Each writes the shortest text that reads back as the same.
void value_write_count(uint64_t count, struct buffer *out);
void value_write_size(uint64_t bytes, struct buffer *out);
void value_write_duration(uint64_t ns, struct buffer *out);  // whole milliseconds
void value_write_rate(uint64_t count, int64_t period_ns, struct buffer *out);
void value_write_byte_rate(uint64_t bytes, int64_t period_ns, struct buffer *out);

// A YAML scalar that reads back as `text`: plain where every YAML reader takes it for a string, in
// double quotes and escaped otherwise.
void value_write_text(struct str text, struct buffer *out);

// What a file holds, for a message: in quotes, unprintable bytes escaped, cut when long. Use as
// value_quote(text).text within one expression.
struct value_quote {
	char text[160];
};
struct value_quote value_quote(struct str text);

#endif
